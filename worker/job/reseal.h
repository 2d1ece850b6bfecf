/* SPDX-License-Identifier: Apache-2.0
 * reseal.h — the answer to a stolen reader key, in a run of the collector: every pack that is still
 * sealed to a reader who was retired is packed anew, step by step. What a step swapped stays so: a
 * killed job's successor goes on behind it. The old packs die by the collection that follows; until
 * then, and for backups that could not be looked at, they stay. */
#ifndef WORKER_JOB_RESEAL_H
#define WORKER_JOB_RESEAL_H

#include "worker/job/repacking.h"

typedef struct ResealCounts {
    bool asked;
    uint64_t generation; /* of the keys */
    uint64_t steps;
    uint64_t fine; /* packs whose head said so */
    uint64_t left_packs,
        left_bytes;                 /* afterwards; after reseal_tell, without what died meanwhile */
    uint64_t objects, left_objects; /* manifests and the like: sealed anew; could not be */
} ResealCounts;

/* key.outdated when this worker's own file is older than the keys, key.retire_first while the
 * repository still seals to more than one reader: nothing would be gained. */
MUST_CHECK bool reseal_run(Job *job, RepackingCounts *packed, ResealCounts *counts, Err *err);
/* The small objects: manifests and what checks found are wrapped as they are, what is held is said
 * again by jobs of its own. One that does not open is told and left. */
MUST_CHECK bool reseal_objects(Session *session, Job *job, ResealCounts *counts, Err *err);
/* Counts again what is left. */
MUST_CHECK bool reseal_tell(Job *job, ResealCounts *counts, Err *err);

#endif
