/* SPDX-License-Identifier: Apache-2.0 */
#include "scheduler/plan/calendar.h"

#include "common/base/mem.h"
#include "scheduler/plan/civil.h"

static bool two_digits(const char *at, int least, int most, int *out)
{
    bool digits = at[0] >= '0' && at[0] <= '9' && at[1] >= '0' && at[1] <= '9';
    *out = digits ? (at[0] - '0') * 10 + at[1] - '0' : -1;
    return *out >= least && *out <= most;
}

/* "12-25" in this year. */
static bool month_day(const char *at, int64_t year, int *month, int *day)
{
    if (!two_digits(at, 1, 12, month) || at[2] != '-' || !two_digits(at + 3, 1, 31, day))
        return false;
    int64_t next = *month == 12 ? civil_days(year + 1, 1, 1) : civil_days(year, *month + 1, 1);
    return *day <= next - civil_days(year, *month, 1);
}

/* A day in either form. */
static bool day_of(Text text, bool *yearly, int64_t *out)
{
    int month;
    int day;
    int century;
    int rest;
    *yearly = text.len == 5;
    if (*yearly) {
        if (!month_day(text.at, 2024, &month, &day)) /* a leap year: 29 February comes in some */
            return false;
        *out = month * 32 + day;
        return true;
    }
    if (text.len != 10 || text.at[4] != '-' || !two_digits(text.at, 0, 99, &century) ||
        !two_digits(text.at + 2, 0, 99, &rest) ||
        !month_day(text.at + 5, century * 100 + rest, &month, &day))
        return false;
    *out = civil_days(century * 100 + rest, month, day);
    return true;
}

bool calendar_span(Text text, CalendarSpan *out, Err *err)
{
    size_t len = text.len == 12 ? 5 : text.len == 22 ? 10 : text.len;
    bool span = len != text.len && memcmp(text.at + len, "..", 2) == 0;
    bool yearly = false;
    *out = (CalendarSpan){0};
    bool good = day_of((Text){text.at, len}, &out->yearly, &out->first);
    if (span)
        good = good && day_of((Text){text.at + len + 2, len}, &yearly, &out->last) &&
               (yearly || out->first <= out->last);
    else {
        good = good && len == text.len;
        out->last = out->first;
    }
    return good || err_set(err, ERR_INVALID, "calendar.invalid",
                           "'%.*s' is not a day: write 2026-12-24, 2026-12-24..2027-01-01, or "
                           "12-25 for every year",
                           (int)(text.len < 60 ? text.len : 60), text.at);
}

bool calendar_add(Calendar *calendar, Text text, Err *err)
{
    return calendar_add_of(calendar, NULL, text, err);
}

bool calendar_add_of(Calendar *calendar, const char *name, Text text, Err *err)
{
    CalendarSpan span;
    if (!calendar_span(text, &span, err))
        return false;
    span.name = name;
    calendar->spans = mem_resize(calendar->spans, (calendar->count + 1) * sizeof span);
    calendar->spans[calendar->count++] = span;
    return true;
}

const CalendarSpan *calendar_find(const Calendar *calendar, int64_t day)
{
    if (calendar == NULL || calendar->count == 0)
        return NULL;
    Civil civil = civil_of(day * 86400);
    int64_t of_year = civil.month * 32 + civil.day;
    for (size_t i = 0; i < calendar->count; i++) {
        const CalendarSpan *span = &calendar->spans[i];
        int64_t at = span->yearly ? of_year : day;
        bool inside = span->first <= span->last ? at >= span->first && at <= span->last
                                                : at >= span->first || at <= span->last;
        if (inside)
            return span;
    }
    return NULL;
}

bool calendar_holds(const Calendar *calendar, int64_t day)
{
    return calendar_find(calendar, day) != NULL;
}

bool calendar_excludes(const Calendar *calendar, const Zone *zone, int64_t at)
{
    if (calendar == NULL || calendar->count == 0)
        return false;
    Civil local = civil_of(at + zone_offset(zone, at));
    return calendar_holds(calendar, civil_days(local.year, local.month, local.day));
}

void calendar_free(Calendar *calendar)
{
    mem_free(calendar->spans);
    *calendar = (Calendar){0};
}
