/* SPDX-License-Identifier: Apache-2.0
 * owed.h — asks for the commits that dead job processes of this worker had noted
 * (worker/job/spool.h): of a child that died under a living parent before its attempt is called
 * lost, of a whole worker at its next start. The marker is then owed to the next write job. */
#ifndef WORKER_AGENT_OWED_H
#define WORKER_AGENT_OWED_H

#include "worker/agent/desk.h"
#include "worker/job/note.h"

/* On the loop's thread, once. state: "completed" or "partial" when it is committed, "fenced" when
 * somebody else has the job, "" when there is nothing to commit after all; ERR_CANCELLED: the
 * worker stops, and the note stays. */
typedef void OwedDone(void *ctx, const char *state, const Err *err);

/* False: this attempt noted nothing, and done is not called. */
bool owed_take(Desk *desk, const char *cache, const char *worker, const Fence *fence,
               OwedDone *done, void *ctx);
/* Drops what this attempt noted: it was cancelled. */
void owed_drop(const char *cache, const Fence *fence);

/* Everything that dead processes of this worker left; logs what came of it. */
void owed_left(Desk *desk, const char *cache, const char *worker);

#endif
