/* SPDX-License-Identifier: Apache-2.0
 * due.h — which slots of a schedule have come, and what becomes of each. Pure: (schedule, last
 * slot, now) -> slots. Slots are nominal instants, computed from the rule and the last slot, never
 * from now: a scheduler that was down finds what it missed, and two schedulers find the same.
 *
 * However many came while nobody looked, at most one of them runs: the newest. With catch_up latest
 * it stands for all of them and says so; else it runs only if it came just now, and the others are
 * missed. A slot on an excluded day never runs and stands for nothing.
 *
 * Clocks: no slot later than now is ever given. A clock that was ahead for a while and was set back
 * leaves a last slot in the future. Up to a day: the slots until then were decided, only early, and
 * nothing comes twice. Beyond: the schedule goes on from the newest slot before now, which is not
 * repeated either, instead of being silent for months. */
#ifndef SCHEDULER_PLAN_DUE_H
#define SCHEDULER_PLAN_DUE_H

#include "scheduler/plan/calendar.h"
#include "scheduler/plan/cron.h"

enum {
    DUE_MOST = 100,      /* slots of one schedule in one look; older ones are counted, not made */
    DUE_COUNT = 1000000, /* and beyond these not even counted: two years of minutes */
    DUE_IN_TIME_S = 300, /* without catch-up a slot counts as in time for so long: a failover */
    DUE_AHEAD_S = 86400, /* a last slot further in the future than a day silences nothing */
};

typedef struct DueRule {
    Cron cron;
    const Zone *zone;
    bool catch_up;            /* latest: the newest of several runs; none: only one in time does */
    int64_t start_deadline_s; /* 0: none */
    const Calendar *exclude;  /* NULL: none */
} DueRule;

typedef enum DueWhy {
    DUE_RUNS,
    DUE_COALESCED, /* a newer one runs and stands for it */
    DUE_LATE,      /* its start deadline passed */
    DUE_NO_CATCH_UP,
    DUE_EXCLUDED, /* its day is in a calendar: skipped, not missed */
    DUE_SET_BACK, /* decided while the clock was ahead, or never: the schedule goes on after it */
} DueWhy;

typedef struct DueSlot {
    int64_t slot_ns;
    int64_t start_by_ns; /* 0: none */
    DueWhy why;
    bool missed;         /* a job in state missed: every reason but DUE_RUNS and DUE_EXCLUDED */
    uint64_t stands_for; /* slots that this run makes good, itself included; 0: it does not run */
    int64_t first_ns;    /* the oldest of them; of a slot that does not run nobody should ask */
} DueSlot;

typedef struct DueList {
    DueSlot slots[DUE_MOST];
    size_t count;
    uint64_t dropped;          /* slots before the first of these that get no row of their own, */
    uint64_t dropped_excluded; /* and those of them that were excluded */
    bool uncounted;            /* and there were still older ones */
    int64_t ahead_s;           /* not 0: the last slot was so far in the future */
} DueList;

/* Slots after last_ns up to now_ns, oldest first. */
void due_slots(const DueRule *rule, int64_t last_ns, int64_t now_ns, DueList *out);

#endif
