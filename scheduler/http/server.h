/* SPDX-License-Identifier: Apache-2.0
 * server.h — HTTP/1.1, plain or over TLS, on one loop thread, handlers on a few threads of their
 * own. The loop reads requests whole and within limits (connection.h), a handler thread with its
 * own context answers each, the loop sends the answer; no handler ever touches a connection. A
 * client that goes away is forgotten. Clients beyond connections_most cost the one that has been
 * idle for longest its connection; when nobody is idle, the newcomer gets 503. Files on their way
 * from a worker to a caller go through server_stream.h without being stored; what happens is told
 * to those that listen by server_events.h. */
#ifndef SCHEDULER_HTTP_SERVER_H
#define SCHEDULER_HTTP_SERVER_H

#include "common/base/buf.h"
#include "common/base/loop.h"

enum { SERVER_REQUEST_ID = 24 };

/* One request; everything is borrowed for the handler's call. */
typedef struct ServerCall {
    const char *method;
    const char *path;  /* as sent, without the query */
    const char *query; /* "" where there is none */
    Slice body;
    const char *authorization; /* headers; NULL where absent */
    const char *idempotency_key;
    const char *if_match;
    const char *content_type;
    const char *last_event_id;
    const char *client_ip;
    char request_id[SERVER_REQUEST_ID];
} ServerCall;

/* What a listener wants to hear: lists "a,b", empty for anything. */
typedef struct ServerWish {
    bool on;
    uint64_t after; /* server_told of before its beginning was looked up */
    Buf kinds, sources, jobs;
} ServerWish;

typedef struct ServerAnswer {
    int status;
    const char *type; /* NULL: application/json */
    Buf body;
    Buf location;
    Buf etag;
    Buf allow;         /* of a 405 */
    const char *auth;  /* of a 401: WWW-Authenticate; NULL elsewhere */
    Buf stream;        /* not empty: a ticket; the body comes by PUT /streams/<ticket> */
    ServerWish listen; /* on: `body` begins an event stream, what is told meanwhile goes on */
} ServerAnswer;

typedef struct ServerParams {
    const char *listen;        /* "127.0.0.1:8480", "[::1]:8480"; port 0 picks a free one */
    const char *tls_cert;      /* PEM, with its chain; NULL: no TLS */
    const char *tls_key;       /* its private key */
    const char *tls_client_ca; /* NULL: clients need no certificate (server_tls.h) */
    unsigned threads;          /* handler threads; 0: 2 */
    size_t body_most;        /* 0: 2 MiB, for a fleet file of 1 MiB and a streamed piece of 1 MiB */
    size_t bodies_most;      /* of all requests together; 0: 64 MiB */
    size_t connections_most; /* 0: 1000, fewer where the process may not have so many */
    int64_t idle_ms;         /* between two requests; 0: 60 000 */
    int64_t request_ms;      /* from a request's first byte to its last; 0: 30 000 */
    int64_t answer_ms;       /* for a client to take its answer; 0: 120 000 */
    int64_t patience_ms;     /* for a worker to send the next piece of a stream; 0: 60 000 */
    int64_t beat_ms;         /* from comment to comment of an event stream; 0: 15 000 */
    int64_t listen_ms;       /* after which a listener must come again; 0: 900 000 */
    void *ctx;
    void *(*thread_open)(void *ctx); /* what a handler thread keeps: its catalogue connection */
    void (*thread_close)(void *ctx, void *own);
    void (*handle)(void *ctx, void *own, const ServerCall *call, ServerAnswer *answer);
    const char *stream_prefix; /* "/api/v1/streams/" */
} ServerParams;

typedef struct Server Server;
MUST_CHECK bool server_start(Server **out, Loop *loop, const ServerParams *params, Err *err);
int server_port(const Server *server);

/* Reads certificate, key and client CA again, for new connections. False: all stays as it was. */
MUST_CHECK bool server_reload(Server *server, Err *err);

void server_stop(Server *server); /* on the loop's thread, after the loop ended; NULL is fine */

/* One thing that happened. Borrowed for the call. */
typedef struct ServerEvent {
    const char *kind;   /* "job.finished" */
    const char *source; /* whose; NULL: none's */
    const char *job;    /* NULL: none */
    uint64_t place;     /* a listener that heard it goes on from here; 0: from where it was */
    Text data;          /* JSON in one line */
} ServerEvent;

/* Tells those that listen; how many were told. From any thread. */
void server_tell(Server *server, const ServerEvent *event);
uint64_t server_told(Server *server);
size_t server_listeners(const Server *server);
bool server_wishes(const ServerWish *wish, const ServerEvent *event); /* does it fit? */
void server_event_text(Buf *out, const ServerEvent *event);           /* as a stream shows it */

typedef enum ServerFound { SERVER_ABSENT, SERVER_FOUND, SERVER_MALFORMED } ServerFound;

/* A query value, percent-decoded: valid UTF-8 without NUL, or SERVER_MALFORMED. */
ServerFound server_query(const char *query, const char *name, Buf *out);

/* A path part or query value, percent-decoded; false when it is not well-formed, not UTF-8, or
 * holds a NUL. */
MUST_CHECK bool server_decode(Text text, bool plus_is_space, Buf *out);

/* A problem document (RFC 9457). */
void server_problem(Buf *out, int status, const char *code, const char *text,
                    const char *request_id);

#endif
