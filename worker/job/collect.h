/* SPDX-License-Identifier: Apache-2.0
 * collect.h — packs leave: condemned, flipped, confirmed, deleted, gone. Damaged ones are evidence
 * and go to quarantine/ instead. In a session opened with SESSION_PRUNE, by a job of kind prune. */
#ifndef WORKER_JOB_COLLECT_H
#define WORKER_JOB_COLLECT_H

#include "common/catalog/catalog_collect.h"
#include "worker/job/session.h"

typedef struct CollectCounts {
    uint64_t condemned, condemned_bytes; /* nobody names them */
    uint64_t flipped, pardoned;
    uint64_t spared;         /* a session that began before may still want them */
    uint64_t damaged;        /* of a preview: nobody names them, and they would be laid aside */
    uint64_t quarantined;    /* damaged packs that were laid aside */
    uint64_t deleted, freed; /* packs; their bytes */
    uint64_t again;          /* deleted once more, against late writes */
    uint64_t indexes;
    uint64_t left; /* over this worker's ceiling, for the next run */
    uint64_t live;
} CollectCounts;

/* anyway: even more than half of the repository. */
MUST_CHECK bool collect_run(Session *session, Job *job, bool anyway, CollectCounts *counts,
                            Err *err);
/* What is known to be unused in what is kept, and what a repack would do. */
MUST_CHECK bool collect_unused(Job *job, RepackLook *out, Err *err);
/* What a run would do, and what a repack would look into; nothing is changed. */
MUST_CHECK bool collect_preview(Job *job, CollectCounts *counts, RepackLook *repack, Err *err);

#endif
