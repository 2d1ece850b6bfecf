/* SPDX-License-Identifier: Apache-2.0 */
#include "scheduler/plan/window.h"

#include "scheduler/plan/civil.h"

/* Clocks may skip an opening of one week, and a whole day once in a century; not that of three. */
static const int64_t HORIZON = 22ll * 86400;

static const char *const day_names[] = {"sun", "mon", "tue", "wed", "thu", "fri", "sat"};
static const char *const close_names[] = {"finish", "throttle", "cancel"};

static bool time_of_day(const char *at, int *minutes)
{
    for (int i = 0; i < 5; i++)
        if (i == 2 ? at[i] != ':' : at[i] < '0' || at[i] > '9')
            return false;
    int hour = (at[0] - '0') * 10 + at[1] - '0';
    int minute = (at[3] - '0') * 10 + at[4] - '0';
    *minutes = hour * 60 + minute;
    return minute < 60 && *minutes <= 1440;
}

bool window_hours(Text text, int *from, int *to, Err *err)
{
    bool good = text.len == 11 && time_of_day(text.at, from) && text.at[5] == '-' &&
                time_of_day(text.at + 6, to) && *from != *to && *from != 1440;
    return good || err_set(err, ERR_INVALID, "window.hours",
                           "'%.*s' is not a span of the day: write 22:00-06:00, or 00:00-24:00 for "
                           "all of it",
                           (int)(text.len < 60 ? text.len : 60), text.at);
}

static bool word(Text text, const char *const *words, int count, int *out)
{
    for (*out = 0; *out < count; ++*out)
        if (text_equal(text, text_of(words[*out])))
            return true;
    return false;
}

bool window_day(Text text, int *day)
{
    return word(text, day_names, 7, day);
}

bool window_on_close(Text text, WindowClose *out)
{
    int found;
    bool good = word(text, close_names, WINDOW_CLOSES, &found);
    *out = (WindowClose)found;
    return good;
}

void window_add(WindowWeek *week, const Window *window)
{
    int length =
        window->to > window->from ? window->to - window->from : 1440 - window->from + window->to;
    week->limited = true;
    for (int day = 0; day < 7; day++)
        for (int i = 0; (window->days >> day & 1) != 0 && i < length; i++) {
            int minute = (day * 1440 + window->from + i) % WINDOW_MINUTES;
            week->open[minute / 64] |= 1ull << minute % 64;
            week->by_close[window->on_close][minute / 64] |= 1ull << minute % 64;
        }
}

static bool bit(const uint64_t *bits, int minute)
{
    return (bits[minute / 64] >> minute % 64 & 1) != 0;
}

/* The first minute from `from` up to `until` with this state; `until` when there is none. */
static int scan(const uint64_t *bits, int from, int until, bool wanted)
{
    while (from < until) {
        uint64_t rest = (wanted ? bits[from / 64] : ~bits[from / 64]) >> from % 64;
        if (rest != 0) {
            from += __builtin_ctzll(rest);
            return from < until ? from : until;
        }
        from = from / 64 * 64 + 64;
    }
    return until;
}

/* How many minutes after `minute` of the week the state is the wanted one; -1: never. */
static int minutes_to(const WindowWeek *week, int minute, bool wanted)
{
    int found = scan(week->open, minute, WINDOW_MINUTES, wanted);
    if (found < WINDOW_MINUTES)
        return found - minute;
    found = scan(week->open, 0, minute, wanted);
    return found < minute ? WINDOW_MINUTES - minute + found : -1;
}

/* Minutes since Sunday 00:00, by what clocks show. */
static int minute_of_week(int64_t wall)
{
    Civil local = civil_of(wall);
    return local.weekday * 1440 + local.hour * 60 + local.minute;
}

/* The first instant from `at` on with this state. */
static bool next_state(const WindowWeek *week, const Zone *zone, int64_t at, bool wanted,
                       int64_t *when)
{
    for (int64_t end = at + HORIZON; at < end;) {
        ZoneSpan span = zone_span(zone, at);
        int64_t wall = at + span.offset;
        int minutes = minutes_to(week, minute_of_week(wall), wanted);
        if (minutes < 0)
            return false;
        if (minutes == 0) {
            *when = at;
            return true;
        }
        /* Whole minutes from the one that is shown now. */
        int64_t into = (wall % 60 + 60) % 60;
        *when = at - into + minutes * 60ll;
        if (*when < span.until)
            return true;
        at = span.until;
    }
    return false;
}

bool window_open_at(const WindowWeek *week, const Zone *zone, int64_t at)
{
    return !week->limited || bit(week->open, minute_of_week(at + zone_offset(zone, at)));
}

bool window_next_open(const WindowWeek *week, const Zone *zone, int64_t at, int64_t *open)
{
    *open = at;
    return !week->limited || next_state(week, zone, at, true, open);
}

/* Of what windows that are open in this minute say. */
static WindowClose mildest(const WindowWeek *week, int minute)
{
    WindowClose what = WINDOW_FINISH;
    while (what < WINDOW_CANCEL && !bit(week->by_close[what], minute))
        what++;
    return what;
}

bool window_closes_at(const WindowWeek *week, const Zone *zone, int64_t at, int64_t *close,
                      WindowClose *on_close)
{
    if (!week->limited || !window_open_at(week, zone, at) ||
        !next_state(week, zone, at, false, close))
        return false;
    *on_close = mildest(week, minute_of_week(*close - 1 + zone_offset(zone, *close - 1)));
    return true;
}

WindowClose window_closed_as(const WindowWeek *week, const Zone *zone, int64_t at)
{
    int now = minute_of_week(at + zone_offset(zone, at));
    for (int back = 1; week->limited && back < WINDOW_MINUTES; back++) {
        int minute = (now - back + WINDOW_MINUTES) % WINDOW_MINUTES;
        if (bit(week->open, minute))
            return mildest(week, minute);
    }
    return WINDOW_FINISH;
}
