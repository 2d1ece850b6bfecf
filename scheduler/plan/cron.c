/* SPDX-License-Identifier: Apache-2.0 */
#include "scheduler/plan/cron.h"

#include "common/base/units.h"
#include "scheduler/plan/civil.h"

#include <stdio.h>
#include <strings.h>

enum { DAY = 86400, DAYS_AHEAD = 9 * 366 };

typedef struct Field {
    const char *what;
    int least, most;
    int hash_most; /* H stays below: days after the 28th do not come every month */
    const char *const *names;
    int first_name;
} Field;

static const char *const month_names[] = {"jan", "feb", "mar", "apr", "may", "jun", "jul",
                                          "aug", "sep", "oct", "nov", "dec", NULL};
static const char *const weekday_names[] = {"sun", "mon", "tue", "wed", "thu", "fri", "sat", NULL};

static const Field fields[5] = {
    {"minute", 0, 59, 59, NULL, 0},
    {"hour", 0, 23, 23, NULL, 0},
    {"day of month", 1, 31, 28, NULL, 0},
    {"month", 1, 12, 12, month_names, 1},
    {"day of week", 0, 7, 6, weekday_names, 0}, /* 7 is Sunday too */
};

/* FNV-1a (public domain), 64 bits: stable for ever, because a schedule must not move on upgrade. */
static uint64_t hash_of(Text name, int field)
{
    uint64_t hash = 0xcbf29ce484222325u;
    for (size_t i = 0; i < name.len; i++)
        hash = (hash ^ (uint8_t)name.at[i]) * 0x100000001b3u;
    hash = (hash ^ (uint8_t)('0' + field)) * 0x100000001b3u;
    return hash ^ hash >> 29;
}

static bool invalid(Err *err, int field, Text part)
{
    return err_set(err, ERR_INVALID, "cron.invalid", "'%.*s' is not a %s (%d-%d)", TEXT_ARG(part),
                   fields[field].what, fields[field].least, fields[field].most);
}

static bool take_char(Text *text, char c)
{
    if (text->len == 0 || text->at[0] != c)
        return false;
    *text = (Text){text->at + 1, text->len - 1};
    return true;
}

/* A number or a name of the field. */
static bool take_value(Text *text, const Field *field, int *out)
{
    size_t len = 0;
    *out = 0;
    while (len < text->len && len < 3 && text->at[len] >= '0' && text->at[len] <= '9')
        *out = *out * 10 + (text->at[len++] - '0');
    for (int i = 0; len == 0 && text->len >= 3 && field->names != NULL && field->names[i] != NULL;
         i++)
        if (strncasecmp(text->at, field->names[i], 3) == 0) {
            *out = i + field->first_name;
            len = 3;
        }
    *text = (Text){text->at + len, text->len - len};
    return len != 0 && *out >= field->least && *out <= field->most;
}

/* H or H(a-b), after the letter was taken. */
static bool take_hash(Text *text, int index, Text name, int *out)
{
    const Field *field = &fields[index];
    int from = field->least;
    int to = field->hash_most;
    if (take_char(text, '(') &&
        (!take_value(text, field, &from) || !take_char(text, '-') ||
         !take_value(text, field, &to) || !take_char(text, ')') || to < from))
        return false;
    *out = from + (int)(hash_of(name, index) % (uint64_t)(to - from + 1));
    return true;
}

/* One item of a list: *, a, a-b, H, each with /step. */
static bool take_item(Text *text, int index, Text name, uint64_t *bits)
{
    const Field *field = &fields[index];
    int from = field->least;
    int to = field->most;
    int step = 1;
    bool single = false;
    if (take_char(text, 'H')) {
        if (text->len != 0 && text->at[0] == '/') {
            /* H/n: every n, from a hashed start below n */
            take_char(text, '/');
            if (!take_value(text, &(Field){NULL, 1, field->most, 0, NULL, 0}, &step))
                return false;
            from = field->least + (int)(hash_of(name, index) % (uint64_t)step);
            to = field->hash_most;
            for (int i = from; i <= to; i += step)
                *bits |= 1ull << i;
            return true;
        }
        if (!take_hash(text, index, name, &from))
            return false;
        to = from;
    } else if (!take_char(text, '*')) {
        if (!take_value(text, field, &from))
            return false;
        to = from;
        single = true;
        if (take_char(text, '-')) {
            single = false;
            if (!take_value(text, field, &to) || to < from)
                return false;
        }
    }
    if (take_char(text, '/')) {
        if (!take_value(text, &(Field){NULL, 1, field->most, 0, NULL, 0}, &step))
            return false;
        if (single)
            to = field->most; /* a/n counts from a on, as Vixie's cron does */
    }
    for (int i = from; i <= to; i += step)
        *bits |= 1ull << i;
    return true;
}

static bool parse_field(Text part, int index, Text name, uint64_t *bits, Err *err)
{
    Text rest = part;
    *bits = 0;
    do {
        if (!take_item(&rest, index, name, bits))
            return invalid(err, index, part);
    } while (take_char(&rest, ','));
    return rest.len == 0 || invalid(err, index, part);
}

static bool next_word(Text *text, Text *word)
{
    while (text->len != 0 && (text->at[0] == ' ' || text->at[0] == '\t'))
        *text = (Text){text->at + 1, text->len - 1};
    size_t len = 0;
    while (len < text->len && text->at[len] != ' ' && text->at[len] != '\t')
        len++;
    *word = (Text){text->at, len};
    *text = (Text){text->at + len, text->len - len};
    return len != 0;
}

static Text expand(Text text)
{
    static const struct {
        const char *name, *rule;
    } names[] = {{"@hourly", "H * * * *"},
                 {"@daily", "H H * * *"},
                 {"@weekly", "H H * * H"},
                 {"@monthly", "H H H * *"}};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (text_equal(text, text_of(names[i].name)))
            return text_of(names[i].rule);
    return text;
}

static bool parse_every(Text text, Cron *out, Err *err)
{
    int64_t ms;
    if (!units_duration_ms(text, &ms, err))
        return false;
    if (ms < 1000 || ms % 1000 != 0)
        return err_set(err, ERR_INVALID, "cron.invalid", "'every %.*s': whole seconds, please",
                       TEXT_ARG(text));
    out->every_s = ms / 1000;
    return true;
}

bool cron_parse(Text text, Text name, Cron *out, Err *err)
{
    uint64_t bits[5];
    Text part;
    Text rest = expand(text);
    *out = (Cron){0};
    if (rest.len > 6 && memcmp(rest.at, "every ", 6) == 0)
        return parse_every((Text){rest.at + 6, rest.len - 6}, out, err);
    for (int i = 0; i < 5; i++) {
        if (!next_word(&rest, &part))
            return err_set(err, ERR_INVALID, "cron.invalid",
                           "'%.*s' has fewer than five fields: minute hour day month weekday",
                           TEXT_ARG(text));
        if (!parse_field(part, i, name, &bits[i], err))
            return false;
        out->every_hour |= i == 1 && part.at[0] == '*' && part.len == 1;
        out->any_day |= i == 2 && part.at[0] == '*';
        out->any_weekday |= i == 4 && part.at[0] == '*';
    }
    if (next_word(&rest, &part))
        return err_set(err, ERR_INVALID, "cron.invalid", "'%.*s' has more than five fields",
                       TEXT_ARG(text));
    out->minutes = bits[0];
    out->hours = (uint32_t)bits[1];
    out->days = (uint32_t)bits[2];
    out->months = (uint32_t)bits[3];
    out->weekdays = (uint32_t)((bits[4] | bits[4] >> 7) & 0x7f);
    return true;
}

static bool day_matches(const Cron *cron, const Civil *at)
{
    bool day = (cron->days >> at->day & 1u) != 0;
    bool weekday = (cron->weekdays >> at->weekday & 1u) != 0;
    if ((cron->months >> at->month & 1u) == 0)
        return false;
    return cron->any_day || cron->any_weekday ? day && weekday : day || weekday;
}

/* Rules for every hour: minute by minute in elapsed time, whole days that do not match skipped. */
static bool next_elapsed(const Cron *cron, const Zone *zone, int64_t after, int64_t *next)
{
    int64_t end = after + (int64_t)DAYS_AHEAD * DAY;
    for (int64_t at = (after / 60 + 1) * 60; at < end;) {
        Civil local = civil_of(at + zone_offset(zone, at));
        if (!day_matches(cron, &local)) {
            int64_t left = 86400 - (local.hour * 3600 + local.minute * 60 + local.second);
            at += left > 7200 ? left - 7200 : 60; /* clocks may change before midnight */
            at = at / 60 * 60;
            continue;
        }
        if ((cron->minutes >> local.minute & 1u) != 0 && local.second == 0) {
            *next = at;
            return true;
        }
        at += 60;
    }
    return false;
}

/* The first instant of a day's matching wall times that is later than `after`. */
static bool next_in_day(const Cron *cron, const Zone *zone, int64_t midnight, int64_t after,
                        int64_t *next)
{
    for (int hour = 0; hour < 24; hour++) {
        if ((cron->hours >> hour & 1u) == 0)
            continue;
        for (int minute = 0; minute < 60; minute++) {
            if ((cron->minutes >> minute & 1u) == 0)
                continue;
            *next = zone_instant(zone, midnight + hour * 3600 + minute * 60);
            if (*next > after)
                return true;
        }
    }
    return false;
}

bool cron_next(const Cron *cron, const Zone *zone, int64_t after, int64_t *next)
{
    if (cron->every_s != 0) {
        *next = (after / cron->every_s + 1) * cron->every_s;
        return true;
    }
    if (cron->every_hour)
        return next_elapsed(cron, zone, after, next);
    Civil start = civil_of(after + zone_offset(zone, after));
    int64_t day = civil_days(start.year, start.month, start.day) - 1;
    for (int i = 0; i < DAYS_AHEAD; i++, day++) {
        Civil local = civil_of(day * DAY);
        if (day_matches(cron, &local) && next_in_day(cron, zone, day * DAY, after, next))
            return true;
    }
    return false;
}
