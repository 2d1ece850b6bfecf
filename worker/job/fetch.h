/* SPDX-License-Identifier: Apache-2.0
 * fetch.h — streams one entry of a backup, or the whole of it in its plain form, to the scheduler's
 * API, which hands it to whoever asked.
 * PUT <api>/api/v1/streams/<ticket>?offset=N in pieces of at most 1 MiB; the API answers 200 when
 * the piece was taken by the reader, so a slow reader slows this. The last piece has end=1; a
 * failure halfway sends none, so a cut stream never looks whole. */
#ifndef WORKER_JOB_FETCH_H
#define WORKER_JOB_FETCH_H

#include "worker/job/job.h"

MUST_CHECK bool fetch_run(Job *job, JobResult *result, Err *err);

#endif
