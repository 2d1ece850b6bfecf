/* SPDX-License-Identifier: Apache-2.0 */
#include "scheduler/plan/cron.h"

#include "scheduler/plan/civil.h"

static const int64_t DAY = 86400;

/* 29 February on a certain weekday comes every 28 years, and after 40 around 2100. */
static const int64_t HORIZON = 45 * 366ll * 86400;

static int64_t floor_div(int64_t a, int64_t b)
{
    return a / b - (a % b < 0);
}

static bool day_matches(const Cron *cron, const Civil *at)
{
    bool day = (cron->days >> at->day & 1u) != 0;
    bool weekday = (cron->weekdays >> at->weekday & 1u) != 0;
    return cron->any_day || cron->any_weekday ? day && weekday : day || weekday;
}

/* The lowest set bit from `from` on, or -1. */
static int bit_from(uint64_t bits, int from)
{
    uint64_t rest = from > 63 ? 0 : bits >> from << from;
    return rest == 0 ? -1 : __builtin_ctzll(rest);
}

/* The highest set bit up to `to`, or -1. */
static int bit_to(uint64_t bits, int to)
{
    uint64_t rest = to < 0 ? 0 : bits & (UINT64_MAX >> (63 - to));
    return rest == 0 ? -1 : 63 - __builtin_clzll(rest);
}

/* The first time of day from this minute on, or the last up to it; -1: none. */
static int time_from(const Cron *cron, int minute)
{
    int hour = minute / 60;
    if ((cron->hours >> hour & 1u) != 0) {
        int within = bit_from(cron->minutes, minute % 60);
        if (within >= 0)
            return hour * 60 + within;
    }
    hour = bit_from(cron->hours, hour + 1);
    return hour < 0 ? -1 : hour * 60 + bit_from(cron->minutes, 0);
}

static int time_to(const Cron *cron, int minute)
{
    int hour = minute / 60;
    if ((cron->hours >> hour & 1u) != 0) {
        int within = bit_to(cron->minutes, minute % 60);
        if (within >= 0)
            return hour * 60 + within;
    }
    hour = bit_to(cron->hours, hour - 1);
    return hour < 0 ? -1 : hour * 60 + bit_to(cron->minutes, 59);
}

/* The first wall time that matches in [from, until): months and days that do not are skipped. */
static bool wall_from(const Cron *cron, int64_t from, int64_t until, int64_t *wall)
{
    int64_t at = floor_div(from + 59, 60) * 60;
    while (at < until) {
        Civil local = civil_of(at);
        int64_t midnight = floor_div(at, DAY) * DAY;
        if ((cron->months >> local.month & 1u) == 0) {
            int month = bit_from(cron->months, local.month + 1);
            at = month > 0 ? civil_days(local.year, month, 1)
                           : civil_days(local.year + 1, bit_from(cron->months, 1), 1);
            at *= DAY;
            continue;
        }
        int minute =
            day_matches(cron, &local) ? time_from(cron, local.hour * 60 + local.minute) : -1;
        if (minute >= 0) {
            *wall = midnight + minute * 60;
            return *wall < until;
        }
        at = midnight + DAY;
    }
    return false;
}

/* The last wall time that matches in [from, until). */
static bool wall_before(const Cron *cron, int64_t from, int64_t until, int64_t *wall)
{
    int64_t at = floor_div(until - 1, 60) * 60;
    while (at >= from) {
        Civil local = civil_of(at);
        int64_t midnight = floor_div(at, DAY) * DAY;
        if ((cron->months >> local.month & 1u) == 0) {
            at = civil_days(local.year, local.month, 1) * DAY - 60;
            continue;
        }
        int minute = day_matches(cron, &local) ? time_to(cron, local.hour * 60 + local.minute) : -1;
        if (minute >= 0) {
            *wall = midnight + minute * 60;
            return *wall >= from;
        }
        at = midnight - 60;
    }
    return false;
}

/* Rules for every hour see each stretch between two changes of the clock by itself. */
static bool next_elapsed(const Cron *cron, const Zone *zone, int64_t after, int64_t *next)
{
    int64_t end = after + HORIZON;
    for (int64_t at = after + 1; at < end;) {
        int64_t wall;
        ZoneSpan span = zone_span(zone, at);
        int64_t until = span.until < end ? span.until : end;
        if (wall_from(cron, at + span.offset, until + span.offset, &wall)) {
            *next = wall - span.offset;
            return true;
        }
        at = until;
    }
    return false;
}

static bool prev_elapsed(const Cron *cron, const Zone *zone, int64_t before, int64_t *prev)
{
    int64_t end = before - HORIZON;
    for (int64_t until = before; until > end;) {
        int64_t wall;
        ZoneSpan span = zone_span(zone, until - 1);
        int64_t from = span.from > end ? span.from : end;
        if (wall_before(cron, from + span.offset, until + span.offset, &wall)) {
            *prev = wall - span.offset;
            return true;
        }
        until = from;
    }
    return false;
}

/* What clocks show now and later becomes an instant after now, but for what they show a second
 * time; what they showed or skipped before does not. */
static bool next_wall(const Cron *cron, const Zone *zone, int64_t after, int64_t *next)
{
    int64_t from = after + zone_offset(zone, after);
    int64_t until = from + HORIZON;
    int64_t wall;
    while (wall_from(cron, from, until, &wall)) {
        *next = zone_instant(zone, wall);
        if (*next > after)
            return true;
        from = wall + 60;
    }
    return false;
}

static bool prev_wall(const Cron *cron, const Zone *zone, int64_t before, int64_t *prev)
{
    /* Clocks that were set back have shown more than they show now. */
    ZoneSpan span = zone_span(zone, before);
    int64_t until = before + span.offset;
    while (span.from > before - 2 * DAY) {
        int64_t end = span.from;
        span = zone_span(zone, end - 1);
        if (end + span.offset > until)
            until = end + span.offset;
    }
    int64_t from = until - HORIZON;
    int64_t wall;
    while (wall_before(cron, from, until, &wall)) {
        *prev = zone_instant(zone, wall);
        if (*prev < before)
            return true;
        until = wall;
    }
    return false;
}

bool cron_next(const Cron *cron, const Zone *zone, int64_t after, int64_t *next)
{
    if (cron->every_s != 0) {
        *next = (floor_div(after, cron->every_s) + 1) * cron->every_s;
        return true;
    }
    return cron->every_hour ? next_elapsed(cron, zone, after, next)
                            : next_wall(cron, zone, after, next);
}

bool cron_prev(const Cron *cron, const Zone *zone, int64_t before, int64_t *prev)
{
    if (cron->every_s != 0) {
        *prev = floor_div(before - 1, cron->every_s) * cron->every_s;
        return true;
    }
    return cron->every_hour ? prev_elapsed(cron, zone, before, prev)
                            : prev_wall(cron, zone, before, prev);
}
