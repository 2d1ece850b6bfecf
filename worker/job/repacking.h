/* SPDX-License-Identifier: Apache-2.0
 * repacking.h — partly dead packs in a run of the collector: finds what backups need of packs whose
 * own backup is gone, moves what is needed of the deadest into new packs until little of all that
 * is kept is unused (catalog_repack_take), and lets just the backups that were looked at name the
 * new ones. The old ones then die like all packs, by the two flips: whoever committed
 * meanwhile, or reads, keeps them. A damaged pack is marked and stays. */
#ifndef WORKER_JOB_REPACKING_H
#define WORKER_JOB_REPACKING_H

#include "common/catalog/catalog_repack.h"
#include "worker/job/session.h"

typedef struct RepackingCounts {
    uint64_t looked;           /* packs */
    uint64_t packed, made;     /* old packs, new packs */
    uint64_t old_bytes, bytes; /* of these */
    uint64_t backups;          /* that name the new ones */
    uint64_t damaged;          /* old packs that do not hold what they should */
    bool cannot;               /* this worker has no reader and writer keys, or no reader's login */
} RepackingCounts;

enum { REPACKING_PACKS = 1000 }; /* that one round takes */

/* Which packs a round looks at, and what is done with them. */
typedef struct RepackingPlan {
    /* *packs by domain and kind, mem_freed by the round; none: it is over. */
    bool (*pick)(void *ctx, Job *job, Session *session, RepackPack **packs, size_t *count,
                 Err *err);
    /* The new packs are live. */
    bool (*made)(void *ctx, Job *job, const uint64_t *packs, size_t count, Err *err);
    bool all; /* however much of a pack is needed, it is packed anew */
    void *ctx;
} RepackingPlan;
/* Adds to counts. */
MUST_CHECK bool repacking_round(Job *job, const RepackingPlan *plan, RepackingCounts *counts,
                                Err *err);

/* asked: all packs are looked at, and a worker that cannot fails (ERR_DENIED); else it is counted.
 */
MUST_CHECK bool repacking_run(Job *job, bool asked, RepackingCounts *counts, Err *err);

#endif
