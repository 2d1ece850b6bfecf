/* SPDX-License-Identifier: Apache-2.0
 * verify.h — is a backup still what was committed? `stored` hashes whole objects and needs no key,
 * `content` opens every chunk; `restore` and `query` are proof.h. What is damaged is told to the
 * catalogue, so that no later backup shares it; the result is a row of verifications, good or bad.
 */
#ifndef WORKER_JOB_VERIFY_H
#define WORKER_JOB_VERIFY_H

#include "worker/job/job.h"

MUST_CHECK bool verify_run(Job *job, JobResult *result, Err *err);

#endif
