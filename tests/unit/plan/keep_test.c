/* SPDX-License-Identifier: Apache-2.0
 * With the argument `judge` it rules on the cases of its input, for keep_compare.py:
 * zone now failures min_good lock, then seven numbers of the copy's rules, the schedule with rules
 * of its own and seven of these, how many backups; each of them in a line: at started committed
 * sequence schedule quality proved in_use held locked. */
#include "common/base/mem.h"
#include "scheduler/plan/civil.h"
#include "scheduler/plan/keep.h"

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

enum { DAY = 86400, MOST = 2000 };

static const int64_t START = 1704070800; /* Monday 1 January 2024, 01:00 UTC */

typedef struct Story {
    KeepPolicy policy;
    KeepFacts facts;
    KeepBackup backups[MOST];
    KeepRuling rulings[MOST];
    size_t count;
    Zone *zone;
} Story;

static int begin(void **state)
{
    Err err = {0};
    Story *story = mem_new(Story);
    assert_true(zone_open(&story->zone, TEXT("Europe/Berlin"), &err));
    story->facts = (KeepFacts){.now_s = START, .zone = story->zone};
    story->policy.min_good = 1;
    *state = story;
    return 0;
}

static int end(void **state)
{
    Story *story = *state;
    zone_free(story->zone);
    mem_free(story);
    return 0;
}

static KeepBackup *add(Story *story, int64_t at_s)
{
    KeepBackup *backup = &story->backups[story->count++];
    assert_true(story->count <= MOST);
    *backup = (KeepBackup){.at_s = at_s,
                           .started_s = at_s,
                           .committed_s = at_s + 60,
                           .sequence = story->count == 1 ? 1 : backup[-1].sequence + 1,
                           .schedule = TEXT("default"),
                           .quality = KEEP_GOOD};
    if (story->facts.now_s < at_s + 120)
        story->facts.now_s = at_s + 120;
    return backup;
}

static void days(Story *story, int count)
{
    for (int i = 0; i < count; i++)
        add(story, START + (int64_t)i * DAY);
}

static size_t decide(Story *story)
{
    size_t kept = 0;
    keep_decide(&story->policy, &story->facts, story->backups, story->count, story->rulings);
    for (size_t i = 0; i < story->count; i++)
        kept += story->rulings[i].why != 0;
    return kept;
}

static void says(Story *story, size_t i, const char *words)
{
    scoped(buf_free) Buf out = {0};
    keep_words(&story->policy, &story->facts, &story->backups[i], &story->rulings[i], &out);
    assert_string_equal(buf_cstr(&out), words);
}

static void without_rules_nothing_ever_expires(void **state)
{
    Story *story = *state;
    days(story, 400);
    assert_int_equal(decide(story), 400);
    says(story, 0, "no keep rule");
    says(story, 399, "the newest good one, the next one builds on it, no keep rule");
}

static void rules_unite_and_each_counts_by_itself(void **state)
{
    Story *story = *state;
    story->policy.copy.most[KEEP_DAILY] = 3;
    story->policy.copy.most[KEEP_WEEKLY] = 2;
    days(story, 28); /* 1 to 28 January: Sunday the 28th is the last */
    assert_int_equal(decide(story), 4);
    says(story, 27, "daily 1 of 3, weekly 1 of 2, the newest good one, the next one builds on it");
    says(story, 26, "daily 2 of 3");
    says(story, 25, "daily 3 of 3");
    says(story, 24, "no rule keeps it");
    says(story, 20, "weekly 2 of 2");
}

static void periods_without_a_backup_are_not_counted(void **state)
{
    Story *story = *state;
    story->policy.copy.most[KEEP_DAILY] = 3;
    days(story, 5);
    story->facts.now_s += 200 * DAY;
    assert_int_equal(decide(story), 3);
    add(story, story->facts.now_s);
    assert_int_equal(decide(story), 3);
    says(story, 3, "daily 3 of 3");
}

static void within_is_measured_from_the_newest_good_one(void **state)
{
    Story *story = *state;
    story->policy.copy.most[KEEP_WITHIN] = 2 * DAY;
    days(story, 5);
    story->facts.now_s += 50 * DAY;
    assert_int_equal(decide(story), 3);
    says(story, 2, "within 2d");
    says(story, 1, "no rule keeps it");
}

static void last_and_hourly(void **state)
{
    Story *story = *state;
    story->policy.copy.most[KEEP_LAST] = 2;
    story->policy.copy.most[KEEP_HOURLY] = 3;
    for (int i = 0; i < 12; i++)
        add(story, START + 20 * 60 * i); /* three an hour */
    assert_int_equal(decide(story), 4);
    says(story, 10, "last 2 of 2");
    says(story, 8, "hourly 2 of 3");
    says(story, 5, "hourly 3 of 3");
}

static void an_hour_that_clocks_show_twice_is_two_and_a_day_of_25_hours_is_one(void **state)
{
    Story *story = *state;
    int64_t twice = 1729987200; /* 27 October 2024, 02:00 CEST; 03:00 is 02:00 CET */
    story->policy.copy.most[KEEP_HOURLY] = 100;
    add(story, twice);
    add(story, twice + 1800);
    add(story, twice + 3600);
    assert_int_equal(decide(story), 2);
    story->policy.copy = (KeepRules){{0}};
    story->policy.copy.most[KEEP_DAILY] = 100;
    story->count = 0;
    add(story, twice - 2 * 3600);                 /* 00:00 */
    add(story, twice - 2 * 3600 + 25 * 3600 - 1); /* 23:59:59 of the same day */
    add(story, twice - 2 * 3600 + 25 * 3600);
    assert_int_equal(decide(story), 2);
    says(story, 0, "no rule keeps it");
}

static void days_are_those_of_the_zone(void **state)
{
    Story *story = *state;
    story->policy.copy.most[KEEP_DAILY] = 10;
    add(story, START - 2 * 3600 - 1800); /* 23:30 in Berlin, the same day in UTC as… */
    add(story, START - 2 * 3600 + 1800); /* …half past midnight in Berlin */
    assert_int_equal(decide(story), 2);
}

static void only_good_ones_count(void **state)
{
    Story *story = *state;
    story->policy.copy.most[KEEP_DAILY] = 2;
    days(story, 6);
    story->backups[5].quality = KEEP_PARTIAL;
    story->backups[4].quality = KEEP_PARTIAL;
    story->backups[1].quality = KEEP_PARTIAL;
    assert_int_equal(decide(story), 4);
    says(story, 5, "the next one builds on it, no newer good one (partial)");
    says(story, 4, "no newer good one (partial)");
    says(story, 3, "daily 1 of 2, the newest good one");
    says(story, 2, "daily 2 of 2");
    says(story, 1, "no rule keeps it (partial)");
}

static void a_failed_check_satisfies_no_rule_and_deletes_nothing(void **state)
{
    Story *story = *state;
    story->policy.copy.most[KEEP_DAILY] = 3;
    days(story, 6);
    story->backups[4].quality = KEEP_DOUBTFUL;
    assert_int_equal(decide(story), 4);
    says(story, 4, "daily 2 of 3 (not proved good: it counts for nothing)");
    says(story, 2, "daily 3 of 3");
    story->backups[1].quality = KEEP_DOUBTFUL;
    assert_int_equal(decide(story), 4);
    says(story, 1, "no rule keeps it (not proved good: it counts for nothing)");
}

static void the_last_good_one_and_min_good_stay(void **state)
{
    Story *story = *state;
    story->policy.copy.most[KEEP_LAST] = 1;
    days(story, 6);
    for (size_t i = 3; i < 6; i++)
        story->backups[i].quality = KEEP_PARTIAL;
    assert_int_equal(decide(story), 4);
    story->policy.min_good = 2;
    assert_int_equal(decide(story), 5);
    says(story, 1, "one of the newest 2 good ones");
    says(story, 0, "no rule keeps it");
}

static void the_newest_that_passed_a_content_check_stays(void **state)
{
    Story *story = *state;
    story->policy.copy.most[KEEP_LAST] = 1;
    days(story, 6);
    story->backups[1].proved = story->backups[2].proved = true;
    assert_int_equal(decide(story), 2);
    says(story, 2, "the newest whose content was checked");
}

static void what_is_held_locked_or_in_use_stays(void **state)
{
    Story *story = *state;
    story->policy.copy.most[KEEP_LAST] = 1;
    days(story, 6);
    story->backups[0].held_until_s = story->facts.now_s + 1;
    story->backups[1].held_until_s = story->facts.now_s;
    story->backups[2].locked_until_s = story->facts.now_s + 1;
    story->backups[3].in_use = true;
    assert_int_equal(decide(story), 4);
    says(story, 0, "held until 2024-01-06T01:02:01Z");
    says(story, 2, "locked until 2024-01-06T01:02:01Z");
    says(story, 3, "in use");
    story->backups[0].held_until_s = KEEP_FOR_EVER_S;
    assert_int_equal(decide(story), 4);
    says(story, 0, "held");
    story->policy.lock_s = 4 * DAY + 61; /* of the store */
    assert_int_equal(decide(story), 6);
    says(story, 1, "locked until 2024-01-06T01:02:01Z");
}

static void a_schedules_own_rules_are_about_what_it_made(void **state)
{
    Story *story = *state;
    KeepSchedule full = {.name = TEXT("full"), .rules = {{[KEEP_WITHIN] = 20 * DAY}}};
    story->policy.schedules = &full;
    story->policy.schedule_count = 1;
    days(story, 60);
    for (size_t i = 0; i < 60; i += 10)
        story->backups[i].schedule = TEXT("full");
    assert_int_equal(decide(story), 57); /* nothing says how long the daily ones stay */
    says(story, 1, "no keep rule");
    story->policy.copy.most[KEEP_DAILY] = 2;
    assert_int_equal(decide(story), 5);
    says(story, 50, "full: within 20d");
    says(story, 30, "full: within 20d");
    says(story, 20, "no rule keeps it");
    story->policy.schedules = NULL;
    story->policy.schedule_count = 0;
}

static void nothing_expires_while_it_is_frozen(void **state)
{
    Story *story = *state;
    story->policy.copy.most[KEEP_LAST] = 1;
    days(story, 3);
    story->facts.failures = KEEP_FAILURES - 1;
    assert_int_equal(decide(story), 1);
    story->facts.failures = KEEP_FAILURES;
    assert_int_equal(decide(story), 3);
    says(story, 0, "frozen: its source failed 3 times in a row");
    story->facts.failures = 0;
    story->facts.suspicious = "it shrank to a tenth";
    assert_int_equal(decide(story), 3);
    story->facts.suspicious = NULL;
    story->facts.frozen = "the catalogue was rebuilt";
    assert_int_equal(decide(story), 3);
    says(story, 1, "frozen: the catalogue was rebuilt");
}

static void a_clock_that_is_wrong_makes_nobody_look_old(void **state)
{
    Story *story = *state;
    story->policy.copy.most[KEEP_WITHIN] = 3 * DAY;
    days(story, 6);
    story->backups[5].at_s += 365 * DAY; /* no later than its commit */
    assert_int_equal(decide(story), 3);
    story->backups[5].at_s = 0; /* no older than a day before it began */
    assert_int_equal(decide(story), 5);
    story->policy.copy.most[KEEP_WITHIN] = 0;
    story->policy.copy.most[KEEP_LAST] = 1;
    story->backups[5].at_s = story->backups[5].started_s;
    story->backups[2].at_s += 365 * DAY; /* nor is it the newest */
    assert_int_equal(decide(story), 1);
    story->policy.copy.most[KEEP_LAST] = 0;
    story->policy.copy.most[KEEP_DAILY] = 2;
    story->backups[3].at_s = story->backups[4].at_s = story->backups[5].at_s = 0;
    decide(story);
    assert_int_not_equal(story->rulings[5].why, 0);
    assert_int_not_equal(story->rulings[4].why & KEEP_BY_RULE, 0);
}

static void clocks_that_go_back_over_midnight_open_no_day_again(void **state)
{
    Story *story = *state;
    Err err = {0};
    zone_free(story->zone);
    assert_true(zone_open(&story->zone, TEXT("America/St_Johns"), &err));
    story->facts.zone = story->zone;
    story->policy.copy.most[KEEP_DAILY] = 4;
    int64_t back = 1289097060; /* 7 November 2010, 00:01 became 23:01 */
    add(story, back - 40 * 3600);
    add(story, back - 3600);
    add(story, back - 30);
    add(story, back + 1800);
    add(story, back + 7200);
    assert_int_equal(decide(story), 3);
    assert_int_equal(story->rulings[4].copy.place[KEEP_DAILY], 1);
    assert_int_equal(story->rulings[3].copy.place[KEEP_DAILY], 2);
    assert_int_equal(story->rulings[0].copy.place[KEEP_DAILY], 3);
}

/* --- three years ---------------------------------------------------------------------------- */

static size_t kept_by(const Story *story, KeepRule rule)
{
    size_t kept = 0;
    for (size_t i = 0; i < story->count; i++)
        kept += story->rulings[i].copy.place[rule] != 0;
    return kept;
}

/* What one look at the whole history would keep. */
static void check_whole(const Story *story, const Story *whole)
{
    size_t at = 0;
    for (size_t i = 0; i < whole->count; i++) {
        if (whole->rulings[i].why == 0)
            continue;
        assert_true(at < story->count);
        assert_int_equal(story->backups[at++].at_s, whole->backups[i].at_s);
    }
    assert_int_equal(at, story->count);
}

static void forget(Story *story)
{
    size_t left = 0;
    for (size_t i = 0; i < story->count; i++)
        if (story->rulings[i].why != 0) {
            story->backups[left] = story->backups[i];
            story->rulings[left++] = story->rulings[i];
        }
    story->count = left;
}

/* Daily at 02:00 of Berlin's clocks, retention after each: what is left is at any time exactly what
 * the rules say of the whole history. */
static void three_years_of_dailies_leave_7_daily_4_weekly_12_monthly_and_the_yearlies(void **state)
{
    Story *story = *state;
    Story *whole = mem_new(Story);
    static const int64_t most[KEEP_RULES] = {
        [KEEP_DAILY] = 7, [KEEP_WEEKLY] = 4, [KEEP_MONTHLY] = 12, [KEEP_YEARLY] = 10};
    memcpy(story->policy.copy.most, most, sizeof most);
    whole->policy = story->policy;
    whole->facts = story->facts;
    for (int day = 0; day < 3 * 365 + 1; day++) {
        int64_t at = zone_instant(story->zone, START - 3600 + (int64_t)day * DAY + 2 * 3600);
        add(whole, at);
        add(story, at)->sequence = whole->count;
        whole->facts.now_s = story->facts.now_s;
        decide(story);
        decide(whole);
        forget(story);
        check_whole(story, whole);
    }
    assert_int_equal(decide(story), story->count);
    assert_int_equal(kept_by(story, KEEP_DAILY), 7);
    assert_int_equal(kept_by(story, KEEP_WEEKLY), 4);
    assert_int_equal(kept_by(story, KEEP_MONTHLY), 12);
    assert_int_equal(kept_by(story, KEEP_YEARLY), 3);
    for (size_t i = 0; i < story->count; i++)
        assert_int_not_equal(story->rulings[i].why & KEEP_BY_RULE, 0);
    /* 31 December 2026, a Thursday: 7 days, of which Thursday and Sunday are weekly ones, two
     * more weeks, eleven more months, two more years of which the Decembers are none of these. */
    assert_int_equal(story->count, 7 + 2 + 11 + 2);
    mem_free(whole);
}

static void rules_are_read_from_the_compiled_source(void **state)
{
    (void)state;
    KeepPolicy policy;
    json_t *spec = json_pack("{s:[{s:s, s:{s:i, s:i}}, {s:s}], s:{s:{s:{s:i}}}, s:i}", "copies",
                             "store", "nas", "keep", "daily", 14, "within_s", 3600, "store", "s3",
                             "keep", "full", "keep", "yearly", 3, "min_good", 2);
    keep_read(spec, TEXT("nas"), false, 86400, &policy);
    assert_int_equal(policy.copy.most[KEEP_DAILY], 14);
    assert_int_equal(policy.copy.most[KEEP_WITHIN], 3600);
    assert_int_equal(policy.copy.most[KEEP_LAST], 0);
    assert_int_equal(policy.schedule_count, 1);
    assert_true(text_equal(policy.schedules[0].name, TEXT("full")));
    assert_int_equal(policy.schedules[0].rules.most[KEEP_YEARLY], 3);
    assert_int_equal(policy.min_good, 2);
    assert_int_equal(policy.lock_s, 86400);
    keep_free(&policy);
    keep_read(spec, TEXT("elsewhere"), false, 0, &policy);
    assert_int_equal(policy.schedule_count, 0); /* no rule of this policy is about it */
    keep_free(&policy);
    json_decref(spec);
}

/* --- for keep_compare.py -------------------------------------------------------------------- */

static bool read_numbers(int64_t *out, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (scanf("%" SCNd64, &out[i]) != 1)
            return false;
    return true;
}

static bool read_backup(Story *story, char name[32])
{
    int64_t n[9];
    if (!read_numbers(n, 4) || scanf("%31s", name) != 1 || !read_numbers(n + 4, 5))
        return false;
    story->backups[story->count++] = (KeepBackup){
        n[0],      n[1], n[2], (uint64_t)n[3], text_of(name), (KeepQuality)n[4], n[5] != 0,
        n[6] != 0, n[7], n[8]};
    return true;
}

static int judge(void)
{
    char zone[64], schedule[32], names[MOST][32];
    int64_t n[4], count;
    Err err = {0};
    Story *story = mem_new(Story);
    while (scanf("%63s", zone) == 1) {
        KeepSchedule own = {.name = text_of(schedule)};
        *story = (Story){.policy = {.schedules = &own, .schedule_count = 1}};
        if (!zone_open(&story->zone, text_of(zone), &err) || !read_numbers(n, 4) ||
            !read_numbers(story->policy.copy.most, KEEP_RULES) || scanf("%31s", schedule) != 1 ||
            !read_numbers(own.rules.most, KEEP_RULES) || !read_numbers(&count, 1))
            return 2;
        own.name = text_of(schedule);
        story->policy.min_good = n[2];
        story->policy.lock_s = n[3];
        story->facts = (KeepFacts){.now_s = n[0], .zone = story->zone, .failures = (uint64_t)n[1]};
        while (story->count < (size_t)count)
            if (!read_backup(story, names[story->count]))
                return 2;
        decide(story);
        for (size_t i = 0; i < story->count; i++) {
            printf("%u", story->rulings[i].why);
            for (KeepRule rule = 0; rule < KEEP_RULES; rule++)
                printf(" %" PRId64 " %" PRId64, story->rulings[i].copy.place[rule],
                       story->rulings[i].own.place[rule]);
            printf("\n");
        }
        zone_free(story->zone);
    }
    mem_free(story);
    return 0;
}

int main(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "judge") == 0)
        return judge();
#define CASE(test) cmocka_unit_test_setup_teardown(test, begin, end)
    const struct CMUnitTest tests[] = {
        CASE(without_rules_nothing_ever_expires),
        CASE(rules_unite_and_each_counts_by_itself),
        CASE(periods_without_a_backup_are_not_counted),
        CASE(within_is_measured_from_the_newest_good_one),
        CASE(last_and_hourly),
        CASE(an_hour_that_clocks_show_twice_is_two_and_a_day_of_25_hours_is_one),
        CASE(days_are_those_of_the_zone),
        CASE(only_good_ones_count),
        CASE(a_failed_check_satisfies_no_rule_and_deletes_nothing),
        CASE(the_last_good_one_and_min_good_stay),
        CASE(the_newest_that_passed_a_content_check_stays),
        CASE(what_is_held_locked_or_in_use_stays),
        CASE(a_schedules_own_rules_are_about_what_it_made),
        CASE(nothing_expires_while_it_is_frozen),
        CASE(a_clock_that_is_wrong_makes_nobody_look_old),
        CASE(clocks_that_go_back_over_midnight_open_no_day_again),
        CASE(three_years_of_dailies_leave_7_daily_4_weekly_12_monthly_and_the_yearlies),
        CASE(rules_are_read_from_the_compiled_source),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
