/* SPDX-License-Identifier: Apache-2.0
 * server.h — HTTP on one loop thread, handlers on a few threads of their own.
 * The loop reads requests whole (bounded), a handler thread with its own context answers each, the
 * loop sends the answer; no handler ever touches libevent. A client that goes away is forgotten.
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
    Buf stream; /* not empty: a ticket; the body comes by PUT /streams/<ticket> */
} ServerAnswer;

typedef struct ServerParams {
    const char *listen; /* "127.0.0.1:8480"; port 0 picks a free one */
    unsigned threads;   /* handler threads; 0: 2 */
    size_t body_most;   /* 0: 8 MiB */
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

/* A query value or a path part, percent-decoded; false when it is not there or not well-formed. */
bool server_query(const ServerCall *call, const char *name, Buf *out);
bool server_decode(Text text, bool plus_is_space, Buf *out);

#endif
