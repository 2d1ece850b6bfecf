/* SPDX-License-Identifier: Apache-2.0 */
#include "scheduler/http/server.h"

#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/base/rand.h"
#include "scheduler/http/server_stream.h"

#include <event2/buffer.h>
#include <event2/http.h>
#include <event2/keyvalq_struct.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

enum { THREADS_MOST = 16, HEADERS_MOST = 16 << 10, BODY_MOST = 8 << 20, READ_TIMEOUT_S = 30 };

/* A request between the loop and a handler thread. */
typedef struct Pending {
    struct Pending *next;
    Server *server;
    struct evhttp_request *request; /* NULL once the client went away; the loop's alone */
    ServerCall call;
    ServerAnswer answer;
    char *texts[8]; /* what call points into */
    Buf body;
    int64_t began_ns;
} Pending;

struct Server {
    ServerParams params;
    Loop *loop;
    struct evhttp *http;
    ServerStreams *streams;
    int port;
    pthread_t threads[THREADS_MOST];
    unsigned thread_count;
    pthread_mutex_t lock; /* guards first, last, stop */
    pthread_cond_t signal;
    Pending *first;
    Pending *last;
    bool stop;
};

static void pending_free(Pending *pending)
{
    for (size_t i = 0; i < sizeof pending->texts / sizeof *pending->texts; i++) {
        if (i == 3 && pending->texts[i] != NULL) /* the token */
            explicit_bzero(pending->texts[i], strlen(pending->texts[i]));
        mem_free(pending->texts[i]);
    }
    buf_free(&pending->body);
    buf_free(&pending->answer.body);
    buf_free(&pending->answer.location);
    buf_free(&pending->answer.etag);
    buf_free(&pending->answer.stream);
    mem_free(pending);
}

static void on_client_gone(struct evhttp_connection *connection, void *ctx)
{
    Pending *pending = ctx;
    (void)connection;
    pending->request = NULL;
}

static void add_header(Pending *pending, const char *name, Buf *value)
{
    if (value->len != 0)
        evhttp_add_header(evhttp_request_get_output_headers(pending->request), name,
                          buf_cstr(value));
}

static void send_answer(Pending *pending)
{
    ServerAnswer *answer = &pending->answer;
    struct evkeyvalq *headers = evhttp_request_get_output_headers(pending->request);
    evhttp_connection_set_closecb(evhttp_request_get_connection(pending->request), NULL, NULL);
    evhttp_add_header(headers, "X-Request-Id", pending->call.request_id);
    if (answer->stream.len != 0) {
        server_streams_wait(pending->server->streams, buf_cstr(&answer->stream), pending->request);
        return;
    }
    struct evbuffer *body = evbuffer_new();
    evbuffer_add(body, answer->body.at, answer->body.len);
    evhttp_add_header(headers, "Content-Type",
                      answer->type == NULL ? "application/json" : answer->type);
    evhttp_add_header(headers, "Cache-Control", "no-store");
    evhttp_add_header(headers, "X-Content-Type-Options", "nosniff");
    add_header(pending, "Location", &answer->location);
    add_header(pending, "ETag", &answer->etag);
    evhttp_send_reply(pending->request, answer->status, NULL, body);
    evbuffer_free(body);
}

/* Back on the loop's thread. */
static void deliver(void *ctx)
{
    Pending *pending = ctx;
    char path[LOG_QUOTED];
    log_debug("http.request", "id=%s method=%s path=%s status=%d ms=%lld", pending->call.request_id,
              pending->call.method, log_quote(text_of(pending->call.path), path),
              pending->answer.status, (long long)((clock_mono_ns() - pending->began_ns) / 1000000));
    if (pending->request != NULL)
        send_answer(pending);
    pending_free(pending);
}

static Pending *take(Server *server)
{
    pthread_mutex_lock(&server->lock);
    while (server->first == NULL && !server->stop)
        pthread_cond_wait(&server->signal, &server->lock);
    Pending *pending = server->stop ? NULL : server->first;
    if (pending != NULL) {
        server->first = pending->next;
        if (server->first == NULL)
            server->last = NULL;
    }
    pthread_mutex_unlock(&server->lock);
    return pending;
}

static void *run(void *ctx)
{
    Server *server = ctx;
    void *own = server->params.thread_open(server->params.ctx);
    for (Pending *pending; (pending = take(server)) != NULL;) {
        server->params.handle(server->params.ctx, own, &pending->call, &pending->answer);
        loop_post(server->loop, deliver, pending);
    }
    server->params.thread_close(server->params.ctx, own);
    return NULL;
}

static char *header_of(struct evhttp_request *request, const char *name)
{
    return mem_string(evhttp_find_header(evhttp_request_get_input_headers(request), name));
}

static const char *method_of(struct evhttp_request *request)
{
    switch (evhttp_request_get_command(request)) {
    case EVHTTP_REQ_GET:
        return "GET";
    case EVHTTP_REQ_POST:
        return "POST";
    case EVHTTP_REQ_PUT:
        return "PUT";
    case EVHTTP_REQ_DELETE:
        return "DELETE";
    default:
        return "OTHER";
    }
}

static Pending *copy_request(Server *server, struct evhttp_request *request)
{
    const struct evhttp_uri *uri = evhttp_request_get_evhttp_uri(request);
    struct evbuffer *input = evhttp_request_get_input_buffer(request);
    char *peer = NULL;
    ev_uint16_t port;
    Pending *pending = mem_new(Pending);
    pending->server = server;
    pending->request = request;
    pending->began_ns = clock_mono_ns();
    size_t len = evbuffer_get_length(input);
    evbuffer_remove(input, buf_extend(&pending->body, len), len);
    evhttp_connection_get_peer(evhttp_request_get_connection(request), &peer, &port);
    const char *path = evhttp_uri_get_path(uri);
    const char *query = evhttp_uri_get_query(uri);
    char *const texts[8] = {
        mem_string(path == NULL ? "/" : path), mem_string(query == NULL ? "" : query),
        mem_string(peer == NULL ? "" : peer),  header_of(request, "Authorization"),
        header_of(request, "Idempotency-Key"), header_of(request, "If-Match"),
        header_of(request, "Content-Type"),    NULL};
    memcpy(pending->texts, texts, sizeof texts);
    pending->call = (ServerCall){.method = method_of(request),
                                 .path = texts[0],
                                 .query = texts[1],
                                 .body = buf_slice(&pending->body),
                                 .client_ip = texts[2],
                                 .authorization = texts[3],
                                 .idempotency_key = texts[4],
                                 .if_match = texts[5],
                                 .content_type = texts[6]};
    uint8_t random[8];
    rand_bytes(random, sizeof random);
    memcpy(pending->call.request_id, "rq_", 3);
    ids_hex(random, sizeof random, pending->call.request_id + 3);
    return pending;
}

static void on_request(struct evhttp_request *request, void *ctx)
{
    Server *server = ctx;
    const char *path = evhttp_uri_get_path(evhttp_request_get_evhttp_uri(request));
    size_t prefix = strlen(server->params.stream_prefix);
    if (path != NULL && evhttp_request_get_command(request) == EVHTTP_REQ_PUT &&
        strncmp(path, server->params.stream_prefix, prefix) == 0) {
        server_streams_put(server->streams, path + prefix, request);
        return;
    }
    Pending *pending = copy_request(server, request);
    evhttp_connection_set_closecb(evhttp_request_get_connection(request), on_client_gone, pending);
    pthread_mutex_lock(&server->lock);
    if (server->last == NULL)
        server->first = pending;
    else
        server->last->next = pending;
    server->last = pending;
    pthread_cond_signal(&server->signal);
    pthread_mutex_unlock(&server->lock);
}

static bool bind_to(Server *server, const char *listen, Err *err)
{
    char host[128];
    struct sockaddr_storage address;
    socklen_t len = sizeof address;
    const char *colon = strrchr(listen, ':');
    int one = 1;
    if (colon == NULL || (size_t)(colon - listen) >= sizeof host)
        return err_set(err, ERR_USAGE, "http.listen", "listen is written ADDRESS:PORT, not '%s'",
                       listen);
    snprintf(host, sizeof host, "%.*s", (int)(colon - listen), listen);
    long port = strtol(colon + 1, NULL, 10);
    struct evhttp_bound_socket *bound =
        evhttp_bind_socket_with_handle(server->http, host, (ev_uint16_t)port);
    if (bound == NULL)
        return err_set(err, ERR_BUSY, "http.listen",
                       "%s cannot be listened on; is another scheduler running there?", listen);
    evutil_socket_t fd = evhttp_bound_socket_get_fd(bound);
    /* Accepted sockets inherit it; without it answers over TLS wait 40 ms for an acknowledgement.
     */
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    getsockname(fd, (struct sockaddr *)&address, &len);
    server->port = address.ss_family == AF_INET
                       ? ntohs(((struct sockaddr_in *)&address)->sin_port)
                       : ntohs(((struct sockaddr_in6 *)&address)->sin6_port);
    return true;
}

bool server_start(Server **out, Loop *loop, const ServerParams *params, Err *err)
{
    Server *server = mem_new(Server);
    *out = server;
    server->params = *params;
    server->loop = loop;
    pthread_mutex_init(&server->lock, NULL);
    pthread_cond_init(&server->signal, NULL);
    server->streams = server_streams_new(loop);
    server->http = evhttp_new(loop_base(loop));
    evhttp_set_max_headers_size(server->http, HEADERS_MOST);
    evhttp_set_max_body_size(server->http,
                             (ssize_t)(params->body_most == 0 ? BODY_MOST : params->body_most));
    evhttp_set_timeout(server->http, READ_TIMEOUT_S);
    evhttp_set_allowed_methods(server->http, EVHTTP_REQ_GET | EVHTTP_REQ_POST | EVHTTP_REQ_PUT |
                                                 EVHTTP_REQ_DELETE);
    evhttp_set_gencb(server->http, on_request, server);
    if (!bind_to(server, params->listen, err))
        return false;
    unsigned wanted = params->threads == 0 ? 2 : params->threads;
    for (unsigned i = 0; i < wanted && i < THREADS_MOST; i++) {
        if (pthread_create(&server->threads[i], NULL, run, server) != 0)
            return err_set(err, ERR_FULL, "http.thread", "no thread for requests");
        server->thread_count++;
    }
    return true;
}

int server_port(const Server *server)
{
    return server->port;
}

void server_stop(Server *server)
{
    if (server == NULL)
        return;
    pthread_mutex_lock(&server->lock);
    server->stop = true;
    pthread_cond_broadcast(&server->signal);
    pthread_mutex_unlock(&server->lock);
    for (unsigned i = 0; i < server->thread_count; i++)
        pthread_join(server->threads[i], NULL);
    for (Pending *pending = server->first, *next; pending != NULL; pending = next) {
        next = pending->next;
        pending_free(pending);
    }
    server_streams_free(server->streams);
    evhttp_free(server->http);
    pthread_cond_destroy(&server->signal);
    pthread_mutex_destroy(&server->lock);
    mem_free(server);
}

static int hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

bool server_decode(Text text, bool plus_is_space, Buf *out)
{
    for (size_t i = 0; i < text.len; i++) {
        if (text.at[i] == '+' && plus_is_space)
            buf_add_byte(out, ' ');
        else if (text.at[i] != '%')
            buf_add_byte(out, (uint8_t)text.at[i]);
        else {
            int high = i + 2 < text.len ? hex_value(text.at[i + 1]) : -1;
            int low = i + 2 < text.len ? hex_value(text.at[i + 2]) : -1;
            if (high < 0 || low < 0)
                return false;
            buf_add_byte(out, (uint8_t)(high << 4 | low));
            i += 2;
        }
    }
    return true;
}

bool server_query(const ServerCall *call, const char *name, Buf *out)
{
    size_t len = strlen(name);
    for (const char *at = call->query; *at != 0;) {
        size_t pair = strcspn(at, "&");
        if (pair > len && strncmp(at, name, len) == 0 && at[len] == '=')
            return server_decode((Text){at + len + 1, pair - len - 1}, true, out);
        at += pair;
        at += *at == '&';
    }
    return false;
}
