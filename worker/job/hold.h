/* SPDX-License-Identifier: Apache-2.0
 * hold.h — writes into the store what the catalogue says of a backup: held until when and why, or
 * released. The catalogue's word counts at once; the hold is acknowledged when holds/<backup> is
 * durable and still says what the catalogue says. */
#ifndef WORKER_JOB_HOLD_H
#define WORKER_JOB_HOLD_H

#include "worker/job/job.h"

/* A retention job with {"hold": true} in its params, about its backup. */
MUST_CHECK bool hold_run(Job *job, JobResult *result, Err *err);

#endif
