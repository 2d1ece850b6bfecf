/* SPDX-License-Identifier: Apache-2.0
 * What becomes of the slots that came: one by one, and by random histories of schedulers that look,
 * sleep, and have their clocks set, in which no slot may be lost or run twice. */
#include "scheduler/plan/due_words.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static const int64_t SECOND = 1000000000;

static int64_t instant(const char *text)
{
    struct tm tm = {0};
    assert_non_null(strptime(text, "%Y-%m-%dT%H:%M", &tm));
    return timegm(&tm);
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

static void the_one_that_runs_says_what_it_stands_for(void **state)
{
    Zone *zone;
    DueRule rule = rule_of("0 * * * *", &zone);
    DueList due;
    (void)state;
    int64_t last = instant("2026-02-03T00:00") * SECOND;
    due_slots(&rule, last, instant("2026-02-03T05:30") * SECOND, &due);
    assert_int_equal(due.slots[4].why, DUE_RUNS);
    assert_int_equal(due.slots[4].stands_for, 5);
    assert_int_equal(due.slots[4].first_ns, instant("2026-02-03T01:00") * SECOND);
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(due.slots[i].why, DUE_COALESCED);
        assert_int_equal(due.slots[i].stands_for, 0);
    }
    /* Forty days: a hundred rows, and all of them counted. */
    due_slots(&rule, last, last + 40ll * 86400 * SECOND, &due);
    assert_int_equal(due.count, DUE_MOST);
    assert_int_equal(due.dropped, 40 * 24 - DUE_MOST);
    assert_int_equal(due.slots[DUE_MOST - 1].stands_for, 40 * 24);
    assert_int_equal(due.slots[DUE_MOST - 1].first_ns, instant("2026-02-03T01:00") * SECOND);
    zone_free(zone);
}

static void a_slot_on_an_excluded_day_is_skipped_and_stands_for_nothing(void **state)
{
    Zone *zone;
    Err err = {0};
    Calendar holidays = {0};
    DueRule rule = rule_of("0 2 * * *", &zone);
    DueList due;
    (void)state;
    assert_true(calendar_add(&holidays, TEXT("12-25"), &err));
    assert_true(calendar_add(&holidays, TEXT("2026-12-27"), &err));
    rule.exclude = &holidays;
    due_slots(&rule, instant("2026-12-23T12:00") * SECOND, instant("2026-12-27T03:00") * SECOND,
              &due);
    assert_int_equal(due.count, 4);
    assert_int_equal(due.slots[0].why, DUE_COALESCED);
    assert_int_equal(due.slots[1].why, DUE_EXCLUDED);
    assert_false(due.slots[1].missed);
    assert_int_equal(due.slots[2].why, DUE_RUNS);
    assert_int_equal(due.slots[2].stands_for, 2);
    assert_int_equal(due.slots[3].why, DUE_EXCLUDED);
    calendar_free(&holidays);
    zone_free(zone);
}

static void each_slot_is_told_in_the_times_of_its_zone(void **state)
{
    static const char *const told[] = {
        "slot.coalesced no scheduler was there in time; the slot of 2026-02-03 01:00 Europe/Berlin "
        "runs instead",
        "slot.excluded Mon 2026-02-02 in Europe/Berlin is excluded by the calendar 'stocktaking'",
    };
    Zone *zone;
    Zone *berlin;
    Err err = {0};
    Calendar second = {0};
    DueRule rule = rule_of("every 6h", &zone);
    DueList due;
    char text[DUE_WORDS];
    char line[DUE_WORDS + 20];
    (void)state;
    assert_true(zone_open(&berlin, TEXT("Europe/Berlin"), &err));
    assert_true(calendar_add_of(&second, "stocktaking", TEXT("2026-02-02"), &err));
    rule.zone = berlin;
    rule.exclude = &second;
    due_slots(&rule, instant("2026-02-01T12:00") * SECOND, instant("2026-02-03T05:30") * SECOND,
              &due);
    /* 19:00 on the 1st; 01:00, 07:00, 13:00 and 19:00 on the 2nd; 01:00 on the 3rd runs. */
    assert_int_equal(due.count, 6);
    assert_string_equal(due_words(&due, 5, &rule, "Europe/Berlin", text), "slot.coalesced");
    assert_string_equal(
        text, "stands for 2 slots since 2026-02-01 19:00 Europe/Berlin: no scheduler was there");
    for (size_t i = 0; i < 2; i++) {
        const char *code = due_words(&due, i, &rule, "Europe/Berlin", text);
        snprintf(line, sizeof line, "%s %s", code, text);
        assert_string_equal(line, told[i]);
    }
    due_slots(&rule, instant("2026-02-03T00:00") * SECOND, instant("2026-02-03T06:00") * SECOND,
              &due);
    assert_string_equal(due_words(&due, 0, &rule, "Europe/Berlin", text), "");
    assert_string_equal(text, "");
    rule.start_deadline_s = 3600;
    due_slots(&rule, instant("2026-02-03T00:00") * SECOND, instant("2026-02-03T09:00") * SECOND,
              &due);
    assert_string_equal(due_words(&due, 0, &rule, "Europe/Berlin", text), "slot.late");
    rule.start_deadline_s = 0;
    rule.catch_up = false;
    due_slots(&rule, instant("2026-02-03T00:00") * SECOND, instant("2026-02-03T09:00") * SECOND,
              &due);
    assert_string_equal(due_words(&due, 0, &rule, "Europe/Berlin", text), "slot.no_catch_up");
    due_slots(&rule, instant("2027-02-03T00:00") * SECOND, instant("2026-02-03T00:00") * SECOND,
              &due);
    assert_string_equal(due_words(&due, 0, &rule, "Europe/Berlin", text), "slot.set_back");
    assert_non_null(strstr(text, "365 days ahead"));
    calendar_free(&second);
    zone_free(berlin);
    zone_free(zone);
}

static void a_long_holiday_does_not_hide_what_came_before_it(void **state)
{
    Zone *zone;
    Err err = {0};
    Calendar freeze = {0};
    DueRule rule = rule_of("0 * * * *", &zone);
    DueList due;
    (void)state;
    assert_true(calendar_add(&freeze, TEXT("2026-12-20..2026-12-31"), &err));
    rule.exclude = &freeze;
    due_slots(&rule, instant("2026-12-19T20:00") * SECOND, instant("2026-12-31T12:00") * SECOND,
              &due);
    assert_int_equal(due.count, DUE_MOST);
    assert_int_equal(due.slots[0].slot_ns, instant("2026-12-19T23:00") * SECOND);
    assert_int_equal(due.slots[0].why, DUE_RUNS);
    assert_int_equal(due.slots[0].stands_for, 3);
    assert_int_equal(due.slots[0].first_ns, instant("2026-12-19T21:00") * SECOND);
    calendar_free(&freeze);
    zone_free(zone);
}

static void nothing_comes_twice_when_a_clock_is_set_back(void **state)
{
    Zone *zone;
    DueRule rule = rule_of("0 * * * *", &zone);
    DueList due;
    (void)state;
    int64_t last = instant("2026-02-03T05:00");
    for (int64_t back = 0; back <= DUE_AHEAD_S; back += 1800) {
        due_slots(&rule, last * SECOND, (last - back) * SECOND, &due);
        assert_int_equal(due.count, 0);
    }
    zone_free(zone);
}

static void a_clock_that_was_a_year_ahead_silences_nothing(void **state)
{
    Zone *zone;
    DueRule rule = rule_of("0 2 * * *", &zone);
    DueList due;
    (void)state;
    due_slots(&rule, instant("2027-02-03T02:00") * SECOND, instant("2026-02-03T04:00") * SECOND,
              &due);
    assert_int_equal(due.ahead_s, 365 * 86400 - 7200);
    assert_int_equal(due.count, 1);
    assert_int_equal(due.slots[0].slot_ns, instant("2026-02-03T02:00") * SECOND);
    assert_int_equal(due.slots[0].why, DUE_SET_BACK);
    assert_true(due.slots[0].missed);
    due_slots(&rule, due.slots[0].slot_ns, instant("2026-02-04T02:00") * SECOND, &due);
    assert_int_equal(due.count, 1);
    assert_int_equal(due.slots[0].why, DUE_RUNS);
    zone_free(zone);
}

/* --- random histories ------------------------------------------------------------------------- */

enum { SLOTS_MOST = 40000 };

/* What the catalogue keeps: a schedule's last slot, and one row a slot. */
typedef struct History {
    DueRule rule;
    int64_t last_ns;
    int64_t rows[SLOTS_MOST]; /* slots that have one */
    size_t row_count;
    int64_t runs[SLOTS_MOST]; /* those of them that ran, in the order in which they did */
    size_t run_count;
    uint64_t stood_for, coalesced, missed, excluded, dropped, dropped_excluded;
} History;

static bool has_row(const History *history, int64_t slot_ns)
{
    for (size_t i = history->row_count; i > 0; i--)
        if (history->rows[i - 1] == slot_ns)
            return true;
    return false;
}

/* A scheduler looks: the compare-and-set holds, UNIQUE refuses what has a row. */
static void look(History *history, int64_t now_ns)
{
    DueList due;
    due_slots(&history->rule, history->last_ns, now_ns, &due);
    uint64_t coalesced = due.dropped - due.dropped_excluded;
    for (size_t i = 0; i < due.count; i++) {
        const DueSlot *slot = &due.slots[i];
        assert_true(slot->slot_ns <= now_ns);
        assert_true(i == 0 || slot->slot_ns > due.slots[i - 1].slot_ns);
        assert_int_equal(slot->missed, slot->why != DUE_RUNS && slot->why != DUE_EXCLUDED);
        coalesced += slot->why == DUE_COALESCED;
        if (slot->why == DUE_RUNS && history->rule.catch_up)
            assert_int_equal(slot->stands_for, 1 + coalesced);
        if (has_row(history, slot->slot_ns))
            continue;
        history->rows[history->row_count++] = slot->slot_ns;
        history->coalesced += slot->why == DUE_COALESCED;
        history->excluded += slot->why == DUE_EXCLUDED;
        history->missed +=
            slot->why == DUE_LATE || slot->why == DUE_NO_CATCH_UP || slot->why == DUE_SET_BACK;
        if (slot->why == DUE_RUNS) {
            history->runs[history->run_count++] = slot->slot_ns;
            history->stood_for += slot->stands_for;
        }
    }
    history->dropped += due.dropped;
    history->dropped_excluded += due.dropped_excluded;
    if (due.count != 0)
        history->last_ns = due.slots[due.count - 1].slot_ns;
}

static void start(History *history, unsigned *dice, const Zone *zone, const Calendar *calendar)
{
    static const char *const rules[] = {"*/7 * * * *",  "H * * * *",     "30 2 * * *",
                                        "0 */6 * * *",  "15 1-4 * * 0",  "every 45m",
                                        "0 0 1,15 * *", "5,35 0-3 * * *"};
    Err err = {0};
    memset(history, 0, sizeof *history);
    const char *text = rules[(unsigned)rand_r(dice) % 8];
    assert_true(cron_parse(text_of(text), TEXT("x"), &history->rule.cron, &err));
    history->rule.zone = zone;
    history->rule.catch_up = rand_r(dice) % 3 != 0;
    history->rule.start_deadline_s = rand_r(dice) % 2 == 0 ? 0 : rand_r(dice) % 40000 + 60;
    history->rule.exclude = rand_r(dice) % 3 == 0 ? calendar : NULL;
    history->last_ns = (instant("2026-03-01T00:00") + rand_r(dice) % (300 * 86400)) * SECOND;
}

/* How long until somebody looks again: ticks, a failover, a weekend, a month. */
static int64_t pause_s(unsigned *dice)
{
    static const int spans[] = {2, 2, 2, 60, 600, 7200, 3 * 86400, 40 * 86400};
    return rand_r(dice) % spans[(unsigned)rand_r(dice) % 8] + 1;
}

static void no_slot_is_lost_or_doubled_whoever_sleeps(void **state)
{
    static History history;
    unsigned dice = 7;
    Zone *zone;
    Err err = {0};
    Calendar calendar = {0};
    (void)state;
    assert_true(zone_open(&zone, TEXT("Europe/Berlin"), &err));
    assert_true(calendar_add(&calendar, TEXT("03-20..04-10"), &err));
    assert_true(calendar_add(&calendar, TEXT("2026-10-25"), &err));
    for (int n = 0; n < 400; n++) {
        start(&history, &dice, zone, &calendar);
        int64_t first = history.last_ns;
        int64_t now = first;
        for (int i = 0; i < 60; i++) {
            now += pause_s(&dice) * SECOND;
            /* Steps back repeat nothing. */
            look(&history, now - rand_r(&dice) % 2 * (rand_r(&dice) % 40000) * SECOND);
        }
        look(&history, now);
        uint64_t slots = 0;
        for (int64_t at = first / SECOND;
             cron_next(&history.rule.cron, zone, at, &at) && at <= now / SECOND;)
            slots++;
        /* Each slot has one row or is counted, and each row one fate. */
        assert_int_equal(history.row_count + history.dropped, slots);
        assert_int_equal(history.row_count,
                         history.run_count + history.coalesced + history.missed + history.excluded);
        /* Runs stand for themselves and for all that were coalesced. */
        if (history.rule.catch_up && history.rule.start_deadline_s == 0)
            assert_int_equal(history.stood_for,
                             slots - history.excluded - history.dropped_excluded);
        for (size_t i = 1; i < history.run_count; i++)
            assert_true(history.runs[i] > history.runs[i - 1]);
    }
    calendar_free(&calendar);
    zone_free(zone);
}

static void clocks_that_leap_lose_at_most_what_they_leapt_over(void **state)
{
    static History history;
    unsigned dice = 11;
    Zone *zone;
    Err err = {0};
    (void)state;
    assert_true(zone_open(&zone, TEXT("America/New_York"), &err));
    for (int n = 0; n < 200; n++) {
        start(&history, &dice, zone, NULL);
        int64_t now = history.last_ns;
        for (int i = 0; i < 30; i++) {
            now += pause_s(&dice) % 90000 * SECOND;
            look(&history, now);
        }
        /* Ahead for a while, by up to a year, then right again. */
        look(&history, now + (int64_t)(rand_r(&dice) % (365 * 86400)) * SECOND);
        int64_t ahead = history.last_ns;
        size_t runs = history.run_count;
        look(&history, now);
        look(&history, now + SECOND);
        assert_int_equal(history.run_count, runs); /* setting it back repeats nothing */
        /* From here on each slot is decided when it comes, unless it was decided already. */
        int64_t at = now / SECOND + 1;
        for (int i = 0; i < 20 && cron_next(&history.rule.cron, zone, at, &at); i++) {
            look(&history, at * SECOND + SECOND);
            assert_true(has_row(&history, at * SECOND) || at * SECOND <= ahead);
            assert_true(has_row(&history, at * SECOND) || ahead <= now + 86400 * SECOND);
        }
    }
    zone_free(zone);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(after_a_pause_only_the_newest_slot_runs),
        cmocka_unit_test(without_catching_up_a_late_slot_is_missed),
        cmocka_unit_test(a_slot_past_its_deadline_is_missed),
        cmocka_unit_test(a_century_of_slots_costs_no_more_than_a_hundred_rows),
        cmocka_unit_test(the_one_that_runs_says_what_it_stands_for),
        cmocka_unit_test(a_slot_on_an_excluded_day_is_skipped_and_stands_for_nothing),
        cmocka_unit_test(each_slot_is_told_in_the_times_of_its_zone),
        cmocka_unit_test(a_long_holiday_does_not_hide_what_came_before_it),
        cmocka_unit_test(nothing_comes_twice_when_a_clock_is_set_back),
        cmocka_unit_test(a_clock_that_was_a_year_ahead_silences_nothing),
        cmocka_unit_test(no_slot_is_lost_or_doubled_whoever_sleeps),
        cmocka_unit_test(clocks_that_leap_lose_at_most_what_they_leapt_over),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
