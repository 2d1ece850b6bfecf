/* SPDX-License-Identifier: Apache-2.0
 * core.h — the scheduler's heart: one thread that turns time and policy into jobs, jobs into
 * tickets, and dead workers' jobs into jobs again. Any number of schedulers run; the one that holds
 * the leader lease does the work, and two that both believe they lead do no harm, because slots are
 * fired by compare-and-set, tickets are picked with SKIP LOCKED and pushed idempotently, and
 * reaping looks again under the row's lock. A catalogue or a Redis that is away is waited for;
 * nothing is given up, nothing is lost. */
#ifndef SCHEDULER_CORE_CORE_H
#define SCHEDULER_CORE_CORE_H

#include "common/catalog/catalog.h"
#include "common/queue/queue.h"

typedef struct Core Core;

typedef struct CoreParams {
    CatalogParams catalog; /* strings and secrets are borrowed until core_stop */
    QueueParams queue;
    const char *host;  /* shown as the leader's */
    bool force_leader; /* for tests: leads without a lease */
    int64_t tick_ms;   /* 0: 200 */
} CoreParams;

/* What the core knows of its surroundings, for readyz, doctor and metrics. */
typedef struct CoreState {
    bool leads;
    uint64_t term;
    bool catalogue_up;
    bool redis_up;
    char redis_version[16];
    char redis_eviction[32];   /* its maxmemory-policy; empty where it does not say */
    char catalogue_error[400]; /* why not, where it is not up */
    char redis_error[400];
    int64_t last_tick_ns; /* wall clock of this host; 0: none yet */
} CoreState;

MUST_CHECK bool core_start(Core **out, const CoreParams *params, Err *err);
void core_wake(Core *core); /* something is due now; any thread */
void core_state(Core *core, CoreState *out);
void core_stop(Core *core); /* resigns, waits for the thread; NULL is fine */

#endif
