/* SPDX-License-Identifier: Apache-2.0
 * What a rule may say, which values it means, how a fleet's hashes spread, and what a wrong rule is
 * told. */
#include "scheduler/plan/cron.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>

static Cron parsed(const char *text, const char *name)
{
    Cron cron;
    Err err = {0};
    if (!cron_parse(text_of(text), text_of(name), &cron, &err))
        fail_msg("%s: %s", text, err.text);
    return cron;
}

static uint64_t bits(int first, ...)
{
    uint64_t out = 0;
    va_list more;
    va_start(more, first);
    for (int n = first; n >= 0; n = va_arg(more, int))
        out |= 1ull << n;
    va_end(more);
    return out;
}

static void each_way_to_write_a_field_means_its_values(void **state)
{
    static const uint64_t EVERY_HOUR = (1u << 24) - 1;
    (void)state;
    assert_int_equal(parsed("5 * * * *", "x").minutes, bits(5, -1));
    assert_int_equal(parsed("*/20 * * * *", "x").minutes, bits(0, 20, 40, -1));
    assert_int_equal(parsed("10/20 * * * *", "x").minutes, bits(10, 30, 50, -1));
    assert_int_equal(parsed("1-10/4,59 * * * *", "x").minutes, bits(1, 5, 9, 59, -1));
    assert_int_equal(parsed("0 */6 * * *", "x").hours, bits(0, 6, 12, 18, -1));
    assert_int_equal(parsed("0 * * * *", "x").hours, EVERY_HOUR);
    assert_int_equal(parsed("0 0 * JAN,mar-May *", "x").months, bits(1, 3, 4, 5, -1));
    assert_int_equal(parsed("0 0 * * MON-fri", "x").weekdays, bits(1, 2, 3, 4, 5, -1));
    assert_int_equal(parsed("0 0 * * 7", "x").weekdays, bits(0, -1));
    assert_int_equal(parsed("0 0 * * 5-7", "x").weekdays, bits(5, 6, 0, -1));
    assert_int_equal(parsed("0 0 * * sat-sun", "x").weekdays, bits(6, 0, -1));
    assert_int_equal(parsed("0\t0  1-31/10 * *", "x").days, bits(1, 11, 21, 31, -1));
}

static void only_a_rule_for_all_hours_follows_elapsed_time(void **state)
{
    (void)state;
    assert_true(parsed("0 * * * *", "x").every_hour);
    assert_true(parsed("0 */1 * * *", "x").every_hour);
    assert_true(parsed("0 0-23 * * *", "x").every_hour);
    assert_false(parsed("0 0-22 * * *", "x").every_hour);
    assert_false(parsed("0 */2 * * *", "x").every_hour);
}

static void a_hash_never_moves(void **state)
{
    (void)state;
    /* These instants are promises to every fleet that runs. */
    assert_int_equal(parsed("H 1 * * *", "orders-pg").minutes, bits(10, -1));
    assert_int_equal(parsed("@daily", "orders-pg").hours, bits(22, -1));
    assert_int_equal(parsed("@monthly", "wiki-files").days, bits(1, -1));
    assert_int_equal(parsed("@weekly", "wiki-files").weekdays, bits(2, -1));
}

static void a_hash_stays_inside_what_was_asked(void **state)
{
    char name[32];
    (void)state;
    for (int i = 0; i < 2000; i++) {
        snprintf(name, sizeof name, "source-%d", i);
        Cron cron = parsed("H(10-20) H(0-7) H H *", name);
        assert_int_equal(__builtin_popcountll(cron.minutes), 1);
        assert_int_equal(cron.minutes & ~(((1ull << 11) - 1) << 10), 0);
        assert_int_equal(cron.hours & ~0xffu, 0);
        assert_int_equal(cron.days >> 29, 0);
        cron = parsed("H/15 H/6 * * *", name);
        assert_int_equal(__builtin_popcountll(cron.minutes), 4);
        int first = __builtin_ctzll(cron.minutes);
        assert_int_equal(cron.minutes, bits(first, first + 15, first + 30, first + 45, -1));
        assert_int_equal(__builtin_popcountll(cron.hours), 4);
        cron = parsed("H(0-29)/10 0 * * *", name);
        first = __builtin_ctzll(cron.minutes);
        assert_true(first < 10);
        assert_int_equal(cron.minutes, bits(first, first + 10, first + 20, -1));
        assert_int_equal(parsed("@midnight", name).hours & ~7u, 0);
    }
}

/* Chi-squared of counts against an even spread; its mean is cells - 1, its deviation sqrt(2 cells).
 */
static double unevenness(const unsigned *counts, size_t cells, size_t total)
{
    double sum = 0;
    double expected = (double)total / (double)cells;
    for (size_t i = 0; i < cells; i++)
        sum += ((double)counts[i] - expected) * ((double)counts[i] - expected) / expected;
    return sum;
}

/* 14 400 names of the kinds that fleets have: ten for each minute of a day. Five deviations. */
static void a_daily_fleet_spreads_over_all_minutes_of_the_day(void **state)
{
    static const char *const forms[] = {"source-", "db", "prod/eu-west/host-postgresql-0"};
    enum { NAMES = 14400 };
    (void)state;
    for (size_t form = 0; form < sizeof forms / sizeof *forms; form++) {
        unsigned minute[60] = {0};
        unsigned hour[24] = {0};
        unsigned both[1440] = {0};
        unsigned week[7 * 24] = {0};
        for (int i = 0; i < NAMES; i++) {
            char name[64];
            snprintf(name, sizeof name, "%s%d", forms[form], i);
            Cron cron = parsed("@weekly", name);
            int m = __builtin_ctzll(cron.minutes);
            int h = __builtin_ctz(cron.hours);
            minute[m]++;
            hour[h]++;
            both[h * 60 + m]++;
            week[__builtin_ctz(cron.weekdays) * 24 + h]++;
        }
        assert_true(unevenness(minute, 60, NAMES) < 59 + 5 * 11);
        assert_true(unevenness(hour, 24, NAMES) < 23 + 5 * 7);
        assert_true(unevenness(both, 1440, NAMES) < 1439 + 5 * 54);
        assert_true(unevenness(week, 168, NAMES) < 167 + 5 * 19);
    }
}

static void intervals_count_from_1970(void **state)
{
    Zone *zone;
    Err err = {0};
    int64_t at;
    (void)state;
    Cron cron = parsed("every 6h", "x");
    assert_true(zone_open(&zone, TEXT("Europe/Berlin"), &err));
    assert_true(cron_next(&cron, zone, 1774742399, &at)); /* a second before midnight UTC */
    assert_int_equal(at, 1774742400);
    assert_true(cron_next(&cron, zone, at, &at));
    assert_int_equal(at, 1774742400 + 6 * 3600);
    assert_true(cron_prev(&cron, zone, at, &at));
    assert_int_equal(at, 1774742400);
    assert_true(cron_prev(&cron, zone, at + 1, &at));
    assert_int_equal(at, 1774742400);
    zone_free(zone);
}

static void a_wrong_rule_is_told_where_and_what_to_write(void **state)
{
    static const struct {
        const char *rule;
        size_t column;
        const char *text;
    } cases[] = {
        {"", 1, "fewer than five fields"},
        {"* * * *", 8, "fewer than five fields"},
        {"* * * * * *", 11, "more than five fields"},
        {"60 * * * *", 1, "column 1 of '60 * * * *': '60' is not a minute (0-59)"},
        {"*  24 * * *", 4, "column 4 of '*  24 * * *': '24' is not an hour (0-23)"},
        {"0 0 0 * *", 5, "'0' is not a day of the month (1-31)"},
        {"0 0 * 13 *", 7, "'13' is not a month (1-12 or jan-dec)"},
        {"0 0 * * mon,8", 13, "'8' is not a day of the week"},
        {"0 0 * * sunday", 9, "'sunday' is not a day of the week"},
        {"0 0 * foo *", 7, "'foo' is not a month"},
        {"5-1 * * * *", 1, "'5-1' runs backwards"},
        {"0 0 * * fri-mon", 9, "'fri-mon' runs backwards"},
        {"*/0 * * * *", 1, "the step of '*/0' is not one of 1-59"},
        {"0 H/25 * * *", 3, "the step of 'H/25' is not one of 1-24"},
        {"0 0 H/29 * *", 5, "the step of 'H/29' is not one of 1-28"},
        {"1,,2 * * * *", 3, "a minute is missing"},
        {"1, * * * *", 3, "a minute is missing"},
        {"h 2 * * *", 1, "write a capital H"},
        {"0 0 ? * *", 5, "write * instead of ?"},
        {"0 0 L * *", 5, "take 28"},
        {"H(5 * * * *", 2, "'(5' is not a minute"},
        {"0 H(0-30) * * *", 7, "'30)' is not an hour"},
        {"-1 * * * *", 1, "'-1' is not a minute"},
        {"12345 * * * *", 1, "'12345' is not a minute"},
        {"@never", 1, "@hourly @daily @midnight @weekly @monthly @yearly are"},
        {"@reboot", 1, "initial: true"},
        {"every 3", 7, "column 7"},
        {"every 500ms", 7, "whole seconds"},
        {"0 2 30 feb *", 0, "never due"},
        {"0 2 31 4,6,9,11 *", 0, "never due"},
        {"0 2 30 2 */2", 0, "never due"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        Cron cron;
        Err err = {0};
        size_t column;
        if (cron_parse_at(text_of(cases[i].rule), TEXT("x"), &cron, &column, &err))
            fail_msg("'%s' was taken", cases[i].rule);
        assert_int_equal(err.code, ERR_INVALID);
        if (strstr(err.text, cases[i].text) == NULL)
            fail_msg("'%s': %s, not %s", cases[i].rule, err.text, cases[i].text);
        if (cases[i].column != 0 && column != cases[i].column)
            fail_msg("'%s': column %zu: %s", cases[i].rule, column, err.text);
    }
}

static void either_day_field_is_enough_to_come(void **state)
{
    (void)state;
    /* A weekday alone does, so that 30 February does not matter. */
    (void)parsed("0 2 30 2 mon", "x");
    (void)parsed("0 2 29 2 *", "x");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_way_to_write_a_field_means_its_values),
        cmocka_unit_test(only_a_rule_for_all_hours_follows_elapsed_time),
        cmocka_unit_test(a_hash_never_moves),
        cmocka_unit_test(a_hash_stays_inside_what_was_asked),
        cmocka_unit_test(a_daily_fleet_spreads_over_all_minutes_of_the_day),
        cmocka_unit_test(intervals_count_from_1970),
        cmocka_unit_test(a_wrong_rule_is_told_where_and_what_to_write),
        cmocka_unit_test(either_day_field_is_enough_to_come),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
