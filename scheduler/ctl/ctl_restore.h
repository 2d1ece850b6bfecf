/* SPDX-License-Identifier: Apache-2.0
 * ctl_restore.h — the steps of a restore as the command takes them, for whoever takes several:
 * which backup, the plan of a worker, and going by that plan (ctl_restore.c, ctl_dr.c). */
#ifndef SCHEDULER_CTL_CTL_RESTORE_H
#define SCHEDULER_CTL_CTL_RESTORE_H

#include "scheduler/ctl/ctl.h"

/* Says in body which backup: NAME and NAME@latest the newest that nothing is known against,
 * NAME@TIME the newest of these before it (so NAME with `until`, which may be NULL); an id or
 * NAME@latest~N as it is. */
MUST_CHECK bool ctl_restore_which(Ctl *ctl, const char *selector, const char *until, json_t *body,
                                  Err *err);
/* What the flags ask for of this backup; the caller's. */
json_t *ctl_restore_request(const Ctl *ctl, const json_t *backup);
/* The plan, for people, on stderr. */
void ctl_restore_show(const Ctl *ctl, const json_t *backup, const json_t *plan);
/* The plan's job, ended well; its answer is the plan. An Err with the job's own cause else. */
MUST_CHECK bool ctl_restore_plan(Ctl *ctl, const json_t *request, json_t **plan_job, Err *err);
/* "skipped bk_…: why", a line each, on stderr. */
void ctl_restore_tell_skipped(const json_t *plan);
/* Asks on a terminal; ERR_CONFLICT where nobody can answer. */
MUST_CHECK bool ctl_restore_agreed(const Ctl *ctl, Err *err);

#endif
