/* SPDX-License-Identifier: Apache-2.0
 * read_back.h — a look at what was stored a moment ago, before it is committed.
 * Every new pack is there in its size, a few are read back and hashed: what the catalogue calls
 * `stored` verified was seen by somebody after it was written. */
#ifndef WORKER_JOB_READ_BACK_H
#define WORKER_JOB_READ_BACK_H

#include "common/repo/repo.h"
#include "worker/job/job.h"

/* seen: how many were read whole. */
MUST_CHECK bool read_back(Job *job, Repo *repo, const PackRow *rows, size_t count, size_t *seen,
                          Err *err);

#endif
