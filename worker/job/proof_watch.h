/* SPDX-License-Identifier: Apache-2.0
 * proof_watch.h — looks at a proof from a thread of its own: one that takes too long, moves no
 * more, or whose job was cancelled gets its throw-away server killed, so that nothing waits for an
 * answer that never comes. */
#ifndef WORKER_JOB_PROOF_WATCH_H
#define WORKER_JOB_PROOF_WATCH_H

#include "worker/engine/sandbox.h"
#include "worker/job/job.h"

#include <pthread.h>

typedef struct ProofWatch {
    Job *job;
    const SandboxOps *ops;
    pthread_t thread;
    pthread_mutex_t lock; /* of what follows */
    pthread_cond_t wake;
    Sandbox *sandbox; /* NULL: there is none to kill */
    int64_t until_ns, stall_ns;
    int64_t moved_ns;
    uint64_t seen; /* progress when it last moved */
    bool over, killed;
    const char *why; /* "proof.too_late", "proof.stalled"; NULL: neither */
} ProofWatch;

MUST_CHECK bool proof_watch_start(ProofWatch *watch, Job *job, const SandboxOps *ops,
                                  int64_t time_ms, int64_t stall_ms, Err *err);
void proof_watch_stop(ProofWatch *watch);
/* NULL before it is closed; from then on nobody kills it. */
void proof_watch_sandbox(ProofWatch *watch, Sandbox *sandbox);
void proof_watch_moved(ProofWatch *watch); /* something happened that no counter says */
bool proof_watch_stops(ProofWatch *watch); /* nothing of it is to go on */

#endif
