/* SPDX-License-Identifier: Apache-2.0
 * fleet_keep.h — what a policy says of how long its backups stay, as it stands in a compiled source
 * (keep.h reads it):
 * "copies": [{"store":"nas","keep":{"last":3,"daily":14,"within_s":604800},…}]
 * "keep": {"full":{"keep":{"within_s":2592000}}}   schedules with rules of their own, due or not
 * "min_good": 2
 * A policy with rules and without a schedule that acts on them gets one, `retention`, once a day:
 * rules that nobody runs would be a promise that is silently broken. */
#ifndef SCHEDULER_PLAN_FLEET_KEEP_H
#define SCHEDULER_PLAN_FLEET_KEEP_H

#include "scheduler/plan/fleet_check.h"

/* When that is: an hour and minute of its own for each source. */
#define FLEET_KEEP_DAILY "H H * * *"

/* policy: as walked, may be NULL; out: the compiled source, whose schedules are there. */
void fleet_keep_add(const json_t *policy, json_t *out);

/* Does this row of `schedules` run retention? */
bool fleet_keep_runs(const json_t *schedule);

/* Rules that contradict each other or the store's lock, or that are not there; `path` names the
 * policy. */
void fleet_keep_check(FleetCheck *check, const YamlPair *policy, const char *path);

#endif
