/* SPDX-License-Identifier: Apache-2.0
 * server.h — HTTP/1.1 on one loop thread, handlers on a few threads of their own.
 * The loop reads requests whole and within limits (connection.h), a handler thread with its own
 * context answers each, the loop sends the answer; no handler ever touches a connection. A client
 * that goes away is forgotten. Clients beyond connections_most cost the one that has been idle for
 * longest its connection; when nobody is idle, the newcomer gets 503.
 * Files on their way from a worker to a caller go through server_stream.h without being stored. */
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
    const char *client_ip;
    char request_id[SERVER_REQUEST_ID];
} ServerCall;

typedef struct ServerAnswer {
    int status;
    const char *type; /* NULL: application/json */
    Buf body;
    Buf location;
    Buf etag;
    Buf allow;        /* of a 405 */
    const char *auth; /* of a 401: WWW-Authenticate; NULL elsewhere */
    Buf stream;       /* not empty: a ticket; the body comes by PUT /streams/<ticket> */
} ServerAnswer;

typedef struct ServerParams {
    const char *listen;      /* "127.0.0.1:8480", "[::1]:8480"; port 0 picks a free one */
    unsigned threads;        /* handler threads; 0: 2 */
    size_t body_most;        /* 0: 2 MiB, for a fleet file of 1 MiB and a streamed piece of 1 MiB */
    size_t bodies_most;      /* of all requests together; 0: 64 MiB */
    size_t connections_most; /* 0: 1000, fewer where the process may not have so many */
    int64_t idle_ms;         /* between two requests; 0: 60 000 */
    int64_t request_ms;      /* from a request's first byte to its last; 0: 30 000 */
    int64_t answer_ms;       /* for a client to take its answer; 0: 120 000 */
    int64_t patience_ms;     /* for a worker to send the next piece of a stream; 0: 60 000 */
    void *ctx;
    void *(*thread_open)(void *ctx); /* what a handler thread keeps: its catalogue connection */
    void (*thread_close)(void *ctx, void *own);
    void (*handle)(void *ctx, void *own, const ServerCall *call, ServerAnswer *answer);
    const char *stream_prefix; /* "/api/v1/streams/" */
} ServerParams;

typedef struct Server Server;
MUST_CHECK bool server_start(Server **out, Loop *loop, const ServerParams *params, Err *err);
int server_port(const Server *server);
void server_stop(Server *server); /* on the loop's thread, after the loop ended; NULL is fine */

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
