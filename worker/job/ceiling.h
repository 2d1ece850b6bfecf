/* SPDX-License-Identifier: Apache-2.0
 * ceiling.h — does this worker's own file permit what the order asks of source and target? */
#ifndef WORKER_JOB_CEILING_H
#define WORKER_JOB_CEILING_H

#include "worker/job/job.h"

/* Every path and server that reading this source config would touch. */
MUST_CHECK bool ceiling_source(const Job *job, Text type, const json_t *config, Err *err);

/* The path or server that a restore of this type would write to. */
MUST_CHECK bool ceiling_target(const Job *job, Text type, const json_t *request, Err *err);

#endif
