/* SPDX-License-Identifier: Apache-2.0 */
#include "scheduler/http/server.h"

#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/base/wait.h"
#include "scheduler/http/server_events.h"
#include "scheduler/http/server_listen.h"
#include "scheduler/http/server_stream.h"

#include <pthread.h>
#include <stdio.h>

enum {
    THREADS_MOST = 16,
    BODY_MOST = 2 << 20,
    BODIES_MOST = 64 << 20,
    CONNECTIONS_MOST = 1000,
    IDLE_MS = 60000,
    REQUEST_MS = 30000,
    ANSWER_MS = 120000,
    PATIENCE_MS = 60000,
    BEAT_MS = 15000,
    LISTEN_MS = 900000,
};

/* A request between the loop and a handler thread. The connection keeps the request's memory until
 * it is answered; one that closes before leaves a copy of nothing, so the texts are copied. */
typedef struct Pending {
    struct Pending *next;
    Server *server;
    Connection *connection; /* NULL once the client went away; the loop's alone */
    ServerCall call;
    ServerAnswer answer;
    Buf texts; /* what call points into */
    Buf body;
    int64_t began_ns;
} Pending;

struct Server {
    ServerParams params;
    Loop *loop;
    ServerTls *tls;
    ConnectionHost host;
    ServerListen *listen;
    ServerStreams *streams;
    ServerEvents *events;
    pthread_t threads[THREADS_MOST];
    unsigned thread_count;
    pthread_mutex_t lock; /* guards first, last, answered, stop */
    pthread_cond_t signal;
    Pending *first;
    Pending *last;
    Pending *answered; /* by a thread, not yet back on the loop */
    bool stop;
};

static void pending_free(Pending *pending)
{
    if (pending->texts.at != NULL) /* the token */
        explicit_bzero(pending->texts.at, pending->texts.room);
    buf_free(&pending->texts);
    buf_free(&pending->body);
    buf_free(&pending->answer.body);
    buf_free(&pending->answer.location);
    buf_free(&pending->answer.etag);
    buf_free(&pending->answer.allow);
    buf_free(&pending->answer.stream);
    buf_free(&pending->answer.listen.kinds);
    buf_free(&pending->answer.listen.sources);
    buf_free(&pending->answer.listen.jobs);
    mem_free(pending);
}

static void on_client_gone(void *ctx)
{
    Pending *pending = ctx;
    pending->connection = NULL;
}

static void add_line(Buf *lines, const char *name, Text value)
{
    if (value.len != 0 && memchr(value.at, '\r', value.len) == NULL &&
        memchr(value.at, '\n', value.len) == NULL)
        buf_printf(lines, "%s: %.*s\r\n", name, TEXT_ARG(value));
}

static void send_answer(Pending *pending)
{
    scoped(buf_free) Buf lines = {0};
    ServerAnswer *answer = &pending->answer;
    Connection *connection = pending->connection;
    connection_watch(connection, NULL, NULL, false);
    if (answer->stream.len != 0 && connection_request(connection)->old) {
        connection_problem(connection, 505, "request.version",
                           "over HTTP/1.0 nobody could tell whether all of it arrived");
        return;
    }
    if (answer->stream.len != 0) {
        server_streams_wait(pending->server->streams, buf_cstr(&answer->stream), connection);
        return;
    }
    if (answer->listen.on) {
        server_events_add(pending->server->events, &answer->listen, buf_slice(&answer->body),
                          connection);
        return;
    }
    add_line(&lines, "Location", buf_text(&answer->location));
    add_line(&lines, "ETag", buf_text(&answer->etag));
    add_line(&lines, "Allow", buf_text(&answer->allow));
    add_line(&lines, "WWW-Authenticate", text_of(answer->auth));
    if (answer->status == 503)
        add_line(&lines, "Retry-After", TEXT("2"));
    connection_answer(connection, answer->status,
                      answer->type == NULL ? "application/json" : answer->type, buf_text(&lines),
                      buf_slice(&answer->body));
}

/* Back on the loop's thread: everything that was answered meanwhile. */
static void deliver(void *ctx)
{
    Server *server = ctx;
    pthread_mutex_lock(&server->lock);
    Pending *list = server->answered;
    server->answered = NULL;
    pthread_mutex_unlock(&server->lock);
    for (Pending *pending = list, *next; pending != NULL; pending = next) {
        char path[LOG_QUOTED];
        next = pending->next;
        log_debug("http.request", "id=%s method=%s path=%s status=%d ms=%lld",
                  pending->call.request_id, pending->call.method,
                  log_quote(text_of(pending->call.path), path), pending->answer.status,
                  (long long)((clock_mono_ns() - pending->began_ns) / 1000000));
        if (pending->connection != NULL)
            send_answer(pending);
        pending_free(pending);
    }
}

static Pending *take(Server *server)
{
    pthread_mutex_lock(&server->lock);
    while (server->first == NULL && !server->stop)
        wait_signal(&server->signal, &server->lock);
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
        pthread_mutex_lock(&server->lock);
        pending->next = server->answered;
        server->answered = pending;
        bool first = pending->next == NULL;
        pthread_mutex_unlock(&server->lock);
        if (first)
            loop_post(server->loop, deliver, server);
    }
    server->params.thread_close(server->params.ctx, own);
    return NULL;
}

/* Where a text begins in `texts`, plus 1; 0: it is absent. */
static size_t keep(Buf *texts, const char *text)
{
    size_t at = texts->len;
    if (text == NULL)
        return 0;
    buf_add(texts, text, strlen(text) + 1);
    return at + 1;
}

static Pending *copy_request(Server *server, Connection *connection)
{
    enum { METHOD, PATH, QUERY, IP, AUTHORIZATION, KEY, IF_MATCH, TYPE, LAST_EVENT, TEXTS };
    const Request *request = connection_request(connection);
    Pending *pending = mem_new(Pending);
    const char *const from[TEXTS] = {
        request->method,
        request->path,
        request->query,
        connection_ip(connection),
        request_header(request, "authorization"),
        request_header(request, "idempotency-key"),
        request_header(request, "if-match"),
        request_header(request, "content-type"),
        request_header(request, "last-event-id"),
    };
    size_t at[TEXTS];
    const char *text[TEXTS];
    buf_reserve(&pending->texts, request->text.len + 256); /* it does not move: nothing to wipe */
    for (size_t i = 0; i < TEXTS; i++)
        at[i] = keep(&pending->texts, from[i]);
    for (size_t i = 0; i < TEXTS; i++)
        text[i] = at[i] == 0 ? NULL : (const char *)pending->texts.at + at[i] - 1;
    buf_add_slice(&pending->body, connection_body(connection));
    pending->server = server;
    pending->connection = connection;
    pending->began_ns = clock_mono_ns();
    pending->call = (ServerCall){.method = text[METHOD],
                                 .path = text[PATH],
                                 .query = text[QUERY],
                                 .body = buf_slice(&pending->body),
                                 .client_ip = text[IP],
                                 .authorization = text[AUTHORIZATION],
                                 .idempotency_key = text[KEY],
                                 .if_match = text[IF_MATCH],
                                 .content_type = text[TYPE],
                                 .last_event_id = text[LAST_EVENT]};
    snprintf(pending->call.request_id, sizeof pending->call.request_id, "%s",
             connection_id(connection));
    return pending;
}

static void on_request(void *ctx, Connection *connection)
{
    Server *server = ctx;
    const Request *request = connection_request(connection);
    size_t prefix = strlen(server->params.stream_prefix);
    if (strcmp(request->method, "PUT") == 0 &&
        strncmp(request->path, server->params.stream_prefix, prefix) == 0) {
        server_streams_put(server->streams, request->path + prefix, connection);
        return;
    }
    Pending *pending = copy_request(server, connection);
    connection_watch(connection, on_client_gone, pending, false);
    pthread_mutex_lock(&server->lock);
    if (server->last == NULL)
        server->first = pending;
    else
        server->last->next = pending;
    server->last = pending;
    pthread_cond_signal(&server->signal);
    pthread_mutex_unlock(&server->lock);
}

static int64_t or_else(int64_t asked, int64_t otherwise)
{
    return asked == 0 ? otherwise : asked;
}

static bool open_tls(Server *server, Err *err)
{
    const ServerParams *params = &server->params;
    const ServerTlsFiles files = {params->tls_cert, params->tls_key, params->tls_client_ca};
    if (files.cert == NULL && files.key == NULL && files.client_ca == NULL)
        return true;
    if (files.cert == NULL || files.key == NULL)
        return err_set(err, ERR_USAGE, "http.tls",
                       "TLS takes both a certificate and its key: tls_cert and tls_key");
    bool done = server_tls_open(&server->tls, &files, err);
    server->host.tls = server->tls;
    return done;
}

bool server_reload(Server *server, Err *err)
{
    return server->tls == NULL || server_tls_reload(server->tls, err);
}

bool server_start(Server **out, Loop *loop, const ServerParams *params, Err *err)
{
    Server *server = mem_new(Server);
    *out = server;
    server->params = *params;
    server->loop = loop;
    pthread_mutex_init(&server->lock, NULL);
    pthread_cond_init(&server->signal, NULL);
    server->host =
        (ConnectionHost){.loop = loop,
                         .idle_ms = or_else(params->idle_ms, IDLE_MS),
                         .request_ms = or_else(params->request_ms, REQUEST_MS),
                         .answer_ms = or_else(params->answer_ms, ANSWER_MS),
                         .body_most = (size_t)or_else((int64_t)params->body_most, BODY_MOST),
                         .bodies_most = (size_t)or_else((int64_t)params->bodies_most, BODIES_MOST),
                         .ctx = server,
                         .on_request = on_request};
    if (!open_tls(server, err))
        return false;
    server->streams = server_streams_new(loop, or_else(params->patience_ms, PATIENCE_MS));
    server->events = server_events_new(loop, or_else(params->beat_ms, BEAT_MS),
                                       or_else(params->listen_ms, LISTEN_MS));
    size_t most = (size_t)or_else((int64_t)params->connections_most, CONNECTIONS_MOST);
    if (!server_listen_open(&server->listen, &server->host, params->listen, most, err))
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
    return server_listen_port(server->listen);
}

void server_tell(Server *server, const ServerEvent *event)
{
    server_events_tell(server->events, event);
}

uint64_t server_told(Server *server)
{
    return server_events_told(server->events);
}

size_t server_listeners(const Server *server)
{
    return server_events_count(server->events);
}

static void free_list(Pending *list)
{
    for (Pending *pending = list, *next; pending != NULL; pending = next) {
        next = pending->next;
        pending_free(pending);
    }
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
    server_listen_close(server->listen);
    server_streams_free(server->streams);
    server_events_free(server->events);
    connection_close_all(&server->host); /* tells the pending ones, so before they go */
    server_tls_close(server->tls);
    free_list(server->first);
    free_list(server->answered);
    pthread_cond_destroy(&server->signal);
    pthread_mutex_destroy(&server->lock);
    mem_free(server);
}
