/* SPDX-License-Identifier: Apache-2.0
 * quarantining.h — objects go to quarantine/ and, weeks later, from there: always a copy first,
 * durable, then the catalogue is asked once more, then the object is taken from its place. A kill
 * anywhere leaves it in one of both places or in both, and the next run goes on. */
#ifndef WORKER_JOB_QUARANTINING_H
#define WORKER_JOB_QUARANTINING_H

#include "common/catalog/catalog_collect.h"
#include "worker/job/session.h"

typedef struct QuarantineCounts {
    uint64_t moved, moved_bytes;
    uint64_t deleted, deleted_bytes; /* from quarantine */
    uint64_t kept;                   /* the store did not let them go: they are tried again */
    uint64_t left;                   /* over this worker's ceiling */
} QuarantineCounts;

/* All that is due, after everything was listed. */
MUST_CHECK bool quarantining_run(Session *session, Job *job, QuarantineCounts *counts, Err *err);

/* A damaged pack that the collector lets go is laid aside, for good. gone false: it is still in its
 * place, because the store did not let it be copied or removed; the log says why. aside: a copy
 * lies in quarantine now; where the damage is that the object is missing there is none. */
MUST_CHECK bool quarantining_damaged(Session *session, Job *job, const DeadPack *pack, bool *gone,
                                     bool *aside, Err *err);

#endif
