/* SPDX-License-Identifier: Apache-2.0
 * proofs.h — what checks found, brought into the store by a prune job: the only role that may write
 * below audit/. Verify workers sign nothing, and a check of whole objects needs no key at all. */
#ifndef WORKER_JOB_PROOFS_H
#define WORKER_JOB_PROOFS_H

#include "worker/job/session.h"

typedef struct ProofCounts {
    uint64_t objects, checks, packs; /* written, and what they say */
} ProofCounts;

/* All that the store does not say yet. A kill between the object and the catalogue costs one object
 * that says what the next one says too. */
MUST_CHECK bool proofs_tell(Session *session, Job *job, ProofCounts *counts, Err *err);

#endif
