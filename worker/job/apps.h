/* SPDX-License-Identifier: Apache-2.0
 * apps.h — what must not run while its data is put back.
 * `hooks.apps` of a source is a list of {stop, start, timeout}, each the name of a hook (hooks.h).
 * Before a restore in place touches anything they are stopped in the order of the list, and started
 * in the reverse order when it is over, whatever came of it. A stop that fails ends the restore
 * before it began: what was stopped before, and what would not stop, is started again. A start that
 * fails makes a restore that worked a partial one, and does not keep the others from being started.
 * ■ When the attempt is killed, its parent, or the next start of its worker on this host, has a
 * child run every start: it may run while the application runs, or twice, so it must be idempotent,
 * as hooks marked `always` are. The catalogue is asked first: while a later attempt of the restore
 * runs, wherever, the starts are that one's. What is left is the moment between the answer and the
 * end of a start, in which a later attempt may begin. */
#ifndef WORKER_JOB_APPS_H
#define WORKER_JOB_APPS_H

#include "worker/job/job.h"

/* *stopped: how many of the list apps_start has to start. */
MUST_CHECK bool apps_stop(Job *job, size_t *stopped, Err *err);
/* The first so many of the list, the last one first. False: one could not be started; the log has
 * it. */
bool apps_start(Job *job, size_t stopped);

/* Every start, for an attempt that died, unless a later one runs; err names the first that failed.
 * ERR_UNREACHABLE: nobody could be asked, nothing was started, ask again. */
MUST_CHECK bool apps_start_lost(const JobSettings *settings, const json_t *order,
                                const JobReport *report, Err *err);

#endif
