/* SPDX-License-Identifier: Apache-2.0
 * fleet_group.h — groups: several sources at one barrier. The first member leads: the group's slots
 * are schedules "group:NAME" of it, and the job of such a slot begins one of each other member
 * (migrations/…_groups.sql). A member whose own policy is the group's has no backup schedules of
 * its own: the group's slot stands for them. Everything else of a member stays its own. */
#ifndef SCHEDULER_PLAN_FLEET_GROUP_H
#define SCHEDULER_PLAN_FLEET_GROUP_H

#include "scheduler/plan/fleet_check.h"

#include <jansson.h>

/* walked: what the table made of the files. Changes the schedules of the compiled `sources`; the
 * compiled groups, or NULL where there are none. */
json_t *fleet_group_compile(const json_t *walked, json_t *sources);
/* Names that are free, members that stand once. */
void fleet_group_check(FleetCheck *check);

#endif
