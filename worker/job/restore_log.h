/* SPDX-License-Identifier: Apache-2.0
 * restore_log.h — the part of a restore that goes on from a base backup to an instant: the batches
 * of the log that the order names, from the repository that is read, into the restored directory.
 */
#ifndef WORKER_JOB_RESTORE_LOG_H
#define WORKER_JOB_RESTORE_LOG_H

#include "worker/engine/engine.h"
#include "worker/job/opened.h"

/* Does the restore ask for an instant, and can it be reached? *asked false: it asks for none. The
 * refusal is the catalogue's: log.no_window, log.beyond, log.before, … */
MUST_CHECK bool restore_log_check(const Job *job, bool *asked, Err *err);

/* What a plan says of it: "log". */
void restore_log_tell(const Job *job, json_t *answer);

/* After the base backup is whole, into the directory of that path. ERR_CORRUPT
 * "log.segment_missing" when a batch has not what the catalogue says. report gets "log". */
MUST_CHECK bool restore_log(Job *job, const Opened *opened, const Engine *engine,
                            const EngineHost *host, Text path, json_t *report, Err *err);

#endif
