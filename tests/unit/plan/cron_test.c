/* SPDX-License-Identifier: Apache-2.0
 * Rules, zones, gaps and folds. tests/unit/plan/cron_compare.py holds cron_next against Python's
 * zoneinfo by brute force, through this program's --next mode. */
#include "scheduler/plan/civil.h"
#include "scheduler/plan/cron.h"
#include "scheduler/plan/due.h"

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

static void a_hash_is_stable_and_inside_its_range(void **state)
{
    Cron cron;
    Err err = {0};
    char name[32];
    (void)state;
    for (int i = 0; i < 500; i++) {
        snprintf(name, sizeof name, "source-%d", i);
        assert_true(cron_parse(TEXT("H(10-20) H H * *"), text_of(name), &cron, &err));
        assert_int_equal(cron.minutes & ~(((1ull << 11) - 1) << 10), 0);
        assert_int_not_equal(cron.minutes, 0);
        assert_int_equal(cron.days >> 29, 0);
    }
}

static void wrong_rules_are_refused_by_field(void **state)
{
    static const char *const bad[] = {
        "",          "* * * *",     "60 * * * *",  "* 24 * * *",   "* * 0 * *", "* * * 13 *",
        "* * * * 8", "5-1 * * * *", "*/0 * * * *", "1,,2 * * * *", "a * * * *", "* * * * * *",
        "every 3",   "every 500ms", "@never",      "H(5 * * * *"};
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        Cron cron;
        Err err = {0};
        assert_false(cron_parse(text_of(bad[i]), TEXT("x"), &cron, &err));
        assert_int_equal(err.code, ERR_INVALID);
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

static DueRule rule_of(const char *text, Zone **zone)
{
    DueRule rule = {.catch_up = true};
    Err err = {0};
    assert_true(cron_parse(text_of(text), TEXT("x"), &rule.cron, &err));
    assert_true(zone_open(zone, TEXT("UTC"), &err));
    rule.zone = *zone;
    return rule;
}

static void after_a_pause_only_the_newest_slot_runs(void **state)
{
    Zone *zone;
    DueRule rule = rule_of("0 * * * *", &zone);
    DueList due;
    (void)state;
    due_slots(&rule, instant("2026-02-03T00:00") * 1000000000,
              instant("2026-02-03T05:30") * 1000000000, &due);
    assert_int_equal(due.count, 5);
    for (size_t i = 0; i < due.count; i++)
        assert_int_equal(due.slots[i].missed, i + 1 != due.count);
    assert_int_equal(due.slots[4].slot_ns, instant("2026-02-03T05:00") * 1000000000);
    zone_free(zone);
}

static void without_catching_up_a_late_slot_is_missed(void **state)
{
    Zone *zone;
    DueRule rule = rule_of("0 2 * * *", &zone);
    DueList due;
    (void)state;
    rule.catch_up = false;
    due_slots(&rule, instant("2026-02-03T00:00") * 1000000000,
              instant("2026-02-03T04:00") * 1000000000, &due);
    assert_int_equal(due.count, 1);
    assert_true(due.slots[0].missed);
    due_slots(&rule, instant("2026-02-03T00:00") * 1000000000,
              instant("2026-02-03T02:01") * 1000000000, &due);
    assert_false(due.slots[0].missed);
    zone_free(zone);
}

static void a_slot_past_its_deadline_is_missed(void **state)
{
    Zone *zone;
    DueRule rule = rule_of("0 2 * * *", &zone);
    DueList due;
    (void)state;
    rule.start_deadline_s = 3600;
    due_slots(&rule, instant("2026-02-03T00:00") * 1000000000,
              instant("2026-02-03T03:30") * 1000000000, &due);
    assert_true(due.slots[0].missed);
    assert_int_equal(due.slots[0].start_by_ns, instant("2026-02-03T03:00") * 1000000000);
    zone_free(zone);
}

static void a_century_of_slots_costs_no_more_than_a_hundred_rows(void **state)
{
    Zone *zone;
    DueRule rule = rule_of("0 0 * * *", &zone);
    DueList due;
    (void)state;
    due_slots(&rule, 0, instant("2026-02-03T00:00") * 1000000000, &due);
    assert_int_equal(due.count, DUE_MOST);
    assert_true(due.dropped > 20000);
    zone_free(zone);
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

/* stdin: lines "zone|rule|after|count"; stdout: that many instants each, for cron_compare.py. */
static int answer_lines(void)
{
    char line[512];
    while (fgets(line, sizeof line, stdin) != NULL) {
        Cron cron;
        Zone *zone = NULL;
        Err err = {0};
        char *rest = line;
        char *zone_name = strsep(&rest, "|");
        char *rule = strsep(&rest, "|");
        char *after = strsep(&rest, "|");
        if (rest == NULL || !cron_parse(text_of(rule), TEXT("x"), &cron, &err) ||
            !zone_open(&zone, text_of(zone_name), &err)) {
            fprintf(stderr, "%s\n", err.text);
            return 1;
        }
        int64_t at = strtoll(after, NULL, 10);
        for (long i = strtol(rest, NULL, 10); i > 0 && cron_next(&cron, zone, at, &at); i--)
            printf("%lld ", (long long)at);
        puts("");
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
        cmocka_unit_test(a_hash_is_stable_and_inside_its_range),
        cmocka_unit_test(wrong_rules_are_refused_by_field),
        cmocka_unit_test(zone_names_cannot_leave_their_directory),
        cmocka_unit_test(after_a_pause_only_the_newest_slot_runs),
        cmocka_unit_test(without_catching_up_a_late_slot_is_missed),
        cmocka_unit_test(a_slot_past_its_deadline_is_missed),
        cmocka_unit_test(a_century_of_slots_costs_no_more_than_a_hundred_rows),
        cmocka_unit_test(days_and_instants_agree_with_the_c_library),
    };
    if (argc == 2 && strcmp(argv[1], "--next") == 0)
        return answer_lines();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
