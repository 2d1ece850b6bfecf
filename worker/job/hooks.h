/* SPDX-License-Identifier: Apache-2.0
 * hooks.h — programs of this host that a policy may ask for, by name.
 * A hook is a file in the worker's hooks directory, owned by root or by the worker's own user and
 * writable by nobody else, as is the directory; the worker's own file must allow the name. It is
 * run by execve with no arguments and no shell: a fixed PATH, HOLDFAST_* variables that say what
 * for, nothing else inherited; its output goes to the job's log. Past its time limit its whole
 * process group is ended. `before` runs before the source is opened; with on_error abort (the
 * default) its failure ends the attempt. `after` runs when the work is over; with `always` also
 * when it failed, and when the attempt was killed: its parent, or the next start of its worker, has
 * a child run it alone then. */
#ifndef WORKER_JOB_HOOKS_H
#define WORKER_JOB_HOOKS_H

#include "worker/job/job.h"

MUST_CHECK bool hooks_before(Job *job, Err *err);
void hooks_after(Job *job, bool worked);

/* Is this the order of a dead attempt, of which only the hook is left to do? */
bool hooks_is_cleanup(const json_t *order);
/* Does that; needs neither catalogue nor store. */
MUST_CHECK bool hooks_cleanup(const JobSettings *settings, const json_t *order,
                              const JobReport *report, Err *err);

#endif
