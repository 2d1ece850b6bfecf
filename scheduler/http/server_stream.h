/* SPDX-License-Identifier: Apache-2.0
 * server_stream.h — bytes that a worker PUTs piece by piece and a waiting GET receives.
 * A piece is acknowledged when it has left for the caller, so a slow caller slows the worker and
 * nothing piles up. A piece that is sent again, because its answer was lost, is acknowledged and
 * not passed on twice. Everything happens on the loop's thread. */
#ifndef SCHEDULER_HTTP_SERVER_STREAM_H
#define SCHEDULER_HTTP_SERVER_STREAM_H

#include "scheduler/http/connection.h"

typedef struct ServerStreams ServerStreams;
ServerStreams *server_streams_new(Loop *loop, int64_t patience_ms);
void server_streams_free(ServerStreams *streams); /* before its connections are closed */

/* Holds the request until its first piece comes; patience_ms without any ends it with 504. */
void server_streams_wait(ServerStreams *streams, const char *ticket, Connection *get);

/* PUT …/<ticket>?offset=N[&end=1][&error=CODE]: 200 taken, 400 malformed, 409 not the next piece,
 * 410 no such stream, or its caller has left. */
void server_streams_put(ServerStreams *streams, const char *ticket, Connection *put);

#endif
