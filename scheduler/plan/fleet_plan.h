/* SPDX-License-Identifier: Apache-2.0
 * fleet_plan.h — what applying a policy would do, and when what runs next under it: the difference
 * of two compiled policies (fleet_diff.h) with what the catalogue knows of their sources. Pure. It
 * says what catalog_policy_apply will do, in the same words; a test compares the two.
 * Adds to the difference:
 * {"schedules":[{"source":"orders-pg","schedule":"default","change":"added"|"removed"|"moved",
 *                "rule":"H 1 * * *","before":"…Z"|null,"after":"…Z"|null,"timezone":"…"}],
 *  "starts":["kiosk"],                    one backup each, at once, because of `initial: true`
 *  "cancels":[{"source":"wiki","jobs":2}],   waiting backups of sources that go
 *  "keeps":[{"source":"wiki","backups":14}]} and what stays of these
 * A schedule that is due at the same next instant under both is not listed; one on an excluded day
 * is not due, and one that waits for its window is due when its rule says. */
#ifndef SCHEDULER_PLAN_FLEET_PLAN_H
#define SCHEDULER_PLAN_FLEET_PLAN_H

#include <jansson.h>
#include <stdint.h>

typedef struct FleetPlanFacts {
    int64_t now_s;
    /* {"wiki":{"retired":false,"waiting":2,"backups":14}}: every source that ever was */
    const json_t *sources;
} FleetPlanFacts;

/* from NULL: no policy is in force. The answer is the caller's. */
json_t *fleet_plan(const json_t *from, const json_t *to, const FleetPlanFacts *facts);

#endif
