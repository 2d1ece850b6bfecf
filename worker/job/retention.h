/* SPDX-License-Identifier: Apache-2.0
 * retention.h — lets go of what no rule keeps. The scheduler planned it (scheduler/plan/keep.h) and
 * the catalogue holds the plan; this job asks at the last moment what of it still may go, so that a
 * hold, a reader or a failed check that came meanwhile wins, and then forgets (forget.h). It
 * decides nothing. A plan that is too old fails the attempt, which is tried again under a new one.
 * Its answer: {"planned":5,"forgotten":4,"refused":[{"backup":"bk_…","answer":"held","why":"…"}],
 * "gone":4}; refused ones make it partial, so that somebody sees that it did not act. */
#ifndef WORKER_JOB_RETENTION_H
#define WORKER_JOB_RETENTION_H

#include "worker/job/job.h"

MUST_CHECK bool retention_run(Job *job, JobResult *result, Err *err);

#endif
