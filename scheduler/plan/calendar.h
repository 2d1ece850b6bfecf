/* SPDX-License-Identifier: Apache-2.0
 * calendar.h — days on which a schedule has no slots: holidays, freezes, stocktaking. A day is one
 * of the policy's zone, from its first instant to its last, whatever its length. Pure. */
#ifndef SCHEDULER_PLAN_CALENDAR_H
#define SCHEDULER_PLAN_CALENDAR_H

#include "scheduler/plan/zone.h"

/* Days first…last: since 1970; or of every year, as month * 32 + day, where first may be later than
 * last (12-24..01-02 lies around New Year). */
typedef struct CalendarSpan {
    bool yearly;
    int64_t first, last;
    const char *name; /* of the calendar that says so, for people; borrowed; may be NULL */
} CalendarSpan;

typedef struct Calendar {
    CalendarSpan *spans; /* owned */
    size_t count;
} Calendar;

/* "2026-12-24", "2026-12-24..2027-01-01", "12-25", "12-24..01-02"; 02-29 comes in leap years.
 * ERR_INVALID calendar.invalid. */
MUST_CHECK bool calendar_span(Text text, CalendarSpan *out, Err *err);

/* Adds one such item. `Calendar days = {0};` is an empty one. */
MUST_CHECK bool calendar_add(Calendar *calendar, Text text, Err *err);
/* The same, and whose it is. */
MUST_CHECK bool calendar_add_of(Calendar *calendar, const char *name, Text text, Err *err);

/* Is this day (since 1970) one of them? NULL: a calendar without days. */
bool calendar_holds(const Calendar *calendar, int64_t day);

/* The first that has this day; NULL: none. */
const CalendarSpan *calendar_find(const Calendar *calendar, int64_t day);

/* Is the day that this zone has at this instant one of them? */
bool calendar_excludes(const Calendar *calendar, const Zone *zone, int64_t at);

void calendar_free(Calendar *calendar); /* leaves an empty one */

#endif
