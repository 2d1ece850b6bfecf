/* SPDX-License-Identifier: Apache-2.0
 * restore_file.h — a restore of a dump that no backup of ours holds, from a file of this host into
 * the server of a source: params.file names it. The worker's own file must allow both, the file
 * under allow.restore.files. It is opened once, and what was opened is looked at again: a link that
 * is changed meanwhile leads nowhere else.
 * In place all is as in any restore: the source's name typed, a backup of what is there first,
 * the applications stopped meanwhile. */
#ifndef WORKER_JOB_RESTORE_FILE_H
#define WORKER_JOB_RESTORE_FILE_H

#include "worker/job/job.h"

bool restore_file_asked(const Job *job);
MUST_CHECK bool restore_file_run(Job *job, JobResult *result, Err *err);
/* What it would do: the engine's plan, and "file", "format", "file_bytes". */
MUST_CHECK bool restore_file_plan(Job *job, JobResult *result, Err *err);

#endif
