/* SPDX-License-Identifier: Apache-2.0
 * always.h — the promise that a hook marked `always` runs even when its worker was killed.
 * Before a job with such a hook starts, its order is noted (worker/job/note.h); whoever finds the
 * note of a dead process on this host, which is every worker at its start and once a minute, runs
 * the hook, and removes the note when the hook has ended.
 * ■ So the hook runs at least once, and may run twice: a worker that is killed while the hook runs,
 * or between its end and the removal of the note, has it run again. It may also run when the next
 * attempt, on another host, is under way. A hook marked `always` must therefore be idempotent: it
 * brings about a state (the application runs, the snapshot is gone), it does not count or toggle.
 */
#ifndef WORKER_AGENT_ALWAYS_H
#define WORKER_AGENT_ALWAYS_H

#include "worker/job/note.h"

#include <jansson.h>

#define ALWAYS_NOTES "always"

/* Does this order carry a hook that must run in any case: an `after` marked so, the release of what
 * a group holds, or the starts of what a restore in place stops? */
bool always_wanted(const json_t *order);
/* How long that may take: what its programs are given, and `more`. */
int64_t always_most_ms(const json_t *order, int64_t more);

#endif
