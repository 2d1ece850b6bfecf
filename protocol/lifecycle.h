/* SPDX-License-Identifier: Apache-2.0
 * lifecycle.h — the states of a job and the moves between them, one table. */
#ifndef PROTOCOL_LIFECYCLE_H
#define PROTOCOL_LIFECYCLE_H

#include "protocol/err.h"

typedef enum JobState {
#define STATE(symbol, ...) JOB_##symbol,
#define MOVE(...)
#include "protocol/lifecycle.def"
#undef STATE
#undef MOVE
    JOB_STATE_COUNT
} JobState;

typedef enum JobEvent {
    EVENT_DISPATCH,
    EVENT_RECALL,
    EVENT_CLAIM,
    EVENT_DEFER,
    EVENT_COMMIT,
    EVENT_COMMIT_PARTIAL,
    EVENT_FAIL_RETRY,
    EVENT_FAIL,
    EVENT_LOSE,
    EVENT_POISON,
    EVENT_RELEASE,
    EVENT_CANCEL,
    EVENT_SKIP,
    EVENT_MISS,
    EVENT_REQUEUE,
    EVENT_SETTLE,
    EVENT_COUNT
} JobEvent;

/* False when the table has no such move; *to is then left alone. */
bool lifecycle_move(JobState from, JobEvent event, JobState *to);

/* May some event lead from one state to the other? For the comparison with SQL. */
bool lifecycle_leads(JobState from, JobState to);

bool lifecycle_terminal(JobState state);
const char *lifecycle_name(JobState state);
bool lifecycle_parse(Text name, JobState *state);

#endif
