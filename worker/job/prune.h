/* SPDX-License-Identifier: Apache-2.0
 * prune.h — the job that gives space back: forgets what it was asked to, condemns packs that no
 * backup names, flips those that no session can still want, brings the epoch to the store, and only
 * then deletes. It locks nobody out, uses no clock, and may be killed anywhere.
 * Before, a worker that can read too packs anew what is needed of half-dead packs (repacking.h).
 * Afterwards, once a day or so, it looks for objects that no row accounts for (orphans.h).
 * params: {"reason", "dry_run", "repack"}, or {"forget": [ids], "reason"}: that forgets, and leaves
 * their packs to the next run; or {"orphans": true, "dry_run"}: that looks for orphans and does
 * nothing else, even in a repository that is set back or frozen, where it only reports them. repack
 * true: every pack is looked at, and a worker that cannot read fails; false: none is. With a reason
 * even more than half of a repository is condemned. The worker's own file has a ceiling of packs a
 * run; what is over it is left for the next. */
#ifndef WORKER_JOB_PRUNE_H
#define WORKER_JOB_PRUNE_H

#include "worker/job/job.h"

MUST_CHECK bool prune_run(Job *job, JobResult *result, Err *err);

#endif
