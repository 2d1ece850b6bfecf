/* SPDX-License-Identifier: Apache-2.0
 * probe.h — short questions whose small answer the asker waits for: source_test, backup_files,
 * restore_plan, store_test. No probe runs a hook or changes a source. */
#ifndef WORKER_JOB_PROBE_H
#define WORKER_JOB_PROBE_H

#include "worker/job/job.h"

MUST_CHECK bool probe_run(Job *job, JobResult *result, Err *err);

#endif
