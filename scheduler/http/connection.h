/* SPDX-License-Identifier: Apache-2.0
 * connection.h — one client of the HTTP server: its requests are read one at a time within limits
 * of size and time, each is answered before the next is looked at, and what the client does wrong
 * is answered here, as a problem document. Why not libevent's own server: it has no deadline for a
 * whole request, no limit of connections, HTML for errors, and does not notice that a client left.
 * Everything happens on the loop's thread. */
#ifndef SCHEDULER_HTTP_CONNECTION_H
#define SCHEDULER_HTTP_CONNECTION_H

#include "common/base/loop.h"
#include "scheduler/http/request.h"
#include "scheduler/http/server_tls.h"

typedef struct Connection Connection;

/* What the connections of a server share. */
typedef struct ConnectionHost {
    Loop *loop;
    ServerTls *tls;     /* NULL: requests come as they are */
    int64_t idle_ms;    /* between two requests */
    int64_t request_ms; /* from a request's first byte to its last */
    int64_t answer_ms;  /* to take an answer */
    size_t body_most;
    size_t bodies_most; /* bytes of all bodies that are being read or answered */
    size_t bodies;      /* so many are */
    Connection *first;  /* those that are open, newest first */
    Connection *dead;   /* closed, to be forgotten from outside their own calls */
    size_t count;
    void *ctx;
    /* A whole request. It is answered before the call returns or later; what `gone` of
     * connection_watch was not told of is answered. */
    void (*on_request)(void *ctx, Connection *connection);
} ConnectionHost;

void connection_open(ConnectionHost *host, evutil_socket_t fd, const char *ip);
void connection_close(Connection *connection); /* at once, whatever it is doing; tells `gone` */
void connection_close_all(ConnectionHost *host);

/* Makes room: closes the one that has been without a whole request for longest. False: each of
 * them is being answered. */
bool connection_close_idlest(ConnectionHost *host);

const Request *connection_request(const Connection *connection);
const char *connection_ip(const Connection *connection);
const char *connection_id(const Connection *connection); /* "rq_…", of the request */
Slice connection_body(const Connection *connection);

/* Calls gone(ctx) once when the client leaves before its answer is complete; the connection is
 * closed then. at_eof: a client that only stopped sending has left, too. NULL: no longer. */
void connection_watch(Connection *connection, void (*gone)(void *ctx), void *ctx, bool at_eof);

/* The whole answer. `lines`: more headers, each ended by CR LF. */
void connection_answer(Connection *connection, int status, const char *type, Text lines,
                       Slice body);
/* RFC 9457. */
void connection_problem(Connection *connection, int status, const char *code, const char *text);

/* An answer whose length nobody knows yet: begin (`lines` as above), pieces, end. Each piece's
 * `sent` is called when it has left. connection_close in between shows the client that the answer
 * is not whole. */
void connection_stream(Connection *connection, const char *type, Text lines);
void connection_piece(Connection *connection, Slice piece, void (*sent)(void *ctx), void *ctx);
void connection_stream_end(Connection *connection);
size_t connection_unsent(const Connection *connection); /* bytes that the client did not take yet */

/* Appends a problem document. */
void connection_problem_json(Buf *out, int status, const char *code, const char *text,
                             const char *request_id);

#endif
