/* SPDX-License-Identifier: Apache-2.0 */
#include "scheduler/plan/zone_rule.h"

#include "scheduler/plan/civil.h"

static bool take_name(Text *text)
{
    size_t len = 0;
    if (text->len != 0 && text->at[0] == '<') {
        while (len < text->len && text->at[len] != '>')
            len++;
        len++;
    } else
        while (len < text->len && ((text->at[len] >= 'A' && text->at[len] <= 'Z') ||
                                   (text->at[len] >= 'a' && text->at[len] <= 'z')))
            len++;
    if (len < 3 || len > text->len)
        return false;
    *text = (Text){text->at + len, text->len - len};
    return true;
}

static bool take_char(Text *text, char c)
{
    if (text->len == 0 || text->at[0] != c)
        return false;
    *text = (Text){text->at + 1, text->len - 1};
    return true;
}

static bool take_int(Text *text, int *out)
{
    size_t len = 0;
    *out = 0;
    while (len < text->len && len < 4 && text->at[len] >= '0' && text->at[len] <= '9')
        *out = *out * 10 + (text->at[len++] - '0');
    *text = (Text){text->at + len, text->len - len};
    return len != 0;
}

/* [+-]hh[:mm[:ss]] in seconds; hours reach from -167 to 167 (RFC 8536 §3.3.1). */
static bool take_time(Text *text, int32_t *out)
{
    int part[3] = {0};
    int sign = take_char(text, '-') ? -1 : 1;
    if (sign == 1)
        take_char(text, '+');
    if (!take_int(text, &part[0]))
        return false;
    for (int i = 1; i < 3 && take_char(text, ':'); i++)
        if (!take_int(text, &part[i]))
            return false;
    *out = sign * (part[0] * 3600 + part[1] * 60 + part[2]);
    return part[0] <= 167 && part[1] < 60 && part[2] < 60;
}

static bool take_day(Text *text, ZoneDay *out)
{
    *out = (ZoneDay){.time = 7200};
    if (!take_char(text, ','))
        return false;
    bool good;
    if (take_char(text, 'M')) {
        out->kind = ZONE_DAY_MONTH;
        good = take_int(text, &out->month) && take_char(text, '.') && take_int(text, &out->week) &&
               take_char(text, '.') && take_int(text, &out->weekday) && out->month >= 1 &&
               out->month <= 12 && out->week >= 1 && out->week <= 5 && out->weekday <= 6;
    } else {
        out->kind = take_char(text, 'J') ? ZONE_DAY_JULIAN : ZONE_DAY_ZERO;
        good = take_int(text, &out->day);
    }
    if (out->kind != ZONE_DAY_MONTH) /* J1…J365, or 0…365 */
        good = good && out->day <= 365 && out->day >= (out->kind == ZONE_DAY_JULIAN ? 1 : 0);
    return good && (!take_char(text, '/') || take_time(text, &out->time));
}

bool zone_rule_parse(Text text, ZoneRule *out, Err *err)
{
    int32_t west;
    Text whole = text;
    *out = (ZoneRule){0};
    bool good = take_name(&text) && take_time(&text, &west);
    if (good) {
        out->standard = -west;
        out->daylight = out->standard + 3600;
    }
    if (good && text.len != 0) {
        out->has_daylight = true;
        good = take_name(&text);
        if (good && text.len != 0 && text.at[0] != ',') {
            good = take_time(&text, &west);
            out->daylight = -west;
        }
        good = good && take_day(&text, &out->begin) && take_day(&text, &out->end) && text.len == 0;
    }
    return good || err_set(err, ERR_CORRUPT, "zone.rule", "'%.*s' is not a POSIX time zone rule",
                           TEXT_ARG(whole));
}

/* Local seconds since 1970 of a rule's day in a year. */
static int64_t day_in(const ZoneDay *day, int64_t year)
{
    int64_t first = civil_days(year, 1, 1);
    bool leap = civil_days(year + 1, 1, 1) - first == 366;
    if (day->kind == ZONE_DAY_ZERO)
        return (first + day->day) * 86400 + day->time;
    if (day->kind == ZONE_DAY_JULIAN)
        return (first + day->day - 1 + (leap && day->day >= 60)) * 86400 + day->time;
    int64_t at = civil_days(year, day->month, 1);
    int64_t next =
        day->month == 12 ? civil_days(year + 1, 1, 1) : civil_days(year, day->month + 1, 1);
    at += (day->weekday - civil_weekday(at) + 7) % 7 + 7 * (int64_t)(day->week - 1);
    while (at >= next)
        at -= 7;
    return at * 86400 + day->time;
}

void zone_rule_span(const ZoneRule *rule, int64_t utc, int64_t *from, int64_t *until,
                    int64_t *offset)
{
    *from = INT64_MIN;
    *until = INT64_MAX;
    *offset = rule->standard;
    if (!rule->has_daylight)
        return;
    int64_t year = civil_of(utc + rule->standard).year;
    for (int64_t y = year - 1; y <= year + 1; y++) {
        const int64_t changes[2] = {day_in(&rule->begin, y) - rule->standard,
                                    day_in(&rule->end, y) - rule->daylight};
        for (int i = 0; i < 2; i++) {
            if (changes[i] > utc) {
                *until = changes[i] < *until ? changes[i] : *until;
            } else if (changes[i] > *from || (changes[i] == *from && i == 0)) {
                /* Where one daylight time ends as the next begins, it goes on. */
                *from = changes[i];
                *offset = i == 0 ? rule->daylight : rule->standard;
            }
        }
    }
}
