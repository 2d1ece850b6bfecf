/* SPDX-License-Identifier: Apache-2.0
 * due.h — which slots of a schedule have come. Pure: (schedule, last slot, now) -> slots.
 * Slots are nominal instants, computed from the rule and the last slot, never from now: a scheduler
 * that was down finds what it missed, and two schedulers find the same. */
#ifndef SCHEDULER_PLAN_DUE_H
#define SCHEDULER_PLAN_DUE_H

#include "scheduler/plan/cron.h"

enum { DUE_MOST = 100 }; /* slots of one schedule in one look; older ones are counted, not made */

typedef struct DueRule {
    Cron cron;
    const Zone *zone;
    bool catch_up;            /* latest: the newest of several runs; none: only one in time does */
    int64_t start_deadline_s; /* 0: none */
} DueRule;

typedef struct DueSlot {
    int64_t slot_ns;
    int64_t start_by_ns; /* 0: none */
    bool missed;         /* a job in state missed: too late, or coalesced into a later one */
} DueSlot;

typedef struct DueList {
    DueSlot slots[DUE_MOST];
    size_t count;
    uint64_t dropped; /* slots before the first of these that get no row of their own */
} DueList;

/* Slots after last_ns up to now_ns, oldest first. */
void due_slots(const DueRule *rule, int64_t last_ns, int64_t now_ns, DueList *out);

#endif
