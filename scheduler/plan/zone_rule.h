/* SPDX-License-Identifier: Apache-2.0
 * zone_rule.h — the POSIX TZ string at the end of a TZif file: "CET-1CEST,M3.5.0,M10.5.0/3". */
#ifndef SCHEDULER_PLAN_ZONE_RULE_H
#define SCHEDULER_PLAN_ZONE_RULE_H

#include "protocol/err.h"

typedef enum ZoneDayKind {
    ZONE_DAY_MONTH,  /* Mm.w.d */
    ZONE_DAY_JULIAN, /* Jn: 1…365, 29 February never counts */
    ZONE_DAY_ZERO,   /* n: 0…365 */
} ZoneDayKind;

typedef struct ZoneDay {
    ZoneDayKind kind;
    int month, week, weekday; /* week 5: the last */
    int day;
    int32_t time; /* seconds after local midnight */
} ZoneDay;

typedef struct ZoneRule {
    int32_t standard, daylight; /* seconds east of UTC */
    bool has_daylight;
    ZoneDay begin, end;
} ZoneRule;

MUST_CHECK bool zone_rule_parse(Text text, ZoneRule *out, Err *err);

/* The stretch around utc between two changes of the clock, until excluded; INT64_MIN and INT64_MAX
 * where it has no end. *offset: seconds east of UTC during it. */
void zone_rule_span(const ZoneRule *rule, int64_t utc, int64_t *from, int64_t *until,
                    int64_t *offset);

#endif
