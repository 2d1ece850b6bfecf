/* SPDX-License-Identifier: Apache-2.0
 * cron.h — when a schedule is due. Five fields (minute hour day-of-month month day-of-week) with
 * lists, ranges, steps and names; @hourly and its kin; `H`, a stable hash of the source's name that
 * spreads a fleet; "every 6h". When day of month and day of week are both restricted (neither
 * begins with `*`), either may match, as crontab(5) has it. A wall time that clocks skip runs once,
 * at the end of the gap; one shown twice runs the first time; but a rule for all 24 hours follows
 * elapsed time and sees both. Pure: no clock of its own. */
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

/* What a rule may say (text: without spaces around it; name: of the source, for H):
 *     *  5  1-5  1-31/2  10/15 (from 10 on)  mon  jan-mar  sat-sun  7 (Sunday)  1,3,5-7
 *     H       one value of the field, below 29 in the day of the month
 *     H(1-5)  one value of these     H/15  every 15 from a hashed start     H(0-29)/10  both
 *     @hourly  H * * * *      @daily   H H * * *     @midnight  H H(0-2) * * *
 *     @weekly  H H * * H      @monthly H H H * *     @yearly, @annually  H H H H *
 *     every 6h   from 1970-01-01T00:00:00Z: 00:00, 06:00, 12:00 and 18:00 UTC
 * ERR_INVALID cron.invalid names column and field and what may stand there; cron.never: its days
 * are in none of its months. */
MUST_CHECK bool cron_parse(Text text, Text name, Cron *out, Err *err);

/* The same; *column says where the fault begins, from 1 (0: everywhere, or there is none). */
MUST_CHECK bool cron_parse_at(Text text, Text name, Cron *out, size_t *column, Err *err);

/* The first instant (Unix seconds) after `after`. False: none within 45 years, in which every date
 * and weekday meet. */
bool cron_next(const Cron *cron, const Zone *zone, int64_t after, int64_t *next);

/* The last instant before `before`: exactly those that cron_next gives, in the other direction. */
bool cron_prev(const Cron *cron, const Zone *zone, int64_t before, int64_t *prev);

#endif
