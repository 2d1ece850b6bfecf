/* SPDX-License-Identifier: Apache-2.0
 * Windows by weekday, across midnight and through changes of the clock, against a reference that
 * knows neither weeks nor bits: it asks each window about each second that matters. */
#include "scheduler/plan/civil.h"
#include "scheduler/plan/window.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static int64_t instant(const char *text)
{
    struct tm tm = {0};
    assert_non_null(strptime(text, "%Y-%m-%dT%H:%M", &tm));
    return timegm(&tm);
}

static Zone *zone_named(const char *name)
{
    Zone *zone;
    Err err = {0};
    assert_true(zone_open(&zone, text_of(name), &err));
    return zone;
}

static Window window_of(const char *hours, uint8_t days, WindowClose on_close)
{
    Err err = {0};
    Window window = {.days = days, .on_close = on_close};
    assert_true(window_hours(text_of(hours), &window.from, &window.to, &err));
    return window;
}

/* --- the reference ---------------------------------------------------------------------------- */

static bool holds(const Window *window, const Zone *zone, int64_t at)
{
    Civil local = civil_of(at + zone_offset(zone, at));
    int minute = local.hour * 60 + local.minute;
    bool today = (window->days >> local.weekday & 1) != 0;
    bool yesterday = (window->days >> (local.weekday + 6) % 7 & 1) != 0;
    if (window->from < window->to)
        return today && minute >= window->from && minute < window->to;
    return (today && minute >= window->from) || (yesterday && minute < window->to);
}

static bool slow_open(const Window *windows, size_t count, const Zone *zone, int64_t at)
{
    for (size_t i = 0; i < count; i++)
        if (holds(&windows[i], zone, at))
            return true;
    return false;
}

static WindowClose slow_on_close(const Window *windows, size_t count, const Zone *zone, int64_t at)
{
    WindowClose found = WINDOW_CANCEL;
    for (size_t i = 0; i < count; i++)
        if (holds(&windows[i], zone, at - 1) && windows[i].on_close < found)
            found = windows[i].on_close;
    return found;
}

/* --- by hand ---------------------------------------------------------------------------------- */

static void hours_across_midnight_belong_to_the_day_they_begin_on(void **state)
{
    Zone *zone = zone_named("Europe/Berlin");
    WindowWeek week = {0};
    Window saturday = window_of("22:00-06:00", 1 << 6, WINDOW_CANCEL);
    int64_t at;
    WindowClose on_close;
    (void)state;
    window_add(&week, &saturday);
    /* 2026-11-21 is a Saturday; Berlin is an hour ahead of UTC. */
    assert_false(window_open_at(&week, zone, instant("2026-11-21T20:59")));
    assert_true(window_open_at(&week, zone, instant("2026-11-21T21:00")));
    assert_true(window_open_at(&week, zone, instant("2026-11-22T04:59")));
    assert_false(window_open_at(&week, zone, instant("2026-11-22T05:00")));
    assert_false(window_open_at(&week, zone, instant("2026-11-22T21:30")));
    assert_true(window_next_open(&week, zone, instant("2026-11-16T00:00"), &at));
    assert_int_equal(at, instant("2026-11-21T21:00"));
    assert_true(window_next_open(&week, zone, instant("2026-11-22T01:23"), &at));
    assert_int_equal(at, instant("2026-11-22T01:23"));
    assert_true(window_closes_at(&week, zone, at, &at, &on_close));
    assert_int_equal(at, instant("2026-11-22T05:00"));
    assert_int_equal(on_close, WINDOW_CANCEL);
    assert_false(window_closes_at(&week, zone, at, &at, &on_close));
    zone_free(zone);
}

static void a_repeated_hour_is_inside_twice_and_a_skipped_one_opens_nothing(void **state)
{
    Zone *zone = zone_named("Europe/Berlin");
    WindowWeek week = {0};
    Window night = window_of("02:00-03:00", 0x7f, WINDOW_FINISH);
    int64_t at;
    WindowClose on_close;
    (void)state;
    window_add(&week, &night);
    /* 25 October 2026: from 02:00 on, two hours. */
    assert_true(window_next_open(&week, zone, instant("2026-10-24T12:00"), &at));
    assert_int_equal(at, instant("2026-10-25T00:00"));
    assert_true(window_closes_at(&week, zone, at, &at, &on_close));
    assert_int_equal(at, instant("2026-10-25T02:00"));
    /* 29 March 2026: no 02:00 at all; the next night is the next chance. */
    assert_true(window_next_open(&week, zone, instant("2026-03-28T12:00"), &at));
    assert_int_equal(at, instant("2026-03-30T00:00"));
    zone_free(zone);
}

static void a_part_of_a_repeated_hour_opens_twice(void **state)
{
    Zone *zone = zone_named("Europe/Berlin");
    WindowWeek week = {0};
    Window part = window_of("01:00-02:30", 0x7f, WINDOW_THROTTLE);
    int64_t at;
    WindowClose on_close;
    (void)state;
    window_add(&week, &part);
    assert_true(window_closes_at(&week, zone, instant("2026-10-24T23:00"), &at, &on_close));
    assert_int_equal(at, instant("2026-10-25T00:30"));
    assert_true(window_next_open(&week, zone, at, &at));
    assert_int_equal(at, instant("2026-10-25T01:00"));
    assert_true(window_closes_at(&week, zone, at, &at, &on_close));
    assert_int_equal(at, instant("2026-10-25T01:30"));
    assert_int_equal(on_close, WINDOW_THROTTLE);
    zone_free(zone);
}

static void the_daytime_of_the_form_lets_methods_in_by_hour(void **state)
{
    /* 08-18 hot; 02-06 any; Sunday 01-02 cold. */
    Zone *zone = zone_named("UTC");
    Window day = window_of("08:00-18:00", 0x7f, WINDOW_FINISH);
    Window night = window_of("02:00-06:00", 0x7f, WINDOW_FINISH);
    Window sunday = window_of("01:00-02:00", 1, WINDOW_FINISH);
    WindowWeek hot = {0};
    WindowWeek cold = {0};
    int64_t at;
    WindowClose on_close;
    (void)state;
    window_add(&hot, &day);
    window_add(&hot, &night);
    window_add(&cold, &night);
    window_add(&cold, &sunday);
    assert_true(window_open_at(&hot, zone, instant("2026-11-20T12:00")));
    assert_false(window_open_at(&cold, zone, instant("2026-11-20T12:00")));
    assert_false(window_open_at(&hot, zone, instant("2026-11-20T19:00")));
    assert_true(window_next_open(&cold, zone, instant("2026-11-21T12:00"), &at));
    assert_int_equal(at, instant("2026-11-22T01:00"));
    /* Two that touch are one. */
    assert_true(window_closes_at(&cold, zone, at, &at, &on_close));
    assert_int_equal(at, instant("2026-11-22T06:00"));
    zone_free(zone);
}

static void no_windows_are_always_open_and_none_for_a_method_never(void **state)
{
    Zone *zone = zone_named("UTC");
    WindowWeek free_week = {0};
    WindowWeek barred = {.limited = true};
    WindowWeek whole = {0};
    Window always = window_of("00:00-24:00", 0x7f, WINDOW_CANCEL);
    int64_t at;
    WindowClose on_close;
    (void)state;
    window_add(&whole, &always);
    assert_true(window_open_at(&free_week, zone, 0));
    assert_true(window_next_open(&free_week, zone, 12345, &at));
    assert_int_equal(at, 12345);
    assert_false(window_closes_at(&free_week, zone, 12345, &at, &on_close));
    assert_false(window_open_at(&barred, zone, 0));
    assert_false(window_next_open(&barred, zone, 0, &at));
    assert_true(window_open_at(&whole, zone, 0));
    assert_false(window_closes_at(&whole, zone, 0, &at, &on_close));
    zone_free(zone);
}

static void a_wrong_span_is_told_what_to_write(void **state)
{
    static const char *const bad[] = {"",           "22-06",       "22:00",       "22:00-25:00",
                                      "22:60-6:00", "22:00-22:00", "24:00-06:00", "22:00-06:00 ",
                                      "aa:bb-cc:dd"};
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        int from;
        int to;
        Err err = {0};
        assert_false(window_hours(text_of(bad[i]), &from, &to, &err));
        assert_string_equal(err.cause, "window.hours");
    }
}

/* --- by chance -------------------------------------------------------------------------------- */

static Window random_window(unsigned *dice)
{
    static const int edges[] = {0, 30, 60, 90, 120, 135, 150, 180, 360, 1320, 1380, 1425};
    Window window = {.days = (uint8_t)(rand_r(dice) % 127 + 1),
                     .on_close = (WindowClose)(rand_r(dice) % WINDOW_CLOSES)};
    window.from = rand_r(dice) % 2 == 0 ? edges[rand_r(dice) % 12] : rand_r(dice) % 1440;
    do
        window.to = rand_r(dice) % 2 == 0 ? edges[rand_r(dice) % 12] : rand_r(dice) % 1441;
    while (window.to == window.from);
    return window;
}

/* What the windows said that closed last, an hour at most of repeated or skipped clock aside. */
static void closed_as_it_was_said(const Window *windows, size_t count, const WindowWeek *week,
                                  const Zone *zone, int64_t at)
{
    int64_t close = at / 60 * 60;
    int64_t least = at - 6 * 86400;
    while (close > least && !slow_open(windows, count, zone, close - 60))
        close -= 60;
    bool steady = zone_offset(zone, at) == zone_offset(zone, close - 1);
    if (close > least && steady)
        assert_int_equal(window_closed_as(week, zone, at),
                         slow_on_close(windows, count, zone, close));
}

static void windows_agree_with_asking_every_minute(void **state)
{
    /* Each with an instant near which its clocks do something. */
    static const struct {
        const char *zone, *near;
    } places[] = {
        {"Europe/Berlin", "2026-03-29T01:00"},       {"Europe/Berlin", "2026-10-25T01:00"},
        {"Australia/Lord_Howe", "2026-04-04T15:00"}, {"Australia/Lord_Howe", "2026-10-03T15:30"},
        {"Pacific/Apia", "2011-12-30T10:00"},        {"America/Sao_Paulo", "2018-02-18T02:00"},
        {"Asia/Beirut", "2024-03-30T22:00"},         {"Antarctica/Troll", "2026-10-25T01:00"},
        {"Africa/Casablanca", "2026-02-15T02:00"},   {"Asia/Kathmandu", "2026-06-01T00:00"},
        {"Europe/Dublin", "2051-10-29T01:00"},       {"UTC", "2026-01-01T00:00"},
    };
    unsigned dice = 5;
    (void)state;
    for (int n = 0; n < 600; n++) {
        Zone *zone = zone_named(places[n % 12].zone);
        WindowWeek week = {0};
        Window windows[3];
        size_t count = (size_t)rand_r(&dice) % 3 + 1;
        for (size_t i = 0; i < count; i++) {
            windows[i] = random_window(&dice);
            window_add(&week, &windows[i]);
        }
        int64_t at = instant(places[n % 12].near) + rand_r(&dice) % (4 * 86400) - 2 * 86400;
        bool open = slow_open(windows, count, zone, at);
        assert_int_equal(window_open_at(&week, zone, at), open);
        /* Whole minutes after this one, and no further than three weeks. */
        int64_t other = at;
        int64_t end = at + 21 * 86400;
        do
            other = (other / 60 + 1) * 60;
        while (other < end && slow_open(windows, count, zone, other) == open);
        int64_t found;
        WindowClose on_close;
        if (open) {
            assert_true(window_next_open(&week, zone, at, &found));
            assert_int_equal(found, at);
            assert_int_equal(window_closes_at(&week, zone, at, &found, &on_close), other < end);
            if (other < end)
                assert_int_equal(on_close, slow_on_close(windows, count, zone, other));
        } else {
            assert_int_equal(window_next_open(&week, zone, at, &found), other < end);
            closed_as_it_was_said(windows, count, &week, zone, at);
        }
        if (other < end)
            assert_int_equal(found, other);
        zone_free(zone);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hours_across_midnight_belong_to_the_day_they_begin_on),
        cmocka_unit_test(a_repeated_hour_is_inside_twice_and_a_skipped_one_opens_nothing),
        cmocka_unit_test(a_part_of_a_repeated_hour_opens_twice),
        cmocka_unit_test(the_daytime_of_the_form_lets_methods_in_by_hour),
        cmocka_unit_test(no_windows_are_always_open_and_none_for_a_method_never),
        cmocka_unit_test(a_wrong_span_is_told_what_to_write),
        cmocka_unit_test(windows_agree_with_asking_every_minute),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
