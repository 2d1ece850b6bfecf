/* SPDX-License-Identifier: Apache-2.0
 * browse.h — what is in a backup, and what differs from another one.
 * params: `backup`; `prefix`: only it and what is below; `children`: only what lies directly below
 * it; `after`: only paths behind it; `limit`; `against`: another backup of the source, to list what
 * became of it. Answer: `items`, `next_cursor` (the last path, null when that was all), and
 * `against` as it was asked, so that the asker of a worker that knows no comparison notices. */
#ifndef WORKER_JOB_BROWSE_H
#define WORKER_JOB_BROWSE_H

#include "worker/job/job.h"

MUST_CHECK bool browse_run(Job *job, JobResult *result, Err *err);

#endif
