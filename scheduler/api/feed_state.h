/* SPDX-License-Identifier: Apache-2.0
 * feed_state.h — what has no outbox, told when it changes: what running jobs report (job.progress),
 * how workers and sources are (worker.state, source.state), what needs attention (alert, with state
 * raised or cleared). Nothing is asked while nobody listens. The feed's thread alone. */
#ifndef SCHEDULER_API_FEED_STATE_H
#define SCHEDULER_API_FEED_STATE_H

#include "common/catalog/catalog_view.h"
#include "scheduler/http/server.h"

typedef struct FeedState FeedState;
FeedState *feed_state_new(void);
void feed_state_free(FeedState *state);

void feed_state_touch(FeedState *state, const char *source); /* a job of it ended: look at it */
MUST_CHECK bool feed_state_look(FeedState *state, Catalog *catalog, Server *server, Err *err);

#endif
