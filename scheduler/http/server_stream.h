/* SPDX-License-Identifier: Apache-2.0
 * server_stream.h — bytes that a worker PUTs piece by piece and a waiting GET receives.
 * A piece is acknowledged when it has left for the caller, so a slow caller slows the worker and
 * nothing piles up. Everything happens on the loop's thread. */
#ifndef SCHEDULER_HTTP_SERVER_STREAM_H
#define SCHEDULER_HTTP_SERVER_STREAM_H

#include "common/base/loop.h"

#include <event2/http.h>

typedef struct ServerStreams ServerStreams;
ServerStreams *server_streams_new(Loop *loop);
void server_streams_free(ServerStreams *streams);

/* Holds the request until its first piece comes; one minute without any ends it. */
void server_streams_wait(ServerStreams *streams, const char *ticket,
                         struct evhttp_request *request);

/* PUT …/<ticket>?offset=N[&end=1][&error=TEXT] */
void server_streams_put(ServerStreams *streams, const char *ticket, struct evhttp_request *request);

#endif
