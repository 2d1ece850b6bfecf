/* SPDX-License-Identifier: Apache-2.0
 * restored.h — the end of a restore, in steps that a death between any two of them cannot spoil.
 * What came back is on the disk and its target still says "unfinished"; then the catalogue is told
 * what came back, under the fence; then the target's mark goes; then the job ends. An attempt that
 * finds the words of an earlier one has nothing to bring back any more: it takes the mark away and
 * ends with those words. Only files have such a mark; what a database engine does last is one
 * transaction or one rename, after which there is nothing to take away. */
#ifndef WORKER_JOB_RESTORED_H
#define WORKER_JOB_RESTORED_H

#include "worker/job/job.h"

/* *done: an earlier attempt brought everything back; result is what it said. */
MUST_CHECK bool restored_before(Job *job, bool *done, JobResult *result, Err *err);
/* Tells the catalogue, as long as it takes, and then the target. result keeps what it has. */
MUST_CHECK bool restored_tell(Job *job, const JobResult *result, Err *err);

#endif
