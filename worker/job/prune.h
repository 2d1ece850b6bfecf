/* SPDX-License-Identifier: Apache-2.0
 * prune.h — the job that gives space back: forgets what it was asked to, condemns packs that no
 * backup names, flips those that no session can still want, brings the epoch to the store, and only
 * then deletes. It locks nobody out, uses no clock, and may be killed anywhere.
 * params: {"reason", "dry_run"}, or {"forget": [ids], "reason"}: that forgets, and leaves their
 * packs to the next run. With a reason even more than half of a repository is condemned. The
 * worker's own file has a ceiling of packs a run; what is over it is left for the next. */
#ifndef WORKER_JOB_PRUNE_H
#define WORKER_JOB_PRUNE_H

#include "worker/job/job.h"

MUST_CHECK bool prune_run(Job *job, JobResult *result, Err *err);

#endif
