/* SPDX-License-Identifier: Apache-2.0
 * cron.h — when a schedule is due. Five fields (minute hour day-of-month month day-of-week) with
 * lists, ranges, steps and names; @hourly @daily @weekly @monthly; `H` and `H(a-b)`, a stable hash
 * of the source's name that spreads a fleet; "every 6h". When day of month and day of week are both
 * restricted, either may match (as every cron does). A wall time that clocks skip runs once, at the
 * end of the gap; one shown twice runs the first time; but a rule for every hour (hour field `*`)
 * follows elapsed time and sees both. */
#ifndef SCHEDULER_PLAN_CRON_H
#define SCHEDULER_PLAN_CRON_H

#include "scheduler/plan/zone.h"

typedef struct Cron {
    uint64_t minutes; /* bit n: minute n */
    uint32_t hours;
    uint32_t days;     /* bits 1…31 */
    uint32_t months;   /* bits 1…12 */
    uint32_t weekdays; /* bits 0…6 */
    bool any_day, any_weekday, every_hour;
    int64_t every_s; /* not 0: an interval, counted from 1970 in UTC; the fields do not matter */
} Cron;

/* name: of the source, for H. ERR_INVALID cron.invalid names the field. */
MUST_CHECK bool cron_parse(Text text, Text name, Cron *out, Err *err);

/* The first instant (Unix seconds) after `after`; false when there is none within nine years. */
bool cron_next(const Cron *cron, const Zone *zone, int64_t after, int64_t *next);

#endif
