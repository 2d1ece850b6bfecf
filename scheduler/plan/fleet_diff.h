/* SPDX-License-Identifier: Apache-2.0
 * fleet_diff.h — what lies between two compiled policies (fleet.h makes them): which sources come,
 * go and change, which member of each from what to what, and which of the files differ as written.
 * Pure: two documents in, one out.
 * {"added":["kiosk"], "retired":["wiki"], "unchanged":38,
 *  "changed":[{"name":"orders-pg","fields":[{"path":"schedules.default.at","from":"…","to":"…"}]}],
 *  "settings":[{"path":"pools.fra.max_jobs","from":8,"to":4}],   the fleet's own, outside of
 * sources "files":[{"name":"fleet.yaml","change":"added"|"removed"|"changed"}]} Names and paths are
 * in alphabetical order. A member that is only on one side has null on the other. Lists are
 * compared as wholes, except lists of records of the same length. */
#ifndef SCHEDULER_PLAN_FLEET_DIFF_H
#define SCHEDULER_PLAN_FLEET_DIFF_H

#include <jansson.h>
#include <stdbool.h>

/* from NULL: there was no policy. The answer is the caller's. */
json_t *fleet_diff(const json_t *from, const json_t *to);

/* Is there anything in it? */
bool fleet_diff_empty(const json_t *diff);

#endif
