/* SPDX-License-Identifier: Apache-2.0
 * repacking.h — half-dead packs in a run of the collector: finds what backups need of packs whose
 * own backup is gone, moves it into new packs, and lets just the backups that were looked at name
 * the new ones. The old ones then die like all packs, by the two flips: whoever committed
 * meanwhile, or reads, keeps them. A damaged pack is marked and stays. */
#ifndef WORKER_JOB_REPACKING_H
#define WORKER_JOB_REPACKING_H

#include "worker/job/session.h"

typedef struct RepackingCounts {
    uint64_t looked;           /* packs */
    uint64_t packed, made;     /* old packs, new packs */
    uint64_t old_bytes, bytes; /* of these */
    uint64_t backups;          /* that name the new ones */
    uint64_t damaged;          /* old packs that do not hold what they should */
    bool cannot;               /* this worker has no reader and writer keys, or no reader's login */
} RepackingCounts;

/* asked: all packs are looked at, and a worker that cannot fails (ERR_DENIED); else it is counted.
 */
MUST_CHECK bool repacking_run(Job *job, bool asked, RepackingCounts *counts, Err *err);

#endif
