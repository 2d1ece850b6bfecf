/* SPDX-License-Identifier: Apache-2.0
 * backup.h — takes one backup: open, stream, finish, commit, mark.
 * The order of writes is the whole safety: packs are durable before the catalogue knows their
 * chunks, index and manifest before the commit, the commit before the marker. Dying anywhere leaves
 * the old state or the new one; what was staged is taken over by the next attempt. */
#ifndef WORKER_JOB_BACKUP_H
#define WORKER_JOB_BACKUP_H

#include "worker/job/job.h"

MUST_CHECK bool backup_run(Job *job, JobResult *result, Err *err);

#endif
