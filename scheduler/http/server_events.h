/* SPDX-License-Identifier: Apache-2.0
 * server_events.h — those that listen to what happens, as text/event-stream. Each hears what fits
 * its filter; one that does not take what was sent to it is let go of, and comes back for the rest.
 * A comment now and then keeps the connection alive and shows that it is. Everything but
 * server_events_tell and server_events_told happens on the loop's thread. */
#ifndef SCHEDULER_HTTP_SERVER_EVENTS_H
#define SCHEDULER_HTTP_SERVER_EVENTS_H

#include "scheduler/http/connection.h"
#include "scheduler/http/server.h"

typedef struct ServerEvents ServerEvents;

/* beat_ms: from one comment to the next. life_ms: after it a listener is sent away, to come back
 * with a token that is still good. */
ServerEvents *server_events_new(Loop *loop, int64_t beat_ms, int64_t life_ms);
void server_events_free(ServerEvents *events); /* before its connections are closed */

/* Sends `first`, then everything that was told after the wish's number and fits it (its lists are
 * taken over). One that is too
 * late for that is cut off. More than 256 listeners: 503. */
void server_events_add(ServerEvents *events, ServerWish *wish, Slice first, Connection *connection);
size_t server_events_count(const ServerEvents *events); /* of those that listen; any thread */

void server_events_tell(ServerEvents *events, const ServerEvent *event);
uint64_t server_events_told(ServerEvents *events);

#endif
