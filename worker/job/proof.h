/* SPDX-License-Identifier: Apache-2.0
 * proof.h — a backup is proved by restoring it: into a folder of its own below allow.sandbox, with
 * a throw-away server where it is a database's, by the engine's own target; then what is on disk is
 * compared with what the backup says of itself. Level `query` also asks the policy's questions.
 * Whatever happens, no process and no folder stays.
 * The result is a row of verifications: ok, failed (the backup is not what it should be),
 * inconclusive (this host could not try: the text says what is missing) or too_late (stopped after
 * allow.sandbox.time, or after allow.sandbox.stall without progress). Only ok completes the job. */
#ifndef WORKER_JOB_PROOF_H
#define WORKER_JOB_PROOF_H

#include "worker/job/job.h"

MUST_CHECK bool proof_run(Job *job, bool query, JobResult *result, Err *err);

#endif
