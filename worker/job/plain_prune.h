/* SPDX-License-Identifier: Apache-2.0
 * plain_prune.h — a prune job of plain copies: takes away what the catalogue has given up in one
 * store, each file with its .meta. What is not the file that its row describes is somebody's, and
 * stays; no run takes more than this worker's own file allows. */
#ifndef WORKER_JOB_PLAIN_PRUNE_H
#define WORKER_JOB_PLAIN_PRUNE_H

#include "worker/job/job.h"

MUST_CHECK bool plain_prune_run(Job *job, JobResult *result, Err *err);

#endif
