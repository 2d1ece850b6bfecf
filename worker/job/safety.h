/* SPDX-License-Identifier: Apache-2.0
 * safety.h — the way back from a restore in place: a backup of what was there before it.
 * The catalogue makes that backup a job of its own and lets the restore be due when it has ended;
 * the restore's params say under "safety" how: {"job", "backup", "state", "why"}. */
#ifndef WORKER_JOB_SAFETY_H
#define WORKER_JOB_SAFETY_H

#include "worker/job/job.h"

/* What a plan says of it. */
#define SAFETY_FIRST "a backup of what is there now; only if it is whole does the restore begin"

/* Before anything is stopped or touched. ERR_CONFLICT "restore.safety_backup": one was asked for
 * and there is none. */
MUST_CHECK bool safety_check(const Job *job, Err *err);

/* report gets "safety", and "skipped": newer backups that were not taken, and why. Nothing where
 * there is none. */
void safety_tell(const Job *job, json_t *report);

/* The failure says where what was there before is, and how to get it back. Always false. */
bool safety_note(const Job *job, Err *err);

#endif
