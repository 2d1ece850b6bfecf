/* SPDX-License-Identifier: Apache-2.0
 * group.h — a backup that is a member of a group: all members have one common instant, or it is
 * known by name that they have none.
 * Each member comes to the barrier with everything opened. When all are there the first of them,
 * the lead, runs the group's `hold` hook, which keeps the application from changing anything. Now
 * each fixes its instant: a database engine by a snapshot, at once; files by having read
 * everything. When all have, the lead says so in the catalogue and runs the `release` hook; only
 * then may any of them write its manifest, which names the barrier. ■ The lead says that the
 * barrier holds before it has anything released, and never after its own clock says that the time
 * to hold is over: the application is released then, whatever the others do and whether or not the
 * catalogue can be asked. ■ `release` runs after every `hold` that was begun, also when this
 * process is killed: its parent or the next start of its worker on this host runs it
 * (worker/agent/always.h). It must be idempotent, and harmless while the application runs. A broken
 * barrier fails no backup: it becomes one of its own, without the group's name. */
#ifndef WORKER_JOB_GROUP_H
#define WORKER_JOB_GROUP_H

#include "common/catalog/catalog_group.h"
#include "worker/job/job.h"

typedef struct Group Group;

/* *out is NULL of a job that belongs to no group. Waits until the application is held, or the
 * barrier is broken. */
MUST_CHECK bool group_open(Group **out, Job *job, Err *err);
/* This member has its instant. Once; NULL is fine. */
MUST_CHECK bool group_pass(Group *group, Err *err);
/* Waits for the others. Then the receipt's details name the barrier, if it holds; they live until
 * group_close. NULL is fine. */
MUST_CHECK bool group_settle(Group *group, Receipt *receipt, Err *err);
/* Has the application released if it is held still. NULL is fine. */
void group_close(Group *group);

/* For an attempt that died, of which hook_owed_release says that it may have held. */
MUST_CHECK bool group_release_lost(const JobSettings *settings, const json_t *order,
                                   const JobReport *report, Err *err);

#endif
