/* SPDX-License-Identifier: Apache-2.0
 * verify_round.h — a check of what all backups of a source need in one repository, each pack once:
 * every one of them, or the share that was seen longest ago. What was seen is told as it is seen,
 * so that the next attempt goes on where a dead one stopped. It ends badly when a backup has lost
 * something, whoever found that, and names the packs and the backups. */
#ifndef WORKER_JOB_VERIFY_ROUND_H
#define WORKER_JOB_VERIFY_ROUND_H

#include "worker/job/job.h"

/* content: every chunk is opened, else stored objects are hashed. Held to params.rate and to the
 * store's max_rate. */
MUST_CHECK bool verify_round_run(Job *job, bool content, JobResult *result, Err *err);

#endif
