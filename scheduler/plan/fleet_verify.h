/* SPDX-License-Identifier: Apache-2.0
 * fleet_verify.h — what a policy says of checks, and what its source adds: compiled into schedules
 * of the kind `verify`, one a level. Their names hold a colon, which no name of a person's does.
 * Pure. */
#ifndef SCHEDULER_PLAN_FLEET_VERIFY_H
#define SCHEDULER_PLAN_FLEET_VERIFY_H

#include "scheduler/plan/fleet_check.h"

#include <jansson.h>

/* Adds "verify" and, where a schedule is named, "schedules": {"verify:content": {"at", "kind",
 * "params": {"level", "within_s", "stores", "rate", "pool"}}} to the compiled source. */
void fleet_verify_add(const json_t *source, const json_t *policy, json_t *out);

/* Stores that hold no copy of what is to be checked there. */
void fleet_verify_check(FleetCheck *check);

#endif
