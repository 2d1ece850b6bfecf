/* SPDX-License-Identifier: Apache-2.0
 * plain.h — a copy job whose copy is plain: the backup as one file that gunzip, tar and psql read,
 * in a store that this worker's own file allows, beside it a .meta that says what it is.
 * The file gets its name when it is whole, is read back, and only then counts; latest names it
 * after that. A file that is there already is never written over: unless an earlier attempt of this
 * copy wrote just these bytes, another name is taken. */
#ifndef WORKER_JOB_PLAIN_H
#define WORKER_JOB_PLAIN_H

#include "worker/job/job.h"

bool plain_wanted(const Job *job); /* the order of a copy job says so */
MUST_CHECK bool plain_run(Job *job, JobResult *result, Err *err);

#endif
