/* SPDX-License-Identifier: Apache-2.0
 * restore.h — brings a backup back: plan (a probe does that), then go.
 * Into a new place by default; in place only when the source's name was typed. A new attempt starts
 * over: what an earlier one of this job left unfinished is recognized by its mark and removed. With
 * "fetch" in the order it streams one entry to the scheduler instead. */
#ifndef WORKER_JOB_RESTORE_H
#define WORKER_JOB_RESTORE_H

#include "common/repo/reader.h"
#include "worker/job/job.h"

MUST_CHECK bool restore_run(Job *job, JobResult *result, Err *err);

/* In place is said twice: the flag and the source's name. */
MUST_CHECK bool restore_confirmed(const Job *job, Err *err);

/* The request that an engine gets: the order's, with mark and target filled in, and of a backup
 * that is restored into a directory though its source is a server the receipt's `details`. */
MUST_CHECK bool restore_request(const Job *job, const RepoReader *reader, json_t **request,
                                Err *err);
/* The same of any request: the details of a physical backup, or none. */
MUST_CHECK bool restore_details(const RepoReader *reader, json_t *request, Err *err);

#endif
