/* SPDX-License-Identifier: Apache-2.0
 * hooks.h — programs of this host that a policy may ask for, by name.
 * A hook is a file in the worker's hooks directory, owned by root or by the worker's own user and
 * writable by nobody else, as is the directory; the worker's own file must allow the name. It is
 * run by execve with no arguments and no shell: a fixed PATH, HOLDFAST_* variables that say what
 * for, nothing else inherited; its output goes to the job's log. Past its time limit its whole
 * process group is ended. `before` runs before the source is opened; with on_error abort (the
 * default) its failure ends the attempt. `validate` runs when everything is stored and was read
 * back, before the commit: it is told what was stored (HOLDFAST_BACKUP, _ENTRIES, _BYTES, _ISSUES),
 * looks at the source or at whatever it knows, and when it fails, does not end in time or may not
 * run, nothing is committed (backup.not_valid). `after` runs when the work is over; with `always`
 * also when it failed, and when the attempt was killed: its parent, or the next start of its
 * worker, has a child run it alone then. */
#ifndef WORKER_JOB_HOOKS_H
#define WORKER_JOB_HOOKS_H

#include "worker/job/job.h"

/* What a backup stored, for its `validate`. */
typedef struct HookStored {
    Uuid backup;
    uint64_t entries, bytes, issues;
} HookStored;

/* One program of the hooks directory, with what it is told of the job. */
typedef struct HookCall {
    Text name;
    uint64_t timeout_s;  /* 0: a minute */
    const char *when;    /* HOLDFAST_HOOK: before, validate, after, stop, start, hold, release */
    const char *outcome; /* HOLDFAST_OUTCOME: "", "completed", "failed", "lost" */
    bool gives_way;      /* a cancel of the job ends it */
    const HookStored *stored; /* NULL: it is told nothing of it */
} HookCall;
/* Its words and its end go to the job's log. */
MUST_CHECK bool hooks_run(Job *job, const HookCall *call, Err *err);
/* The same for a dead attempt. */
MUST_CHECK bool hooks_run_lost(const JobSettings *settings, const json_t *order,
                               const HookCall *call, const JobReport *report, Err *err);

MUST_CHECK bool hooks_before(Job *job, Err *err);
MUST_CHECK bool hooks_validate(Job *job, const HookStored *stored, Err *err);
void hooks_after(Job *job, bool worked);

/* Is this the order of a dead attempt, of which only that is left to do? */
bool hooks_is_cleanup(const json_t *order);
/* Does that; needs neither catalogue nor store. */
MUST_CHECK bool hooks_cleanup(const JobSettings *settings, const json_t *order,
                              const JobReport *report, Err *err);

#endif
