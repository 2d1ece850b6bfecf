/* SPDX-License-Identifier: Apache-2.0 */
#include "scheduler/http/connection.h"

#include "common/base/clock.h"
#include "common/base/json.h"
#include "common/base/mem.h"
#include "common/base/rand.h"
#include "protocol/ids.h"

#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/bufferevent_ssl.h>
#include <stdio.h>
#include <strings.h>
#include <sys/socket.h>
#include <time.h>

/* Read ahead of the request that is looked at: enough for its head, little for a flood. */
enum { AHEAD = 64 << 10 };

/* A client that was refused in mid-request may still be sending; closing at once would reset the
 * connection and could take the answer with it. */
enum { LINGER_MS = 2000 };

typedef enum State {
    HEAD,   /* waiting for a request, or for the rest of its head */
    BODY,   /* for the rest of its body */
    ASKED,  /* it is with somebody else */
    STREAM, /* its answer goes out piece by piece */
    ANSWER, /* its answer goes out */
    LINGER, /* answered; what still comes is thrown away */
    CLOSED,
} State;

struct Connection {
    Connection *next, *previous;
    ConnectionHost *host;
    struct bufferevent *events;
    LoopTimer *timer;
    State state;
    int64_t since_ns; /* when it last had nothing whole to be answered */
    bool begun;       /* of the request at least a byte came */
    bool ended;       /* the client sends no more */
    bool keep_alive;
    bool in_chunks; /* of the answer */
    Request request;
    RequestChunks chunks;
    Buf body;
    size_t reserved; /* of the host's bodies */
    char ip[64];
    char id[24];
    void (*gone)(void *ctx);
    void *gone_ctx;
    bool gone_at_eof;
    void (*sent)(void *ctx);
    void *sent_ctx;
};

const Request *connection_request(const Connection *connection)
{
    return &connection->request;
}

const char *connection_ip(const Connection *connection)
{
    return connection->ip;
}

const char *connection_id(const Connection *connection)
{
    return connection->id;
}

Slice connection_body(const Connection *connection)
{
    return buf_slice(&connection->body);
}

void connection_watch(Connection *connection, void (*gone)(void *ctx), void *ctx, bool at_eof)
{
    connection->gone = gone;
    connection->gone_ctx = ctx;
    connection->gone_at_eof = at_eof;
}

static void forget_dead(ConnectionHost *host)
{
    for (Connection *dead = host->dead, *next; dead != NULL; dead = next) {
        next = dead->next;
        mem_free(dead);
    }
    host->dead = NULL;
}

/* The struct stays until no call of its own is on the stack. */
void connection_close(Connection *connection)
{
    ConnectionHost *host = connection->host;
    void (*gone)(void *ctx) = connection->gone;
    if (connection->state == CLOSED)
        return;
    connection->state = CLOSED;
    connection->gone = NULL;
    connection->sent = NULL;
    loop_timer_free(connection->timer);
    bufferevent_free(connection->events);
    request_free(&connection->request);
    buf_free(&connection->body);
    host->bodies -= connection->reserved;
    host->count--;
    if (connection->next != NULL)
        connection->next->previous = connection->previous;
    if (connection->previous != NULL)
        connection->previous->next = connection->next;
    else
        host->first = connection->next;
    connection->next = host->dead;
    host->dead = connection;
    if (gone != NULL)
        gone(connection->gone_ctx);
}

void connection_close_all(ConnectionHost *host)
{
    while (host->first != NULL)
        connection_close(host->first);
    forget_dead(host);
}

bool connection_close_idlest(ConnectionHost *host)
{
    Connection *idlest = NULL;
    for (Connection *at = host->first; at != NULL; at = at->next)
        if (at->state != ASKED && at->state != STREAM && at->state != ANSWER &&
            (idlest == NULL || at->since_ns < idlest->since_ns))
            idlest = at;
    if (idlest == NULL)
        return false;
    connection_close(idlest);
    return true;
}

/* --- answers ------------------------------------------------------------------------------------
 */

static const char *reason_of(int status)
{
    static const struct {
        int status;
        const char *reason;
    } reasons[] = {
        {200, "OK"},
        {201, "Created"},
        {202, "Accepted"},
        {400, "Bad Request"},
        {401, "Unauthorized"},
        {403, "Forbidden"},
        {404, "Not Found"},
        {405, "Method Not Allowed"},
        {408, "Request Timeout"},
        {409, "Conflict"},
        {410, "Gone"},
        {412, "Precondition Failed"},
        {413, "Content Too Large"},
        {414, "URI Too Long"},
        {415, "Unsupported Media Type"},
        {417, "Expectation Failed"},
        {422, "Unprocessable Content"},
        {431, "Request Header Fields Too Large"},
        {500, "Internal Server Error"},
        {501, "Not Implemented"},
        {502, "Bad Gateway"},
        {503, "Service Unavailable"},
        {504, "Gateway Timeout"},
        {505, "HTTP Version Not Supported"},
        {507, "Insufficient Storage"},
    };
    for (size_t i = 0; i < sizeof reasons / sizeof *reasons; i++)
        if (reasons[i].status == status)
            return reasons[i].reason;
    return "Status";
}

static void add_head(Connection *connection, Buf *out, int status, const char *type)
{
    char date[64];
    struct tm tm;
    time_t now = (time_t)(clock_wall_ns() / 1000000000);
    gmtime_r(&now, &tm);
    static const char *const days[] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
    static const char *const months[] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                         "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
    snprintf(date, sizeof date, "%s, %02d %s %d %02d:%02d:%02d GMT", days[tm.tm_wday], tm.tm_mday,
             months[tm.tm_mon], tm.tm_year + 1900, tm.tm_hour, tm.tm_min, tm.tm_sec);
    buf_printf(out,
               "HTTP/1.1 %d %s\r\nDate: %s\r\nContent-Type: %s\r\nCache-Control: no-store\r\n"
               "X-Content-Type-Options: nosniff\r\n",
               status, reason_of(status), date, type);
    if (connection->id[0] != 0)
        buf_printf(out, "X-Request-Id: %s\r\n", connection->id);
    if (!connection->keep_alive || connection->request.old)
        buf_printf(out, "Connection: %s\r\n", connection->keep_alive ? "keep-alive" : "close");
}

static void put(Connection *connection, Slice bytes)
{
    evbuffer_add(bufferevent_get_output(connection->events), bytes.at, bytes.len);
}

/* From here on the write callback leads on, the timer ends it. */
static void go_out(Connection *connection)
{
    connection->gone = NULL;
    connection->state = ANSWER;
    loop_timer_once(connection->timer, connection->host->answer_ms);
}

static bool may_answer(const Connection *connection)
{
    return connection->state == HEAD || connection->state == BODY || connection->state == ASKED;
}

void connection_answer(Connection *connection, int status, const char *type, Text lines, Slice body)
{
    scoped(buf_free) Buf head = {0};
    const char *method = connection->request.method;
    if (!may_answer(connection))
        return;
    /* Bytes that were not read cannot be told from the next request. */
    connection->keep_alive = connection->keep_alive && connection->state == ASKED;
    add_head(connection, &head, status, type);
    buf_add_text(&head, lines);
    buf_printf(&head, "Content-Length: %zu\r\n\r\n", body.len);
    put(connection, buf_slice(&head));
    if (method == NULL || strcmp(method, "HEAD") != 0)
        put(connection, body);
    go_out(connection);
}

void connection_problem_json(Buf *out, int status, const char *code, const char *text,
                             const char *request_id)
{
    json_t *body =
        json_pack("{s:s+, s:s, s:i, s:s, s:s, s:s}", "type", "https://holdfast.example/problems/",
                  code, "title", reason_of(status), "status", status, "code", code, "detail", text,
                  "request_id", request_id);
    if (body != NULL)
        json_canonical(body, out);
    json_decref(body);
}

void connection_problem(Connection *connection, int status, const char *code, const char *text)
{
    scoped(buf_free) Buf body = {0};
    connection_problem_json(&body, status, code, text, connection->id);
    connection_answer(connection, status, "application/problem+json",
                      status == 503 ? TEXT("Retry-After: 2\r\n") : (Text){0}, buf_slice(&body));
}

void connection_stream(Connection *connection, const char *type, Text lines)
{
    scoped(buf_free) Buf head = {0};
    if (!may_answer(connection))
        return;
    connection->state = STREAM;
    connection->in_chunks = !connection->request.old;
    if (!connection->in_chunks)
        connection->keep_alive = false;
    add_head(connection, &head, 200, type);
    buf_add_text(&head, lines);
    buf_printf(&head, "%s\r\n", connection->in_chunks ? "Transfer-Encoding: chunked\r\n" : "");
    put(connection, buf_slice(&head));
}

void connection_piece(Connection *connection, Slice piece, void (*sent)(void *ctx), void *ctx)
{
    char size[32];
    if (connection->state != STREAM || piece.len == 0)
        return;
    connection->sent = sent;
    connection->sent_ctx = ctx;
    int len = snprintf(size, sizeof size, "%zx\r\n", piece.len);
    if (connection->in_chunks)
        put(connection, (Slice){(const uint8_t *)size, (size_t)len});
    put(connection, piece);
    if (connection->in_chunks)
        put(connection, (Slice){(const uint8_t *)"\r\n", 2});
}

size_t connection_unsent(const Connection *connection)
{
    return connection->state == CLOSED
               ? 0
               : evbuffer_get_length(bufferevent_get_output(connection->events));
}

void connection_stream_end(Connection *connection)
{
    static const uint8_t last[] = "0\r\n\r\n";
    if (connection->state != STREAM)
        return;
    if (connection->in_chunks)
        put(connection, (Slice){last, sizeof last - 1});
    go_out(connection);
    if (evbuffer_get_length(bufferevent_get_output(connection->events)) == 0)
        connection_close(connection); /* nothing left to be told of */
}

/* --- requests -----------------------------------------------------------------------------------
 */

/* Ready for the next request. */
static void begin(Connection *connection)
{
    request_free(&connection->request);
    buf_free(&connection->body);
    connection->host->bodies -= connection->reserved;
    connection->reserved = 0;
    connection->chunks = (RequestChunks){0};
    connection->begun = false;
    connection->id[0] = 0;
    connection->state = HEAD;
    connection->since_ns = clock_mono_ns();
    loop_timer_once(connection->timer, connection->host->idle_ms);
}

static void refuse(Connection *connection, const RequestFault *fault)
{
    connection->keep_alive = false;
    connection_problem(connection, fault->status, fault->code, fault->text);
}

/* Bodies of all connections together stay below bodies_most. */
static bool reserve(Connection *connection, size_t size)
{
    ConnectionHost *host = connection->host;
    static const RequestFault full = {503, "http.busy",
                                      "too many large requests at once; try again"};
    size_t more = size > connection->reserved ? size - connection->reserved : 0;
    if (host->bodies + more > host->bodies_most) {
        refuse(connection, &full);
        return false;
    }
    host->bodies += more;
    connection->reserved += more;
    return true;
}

static bool whole(Connection *connection)
{
    connection->state = ASKED;
    loop_timer_stop(connection->timer);
    connection->host->on_request(connection->host->ctx, connection);
    return false; /* the answer leads on */
}

/* The head is there: what is to come, and may it? */
static bool after_head(Connection *connection)
{
    static const RequestFault too_long = {413, "request.body_long", "the body is too long"};
    static const uint8_t go_on[] = "HTTP/1.1 100 Continue\r\n\r\n";
    const Request *request = &connection->request;
    if (!request->chunked && request->length > connection->host->body_most) {
        refuse(connection, &too_long);
        return false;
    }
    if (!request->chunked && request->length == 0)
        return whole(connection);
    if (!reserve(connection, request->chunked ? 0 : (size_t)request->length))
        return false;
    if (request->expects)
        put(connection, (Slice){go_on, sizeof go_on - 1});
    connection->state = BODY;
    return true;
}

static bool read_head(Connection *connection)
{
    RequestFault fault;
    uint8_t random[8];
    struct evbuffer *input = bufferevent_get_input(connection->events);
    char blank[2];
    while (!connection->begun && evbuffer_copyout(input, blank, 2) == 2 && blank[0] == '\r' &&
           blank[1] == '\n')
        evbuffer_drain(input, 2); /* some clients send one after a body */
    size_t len = evbuffer_get_length(input);
    if (len == 0)
        return false;
    if (!connection->begun) {
        connection->begun = true;
        loop_timer_once(connection->timer, connection->host->request_ms);
    }
    if (len > REQUEST_HEAD_MOST)
        len = REQUEST_HEAD_MOST;
    Slice seen = {evbuffer_pullup(input, (ev_ssize_t)len), len};
    size_t end = request_head_end(seen, &fault);
    if (end == 0 && fault.status == 0)
        return false;
    rand_bytes(random, sizeof random);
    memcpy(connection->id, "rq_", 3);
    ids_hex(random, sizeof random, connection->id + 3);
    bool parsed = end != 0 && request_parse((Slice){seen.at, end}, &connection->request, &fault);
    explicit_bzero((uint8_t *)(uintptr_t)seen.at, end); /* the token, too */
    evbuffer_drain(input, end);
    connection->keep_alive = parsed && connection->request.keep_alive;
    if (parsed)
        return after_head(connection);
    refuse(connection, &fault);
    return false;
}

static bool read_chunks(Connection *connection, struct evbuffer *input)
{
    RequestFault fault;
    size_t used;
    size_t len = evbuffer_get_length(input);
    Slice in = {evbuffer_pullup(input, -1), len};
    bool good = request_chunks(&connection->chunks, in, &used, &connection->body,
                               connection->host->body_most, &fault);
    evbuffer_drain(input, used);
    if (!good) {
        refuse(connection, &fault);
        return false;
    }
    if (!reserve(connection, connection->body.len))
        return false;
    return connection->chunks.done && whole(connection);
}

static bool read_body(Connection *connection)
{
    struct evbuffer *input = bufferevent_get_input(connection->events);
    size_t len = evbuffer_get_length(input);
    if (len == 0)
        return false;
    if (connection->request.chunked)
        return read_chunks(connection, input);
    size_t missing = (size_t)connection->request.length - connection->body.len;
    if (len > missing)
        len = missing;
    evbuffer_remove(input, buf_extend(&connection->body, len), len);
    return len == missing && whole(connection);
}

static void advance(Connection *connection)
{
    bool more = true;
    while (more) {
        if (connection->state == HEAD)
            more = read_head(connection);
        else
            more = connection->state == BODY && read_body(connection);
    }
}

/* --- libevent's calls ---------------------------------------------------------------------------
 */

static void on_bytes(struct bufferevent *events, void *ctx)
{
    Connection *connection = ctx;
    if (connection->state == LINGER) {
        struct evbuffer *input = bufferevent_get_input(events);
        evbuffer_drain(input, evbuffer_get_length(input));
        return;
    }
    advance(connection);
}

/* Nothing more goes out; what the client still sends is read and thrown away for a while. */
static void linger(Connection *connection)
{
    SSL *tls = bufferevent_openssl_get_ssl(connection->events);
    connection->state = LINGER;
    connection->since_ns = clock_mono_ns();
    loop_timer_once(connection->timer, LINGER_MS);
    if (tls != NULL)
        SSL_shutdown(tls); /* says that this is the end, and no cut */
    shutdown(bufferevent_getfd(connection->events), SHUT_WR);
    on_bytes(connection->events, connection);
}

/* Everything that was put has left. */
static void on_sent(struct bufferevent *events, void *ctx)
{
    Connection *connection = ctx;
    (void)events;
    void (*sent)(void *ctx) = connection->sent;
    if (connection->state == STREAM && sent != NULL) {
        connection->sent = NULL;
        sent(connection->sent_ctx);
    } else if (connection->state == ANSWER && connection->keep_alive) {
        begin(connection);
        advance(connection);
        if (connection->ended && (connection->state == HEAD || connection->state == BODY))
            connection_close(connection);
    } else if (connection->state == ANSWER && connection->ended)
        connection_close(connection);
    else if (connection->state == ANSWER)
        linger(connection);
}

static void on_event(struct bufferevent *events, short what, void *ctx)
{
    Connection *connection = ctx;
    (void)events;
    if ((what & BEV_EVENT_CONNECTED) != 0) { /* TLS has shaken hands */
        loop_timer_once(connection->timer, connection->host->idle_ms);
        return;
    }
    connection->ended = true;
    bool asked = connection->state == ASKED || connection->state == ANSWER;
    bool leaves = connection->gone != NULL && connection->gone_at_eof;
    if ((what & BEV_EVENT_ERROR) != 0 || !asked || leaves)
        connection_close(connection);
}

static void on_time_over(void *ctx)
{
    Connection *connection = ctx;
    static const RequestFault slow = {408, "request.slow", "the request took too long to arrive"};
    if ((connection->state == HEAD && connection->begun) || connection->state == BODY)
        refuse(connection, &slow);
    else
        connection_close(connection);
}

/* Calls of a TLS connection come from the loop, never from inside OpenSSL's. */
static struct bufferevent *events_of(const ConnectionHost *host, evutil_socket_t fd)
{
    struct event_base *base = loop_base(host->loop);
    if (host->tls == NULL)
        return bufferevent_socket_new(base, fd, BEV_OPT_CLOSE_ON_FREE);
    SSL *tls = server_tls_accept(host->tls);
    return tls == NULL
               ? NULL
               : bufferevent_openssl_socket_new(base, fd, tls, BUFFEREVENT_SSL_ACCEPTING,
                                                BEV_OPT_CLOSE_ON_FREE | BEV_OPT_DEFER_CALLBACKS);
}

void connection_open(ConnectionHost *host, evutil_socket_t fd, const char *ip)
{
    forget_dead(host);
    struct bufferevent *events = events_of(host, fd);
    if (events == NULL) {
        evutil_closesocket(fd);
        return;
    }
    Connection *connection = mem_new(Connection);
    connection->host = host;
    connection->events = events;
    connection->timer = loop_timer_new(host->loop, on_time_over, connection);
    snprintf(connection->ip, sizeof connection->ip, "%s", ip);
    connection->next = host->first;
    if (host->first != NULL)
        host->first->previous = connection;
    host->first = connection;
    host->count++;
    begin(connection);
    if (host->tls != NULL) /* the handshake is part of a request's time, however it trickles */
        loop_timer_once(connection->timer, host->request_ms);
    bufferevent_setcb(events, on_bytes, on_sent, on_event, connection);
    bufferevent_setwatermark(events, EV_READ, 0, AHEAD);
    bufferevent_enable(events, EV_READ | EV_WRITE);
}
