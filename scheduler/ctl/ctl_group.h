/* SPDX-License-Identifier: Apache-2.0
 * ctl_group.h — groups of sources, where a verb takes one in place of a source. */
#ifndef SCHEDULER_CTL_CTL_GROUP_H
#define SCHEDULER_CTL_CTL_GROUP_H

#include "scheduler/ctl/ctl.h"

/* The barrier that a selector names: GROUP, GROUP@latest, GROUP@latest~N, GROUP@TIME (the newest at
 * or before it), of those that are complete. *barrier stays NULL when no group has that name; else
 * it is the caller's. */
MUST_CHECK bool ctl_group_select(Ctl *ctl, const char *selector, json_t **barrier, Err *err);

/* Restores every member's backup of one barrier: --to is MEMBER=TARGET,… at once; in place, with
 * the group's name typed, one after the other, and the first that fails is the last. */
MUST_CHECK bool ctl_group_restore(Ctl *ctl, const json_t *barrier, Err *err);

/* Puts the jobs of the other members of a run behind the one that began it. */
MUST_CHECK bool ctl_group_members(Ctl *ctl, json_t *jobs, Err *err);
/* After these jobs were followed: did their barriers hold? */
MUST_CHECK bool ctl_group_verdict(Ctl *ctl, const json_t *jobs, Err *err);

#endif
