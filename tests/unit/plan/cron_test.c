/* SPDX-License-Identifier: Apache-2.0
 * Rules, zones, gaps and folds. tests/unit/plan/cron_compare.py holds cron_next against Python's
 * zoneinfo by brute force, through this program's --slots mode. */
#include "scheduler/plan/civil.h"
#include "scheduler/plan/cron.h"

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

static int64_t next_of(const char *rule, const char *zone_name, int64_t after)
{
    Cron cron;
    Zone *zone;
    Err err = {0};
    int64_t next;
    assert_true(cron_parse(text_of(rule), TEXT("orders-pg"), &cron, &err));
    assert_true(zone_open(&zone, text_of(zone_name), &err));
    assert_true(cron_next(&cron, zone, after, &next));
    zone_free(zone);
    return next;
}

static void a_skipped_wall_time_runs_at_the_end_of_the_gap(void **state)
{
    (void)state;
    /* Berlin, 29 March 2026: 02:00 becomes 03:00, which is 01:00 UTC. */
    assert_int_equal(next_of("30 2 * * *", "Europe/Berlin", instant("2026-03-28T12:00")),
                     instant("2026-03-29T01:00"));
    assert_int_equal(next_of("30 2 * * *", "Europe/Berlin", instant("2026-03-29T01:00")),
                     instant("2026-03-30T00:30"));
}

static void a_repeated_wall_time_runs_the_first_time_only(void **state)
{
    (void)state;
    /* Berlin, 25 October 2026: 03:00 becomes 02:00; 02:30 is 00:30 and 01:30 UTC. */
    int64_t first = next_of("30 2 * * *", "Europe/Berlin", instant("2026-10-24T12:00"));
    assert_int_equal(first, instant("2026-10-25T00:30"));
    assert_int_equal(next_of("30 2 * * *", "Europe/Berlin", first), instant("2026-10-26T01:30"));
}

static void a_rule_for_every_hour_follows_elapsed_time(void **state)
{
    int64_t at = instant("2026-10-24T23:30");
    (void)state;
    for (int i = 0; i < 4; i++) {
        int64_t next = next_of("0 * * * *", "Europe/Berlin", at);
        assert_int_equal(next - at, i == 0 ? 1800 : 3600);
        at = next;
    }
}

static void either_day_field_may_match_when_both_are_restricted(void **state)
{
    (void)state;
    assert_int_equal(next_of("0 0 13 * 5", "UTC", instant("2026-02-01T00:00")),
                     instant("2026-02-06T00:00"));
    assert_int_equal(next_of("0 0 13 * *", "UTC", instant("2026-02-01T00:00")),
                     instant("2026-02-13T00:00"));
    assert_int_equal(next_of("0 0 * * sun", "UTC", instant("2026-02-03T00:00")),
                     instant("2026-02-08T00:00"));
    assert_int_equal(next_of("0 0 29 2 *", "UTC", instant("2026-02-03T00:00")),
                     instant("2028-02-29T00:00"));
}

/* The same wall time under each rule for skipped and repeated times, in places that are unusual. */
static void clocks_that_jump_unusually(void **state)
{
    static const struct {
        const char *zone, *rule, *after, *next;
    } cases[] = {
        /* Lord Howe: half an hour of daylight time, 02:00 becomes 02:30. */
        {"Australia/Lord_Howe", "15 2 * * *", "2026-10-03T00:00", "2026-10-03T15:30"},
        {"Australia/Lord_Howe", "45 1 * * *", "2026-04-04T00:00", "2026-04-04T14:45"},
        {"Australia/Lord_Howe", "45 1 * * *", "2026-04-04T14:45", "2026-04-05T15:15"},
        /* Apia had no 30 December 2011. */
        {"Pacific/Apia", "0 12 30 12 *", "2011-12-29T00:00", "2011-12-30T10:00"},
        {"Pacific/Apia", "0 2 * * *", "2011-12-29T12:00", "2011-12-30T10:00"},
        {"Pacific/Apia", "0 2 * * *", "2011-12-30T10:00", "2011-12-30T12:00"},
        {"Pacific/Apia", "0 * 30 12 *", "2011-12-29T00:00", "2012-12-29T10:00"},
        /* Dublin: its winter time is the exception, by a rule with negative daylight time. */
        {"Europe/Dublin", "30 1 * * *", "2045-03-25T12:00", "2045-03-26T01:00"},
        {"Europe/Dublin", "30 1 * * *", "2045-10-28T12:00", "2045-10-29T00:30"},
        /* Sao Paulo and Beirut changed at midnight: the day began at 01:00. */
        {"America/Sao_Paulo", "0 0 * * *", "2018-11-03T12:00", "2018-11-04T03:00"},
        {"Asia/Beirut", "30 0 * * *", "2024-03-30T12:00", "2024-03-30T22:00"},
        /* Troll: two hours at once. */
        {"Antarctica/Troll", "30 1 * * *", "2026-03-28T12:00", "2026-03-29T01:00"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        int64_t next = next_of(cases[i].rule, cases[i].zone, instant(cases[i].after));
        if (next != instant(cases[i].next))
            fail_msg("%s '%s': %lld instead of %s", cases[i].zone, cases[i].rule, (long long)next,
                     cases[i].next);
    }
}

static void the_rarest_date_still_comes(void **state)
{
    (void)state;
    /* A leap day that is also one of every seventh weekdays: a Sunday, 28 years after the last. */
    assert_int_equal(next_of("0 0 29 2 */7", "UTC", instant("2004-02-29T00:00")),
                     instant("2032-02-29T00:00"));
    /* 2100 is no leap year. */
    assert_int_equal(next_of("0 0 29 2 *", "UTC", instant("2096-02-29T00:00")),
                     instant("2104-02-29T00:00"));
    assert_int_equal(next_of("0 0 29 2 */7", "UTC", instant("2088-02-29T00:00")),
                     instant("2128-02-29T00:00"));
}

static void the_slot_before_is_found_in_a_repeated_hour(void **state)
{
    Cron cron;
    Zone *zone;
    Err err = {0};
    int64_t prev;
    (void)state;
    /* Berlin, 25 October 2026: 02:30 and 02:45 were shown at 00:30 and 00:45 UTC; at 01:10 UTC
     * clocks show 02:10 again. */
    assert_true(cron_parse(TEXT("30,45 2 * * *"), TEXT("x"), &cron, &err));
    assert_true(zone_open(&zone, TEXT("Europe/Berlin"), &err));
    assert_true(cron_prev(&cron, zone, instant("2026-10-25T01:10"), &prev));
    assert_int_equal(prev, instant("2026-10-25T00:45"));
    assert_true(cron_prev(&cron, zone, prev, &prev));
    assert_int_equal(prev, instant("2026-10-25T00:30"));
    assert_true(cron_prev(&cron, zone, prev, &prev));
    assert_int_equal(prev, instant("2026-10-24T00:45"));
    zone_free(zone);
}

static void zones_that_count_leap_seconds_are_refused(void **state)
{
    Zone *zone;
    Err err = {0};
    (void)state;
    assert_false(zone_open(&zone, TEXT("right/Europe/Berlin"), &err));
    assert_string_equal(err.cause, "zone.unknown");
}

/* Stretches touch each other, and instants never decrease. */
static void stretches_of_time_are_whole(void **state)
{
    static const char *const names[] = {"Europe/Berlin", "Europe/Dublin",  "Africa/Casablanca",
                                        "Pacific/Apia",  "Asia/Gaza",      "UTC",
                                        "Etc/GMT+5",     "Africa/Monrovia"};
    (void)state;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        Zone *zone;
        Err err = {0};
        assert_true(zone_open(&zone, text_of(names[i]), &err));
        ZoneSpan span = zone_span(zone, instant("1900-01-01T00:00"));
        while (span.until < instant("2150-01-01T00:00")) {
            ZoneSpan next = zone_span(zone, span.until);
            assert_int_equal(next.from, span.until);
            assert_int_equal(zone_span(zone, next.from - 1).until, next.from);
            span = next;
        }
        int64_t last = INT64_MIN;
        for (int64_t wall = instant("2010-01-01T00:00"); wall < instant("2013-01-01T00:00");
             wall += 1800) {
            int64_t at = zone_instant(zone, wall);
            assert_true(at >= last);
            last = at;
        }
        zone_free(zone);
    }
}

static void zone_names_cannot_leave_their_directory(void **state)
{
    static const char *const bad[] = {
        "", "../etc/passwd", "/etc/localtime", "Europe/../UTC", "Mars/Base", "Europe/", "a\nb"};
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        Zone *zone;
        Err err = {0};
        assert_false(zone_open(&zone, text_of(bad[i]), &err));
        assert_string_equal(err.cause, "zone.unknown");
    }
}

static void days_and_instants_agree_with_the_c_library(void **state)
{
    (void)state;
    for (int64_t at = -3000000000; at < 9000000000; at += 86400 * 17 + 4567) {
        struct tm tm;
        time_t when = (time_t)at;
        gmtime_r(&when, &tm);
        Civil civil = civil_of(at);
        assert_int_equal(civil.year, tm.tm_year + 1900);
        assert_int_equal(civil.month, tm.tm_mon + 1);
        assert_int_equal(civil.day, tm.tm_mday);
        assert_int_equal(civil.hour, tm.tm_hour);
        assert_int_equal(civil.weekday, tm.tm_wday);
        assert_int_equal(civil_days(civil.year, civil.month, civil.day),
                         (at - (civil.hour * 3600 + civil.minute * 60 + civil.second)) / 86400);
    }
}

/* Writes how many slots lie in (from, until], whether cron_prev walks back over the same ones, and
 * the slots themselves, as 64-bit numbers. */
static bool answer(const Cron *cron, const Zone *zone, int64_t from, int64_t until)
{
    int64_t *slots = NULL;
    int64_t count = 0;
    int64_t room = 0;
    int64_t at = from;
    while (cron_next(cron, zone, at, &at) && at <= until) {
        if (count == room) {
            room = room == 0 ? 4096 : room * 2;
            slots = realloc(slots, (size_t)room * sizeof *slots);
            assert_non_null(slots);
        }
        slots[count++] = at;
    }
    int64_t back = count;
    at = until + 1;
    while (cron_prev(cron, zone, at, &at) && at > from && back > 0 && slots[back - 1] == at)
        back--;
    int64_t same = back == 0;
    bool written = fwrite(&count, sizeof count, 1, stdout) == 1 &&
                   fwrite(&same, sizeof same, 1, stdout) == 1 &&
                   fwrite(slots, sizeof *slots, (size_t)count, stdout) == (size_t)count;
    free(slots);
    return written;
}

/* stdin: lines "zone|source|rule|from|until"; stdout: answers, for cron_compare.py. */
static int answer_lines(void)
{
    char line[512];
    while (fgets(line, sizeof line, stdin) != NULL) {
        Cron cron;
        Zone *zone = NULL;
        Err err = {0};
        char *rest = line;
        char *zone_name = strsep(&rest, "|");
        char *source = strsep(&rest, "|");
        char *rule = strsep(&rest, "|");
        char *from = strsep(&rest, "|");
        if (rest == NULL || !cron_parse(text_of(rule), text_of(source), &cron, &err) ||
            !zone_open(&zone, text_of(zone_name), &err) ||
            !answer(&cron, zone, strtoll(from, NULL, 10), strtoll(rest, NULL, 10))) {
            fprintf(stderr, "%s: %s\n", rule, err.text);
            return 1;
        }
        zone_free(zone);
    }
    return 0;
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_skipped_wall_time_runs_at_the_end_of_the_gap),
        cmocka_unit_test(a_repeated_wall_time_runs_the_first_time_only),
        cmocka_unit_test(a_rule_for_every_hour_follows_elapsed_time),
        cmocka_unit_test(either_day_field_may_match_when_both_are_restricted),
        cmocka_unit_test(clocks_that_jump_unusually),
        cmocka_unit_test(the_rarest_date_still_comes),
        cmocka_unit_test(the_slot_before_is_found_in_a_repeated_hour),
        cmocka_unit_test(zones_that_count_leap_seconds_are_refused),
        cmocka_unit_test(stretches_of_time_are_whole),
        cmocka_unit_test(zone_names_cannot_leave_their_directory),
        cmocka_unit_test(days_and_instants_agree_with_the_c_library),
    };
    if (argc == 2 && strcmp(argv[1], "--slots") == 0)
        return answer_lines();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
