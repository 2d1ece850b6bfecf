/* SPDX-License-Identifier: Apache-2.0
 * catalog_worker.h — what a worker process says of itself, and its heartbeat.
 * The worker is known by its login role; an instance is one process start with a fresh uuid. */
#ifndef COMMON_CATALOG_CATALOG_WORKER_H
#define COMMON_CATALOG_CATALOG_WORKER_H

#include "common/catalog/catalog.h"

typedef struct WorkerHello {
    Uuid instance;
    Text name, host; /* as announced; a name other than the registered one is refused */
    Text version;
    uint32_t slots;
    int64_t clock_ns; /* the worker's wall clock now, for the skew that doctor shows */
    /* JSON object: {"engines":["files","postgresql"],"tools":{"pg_dump":["15.20"]},
     * "roles":["write","read","prune"],"key_sets":[…],"stores":[…],"credentials":[…],"tags":{…},
     * "any_store":true}. "stores" and "key_sets" are what the worker's own file allows; absent
     * means "any". "credentials" absent means unknown: not checked before the job. */
    Text facts;
} WorkerHello;

typedef struct WorkerPool {
    uint32_t number; /* Redis name p<number> */
    char name[64];   /* "fra", "host:web3" */
    Uuid generation; /* what Redis must hold at this pool's generation key */
} WorkerPool;

typedef struct WorkerWelcome {
    uint32_t worker;
    int64_t lease_ms, beat_ms, liveness_ms;
    bool drain;        /* the operator asked this worker to take nothing */
    WorkerPool *pools; /* freed by catalog_welcome_free */
    size_t pool_count;
} WorkerWelcome;

/* Registers the instance; may be repeated, also to learn of changed pools. */
MUST_CHECK bool catalog_worker_hello(Catalog *c, const WorkerHello *hello, WorkerWelcome *out,
                                     Err *err);
void catalog_worker_welcome_free(WorkerWelcome *welcome);

/* The instance ends: nothing more is dispatched on its account. Held jobs are not touched. */
MUST_CHECK bool catalog_worker_bye(Catalog *c, const Uuid *instance, Err *err);

typedef struct BeatRow {
    Fence fence;
    Text phase; /* "" until known */
    uint64_t bytes_done, bytes_total, items_done, errors, stored;
    Text total_basis; /* "", "plan", "last_run" */
} BeatRow;

typedef struct BeatAnswer {
    bool held;   /* false: fenced; the child must be stopped, its writes are refused anyway */
    bool cancel; /* somebody asked to stop this job */
} BeatAnswer;

typedef struct BeatSummary {
    bool known;   /* false: say hello again */
    bool drain;   /* take no new tickets */
    bool changed; /* pools or generations changed since the last hello: say hello again */
} BeatSummary;

/* Renews the lease of every row's job and stores its progress; count may be 0. answers has count
 * rows. A failed call says nothing about the leases: they last until their own time. */
MUST_CHECK bool catalog_worker_beat(Catalog *c, const Uuid *instance, const BeatRow *rows,
                                    size_t count, BeatAnswer *answers, BeatSummary *summary,
                                    Err *err);

#endif
