/* SPDX-License-Identifier: Apache-2.0
 * The forecast by hand, and by chance against what must hold of any: every slot has one fate, no
 * room and no source is ever overfull, windows and deadlines are kept, and nobody waits while there
 * is room. */
#include "scheduler/plan/forecast.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { SCHEDULES = 24, SOURCES = 12, ROOMS = 4, SLOTS_MOST = 60000 };

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

static Cron cron_of(const char *rule, const char *name)
{
    Cron cron;
    Err err = {0};
    assert_true(cron_parse(text_of(rule), text_of(name), &cron, &err));
    return cron;
}

typedef struct Seen {
    ForecastSlot slots[SLOTS_MOST];
    size_t count;
    ForecastCollision collisions[SLOTS_MOST];
    size_t collision_count;
} Seen;

static Seen seen;

static bool see_slot(void *ctx, const ForecastSlot *slot)
{
    (void)ctx;
    assert_true(seen.count < SLOTS_MOST);
    seen.slots[seen.count++] = *slot;
    return true;
}

static void see_collision(void *ctx, const ForecastCollision *collision)
{
    (void)ctx;
    seen.collisions[seen.collision_count++] = *collision;
}

static void foresee(ForecastPlan *plan)
{
    ForecastSink sink = {.slot = see_slot, .collision = see_collision};
    seen.count = seen.collision_count = 0;
    assert_true(forecast_run(plan, &sink));
}

/* --- by hand ---------------------------------------------------------------------------------- */

static void three_at_two_places_collide_and_one_waits(void **state)
{
    Zone *zone = zone_named("UTC");
    Cron two = cron_of("0 2 * * *", "x");
    ForecastRoom rooms[1] = {{.places = 2}};
    ForecastSchedule schedules[3];
    (void)state;
    for (uint32_t i = 0; i < 3; i++)
        schedules[i] = (ForecastSchedule){.cron = &two,
                                          .zone = zone,
                                          .source = i,
                                          .rooms = {0},
                                          .room_count = 1,
                                          .expected_s = 600 * (i + 1)};
    ForecastPlan plan = {.schedules = schedules,
                         .schedule_count = 3,
                         .rooms = rooms,
                         .room_count = 1,
                         .source_count = 3,
                         .from_s = instant("2026-11-21T00:00"),
                         .until_s = instant("2026-11-22T00:00")};
    foresee(&plan);
    int64_t at = instant("2026-11-21T02:00");
    assert_int_equal(seen.count, 3);
    assert_int_equal(seen.slots[0].start_s, at);
    assert_int_equal(seen.slots[1].start_s, at);
    assert_int_equal(seen.slots[2].schedule, 2);
    assert_int_equal(seen.slots[2].start_s, at + 600);
    assert_int_equal(seen.slots[2].end_s, at + 2400);
    assert_int_equal(seen.slots[2].room_wait_s, 600);
    assert_int_equal(seen.collision_count, 1);
    assert_int_equal(seen.collisions[0].from_s, at);
    assert_int_equal(seen.collisions[0].until_s, at + 600);
    assert_int_equal(seen.collisions[0].most_waiting, 1);
    assert_int_equal(rooms[0].most, 3);
    assert_int_equal(rooms[0].most_at_s, at);
    assert_int_equal(rooms[0].busy_s, 3600);
    assert_int_equal(rooms[0].waited, 1);
    assert_int_equal(rooms[0].longest_wait_s, 600);
    assert_int_equal(rooms[0].longest_schedule, 2);
    zone_free(zone);
}

static void what_is_still_running_is_skipped_or_waited_for(void **state)
{
    Zone *zone = zone_named("UTC");
    Cron hourly = cron_of("0 * * * *", "x");
    ForecastSchedule schedule = {.cron = &hourly, .zone = zone, .expected_s = 9000};
    ForecastPlan plan = {.schedules = &schedule,
                         .schedule_count = 1,
                         .source_count = 1,
                         .from_s = instant("2026-11-21T00:30"),
                         .until_s = instant("2026-11-21T06:30")};
    (void)state;
    foresee(&plan); /* 1 runs until 3:30, 4 until 6:30 */
    static const ForecastFate skipping[] = {FORECAST_RUNS, FORECAST_SKIPPED, FORECAST_SKIPPED,
                                            FORECAST_RUNS, FORECAST_SKIPPED, FORECAST_SKIPPED};
    assert_int_equal(seen.count, 6);
    for (size_t i = 0; i < 6; i++)
        assert_int_equal(seen.slots[i].fate, skipping[i]);
    schedule.overlap_queue = true;
    foresee(&plan); /* 1 runs until 3:30, then 2 until 6:00, then the 4 that waited since */
    size_t fates[6] = {0};
    for (size_t i = 0; i < seen.count; i++)
        fates[seen.slots[i].fate]++;
    assert_int_equal(seen.count, 6);
    assert_int_equal(fates[FORECAST_RUNS], 4);
    assert_int_equal(fates[FORECAST_COALESCED], 2);
    zone_free(zone);
}

static void a_window_that_closes_cuts_what_is_too_long(void **state)
{
    Zone *zone = zone_named("Europe/Berlin");
    Cron evening = cron_of("0 20 * * *", "x");
    WindowWeek week = {0};
    window_add(&week,
               &(Window){.days = 0x7f, .from = 22 * 60, .to = 60, .on_close = WINDOW_CANCEL});
    ForecastSchedule schedule = {
        .cron = &evening, .zone = zone, .week = &week, .expected_s = 4 * 3600};
    ForecastPlan plan = {.schedules = &schedule,
                         .schedule_count = 1,
                         .source_count = 1,
                         .from_s = instant("2026-11-21T12:00"),
                         .until_s = instant("2026-11-22T12:00")};
    (void)state;
    foresee(&plan);
    assert_int_equal(seen.count, 1);
    assert_int_equal(seen.slots[0].start_s, instant("2026-11-21T21:00"));
    assert_int_equal(seen.slots[0].window_wait_s, 7200);
    assert_true(seen.slots[0].cut);
    assert_int_equal(seen.slots[0].on_close, WINDOW_CANCEL);
    assert_int_equal(seen.slots[0].end_s, instant("2026-11-22T00:00"));
    schedule.start_deadline_s = 3600; /* it opens too late */
    foresee(&plan);
    assert_int_equal(seen.slots[0].fate, FORECAST_MISSED);
    assert_int_equal(seen.slots[0].window_wait_s, 3600);
    zone_free(zone);
}

static bool see_ten(void *ctx, const ForecastSlot *slot)
{
    (void)slot;
    return ++*(int *)ctx < 10;
}

static void who_asks_for_no_more_gets_no_more(void **state)
{
    Zone *zone = zone_named("UTC");
    Cron often = cron_of("* * * * *", "x");
    ForecastSchedule schedule = {.cron = &often, .zone = zone, .expected_s = 1};
    ForecastPlan plan = {
        .schedules = &schedule, .schedule_count = 1, .source_count = 1, .until_s = 86400};
    int count = 0;
    (void)state;
    assert_false(forecast_run(&plan, &(ForecastSink){.ctx = &count, .slot = see_ten}));
    assert_int_equal(count, 10);
    foresee(&plan);
    assert_int_equal(seen.count, 1440);
    zone_free(zone);
}

/* --- by chance -------------------------------------------------------------------------------- */

typedef struct Fleet {
    Cron crons[SCHEDULES];
    WindowWeek weeks[3];
    Calendar calendar;
    Zone *zones[2];
    ForecastSchedule schedules[SCHEDULES];
    ForecastRoom rooms[ROOMS];
    ForecastPlan plan;
} Fleet;

static void draw(Fleet *fleet, unsigned *dice)
{
    static const char *const rules[] = {"H * * * *",  "*/20 * * * *", "H H * * *",   "0 2 * * *",
                                        "30 2 * * 6", "every 90m",    "0 */4 * * *", "0 1-3 * * *"};
    size_t count = (size_t)rand_r(dice) % SCHEDULES + 1;
    for (size_t i = 0; i < count; i++) {
        char name[32];
        snprintf(name, sizeof name, "source-%d", rand_r(dice) % 1000);
        fleet->crons[i] = cron_of(rules[rand_r(dice) % 8], name);
        ForecastSchedule *schedule = &fleet->schedules[i];
        *schedule = (ForecastSchedule){
            .cron = &fleet->crons[i],
            .zone = fleet->zones[rand_r(dice) % 2],
            .exclude = rand_r(dice) % 4 == 0 ? &fleet->calendar : NULL,
            .week = rand_r(dice) % 2 == 0 ? &fleet->weeks[rand_r(dice) % 3] : NULL,
            .source = (uint32_t)rand_r(dice) % SOURCES,
            .room_count = (uint32_t)rand_r(dice) % 3,
            .expected_s = rand_r(dice) % (rand_r(dice) % 2 == 0 ? 600 : 14000),
            .start_deadline_s = rand_r(dice) % 2 == 0 ? 0 : rand_r(dice) % 20000 + 1,
            .overlap_queue = rand_r(dice) % 2 == 0,
        };
        uint32_t first = (uint32_t)rand_r(dice) % ROOMS;
        for (uint32_t r = 0; r < schedule->room_count; r++)
            schedule->rooms[r] = (first + r) % ROOMS;
    }
    for (size_t i = 0; i < ROOMS; i++)
        fleet->rooms[i].places = (uint32_t)rand_r(dice) % 4; /* 0: any number */
    int64_t from = instant("2026-10-20T00:00") + rand_r(dice) % 86400;
    fleet->plan = (ForecastPlan){.schedules = fleet->schedules,
                                 .schedule_count = count,
                                 .rooms = fleet->rooms,
                                 .room_count = ROOMS,
                                 .source_count = SOURCES,
                                 .from_s = from,
                                 .until_s = from + 10 * 86400};
}

static bool in_room(const ForecastSchedule *schedule, uint32_t room)
{
    for (uint32_t i = 0; i < schedule->room_count; i++)
        if (schedule->rooms[i] == room)
            return true;
    return false;
}

/* Runs of other slots than `but` at this instant in a room, or of a source (room UINT32_MAX). */
static uint32_t busy_at(const Fleet *fleet, uint32_t room, uint32_t source, size_t but, int64_t at)
{
    uint32_t busy = 0;
    for (size_t i = 0; i < seen.count; i++) {
        const ForecastSlot *slot = &seen.slots[i];
        const ForecastSchedule *schedule = &fleet->schedules[slot->schedule];
        bool here = room == UINT32_MAX ? schedule->source == source : in_room(schedule, room);
        busy += i != but && here && slot->fate == FORECAST_RUNS && slot->start_s <= at &&
                at < slot->end_s;
    }
    return busy;
}

static void check_run(const Fleet *fleet, size_t index)
{
    const ForecastSlot *slot = &seen.slots[index];
    const ForecastSchedule *schedule = &fleet->schedules[slot->schedule];
    int64_t start = slot->start_s;
    assert_true(start >= slot->slot_s && slot->end_s > start);
    assert_int_equal(slot->window_wait_s + slot->room_wait_s, start - slot->slot_s);
    assert_true(schedule->start_deadline_s == 0 ||
                start <= slot->slot_s + schedule->start_deadline_s);
    assert_true(schedule->week == NULL || window_open_at(schedule->week, schedule->zone, start));
    /* Nowhere too many, counted as it begins. */
    assert_int_equal(busy_at(fleet, UINT32_MAX, schedule->source, index, start), 0);
    for (uint32_t r = 0; r < schedule->room_count; r++) {
        uint32_t places = fleet->rooms[schedule->rooms[r]].places;
        assert_true(places == 0 || busy_at(fleet, schedule->rooms[r], 0, index, start) < places);
    }
    if (start == slot->slot_s)
        return;
    /* A second before, something was in its way. */
    bool shut =
        schedule->week != NULL && !window_open_at(schedule->week, schedule->zone, start - 1);
    bool full = busy_at(fleet, UINT32_MAX, schedule->source, index, start - 1) != 0;
    for (uint32_t r = 0; r < schedule->room_count; r++) {
        uint32_t places = fleet->rooms[schedule->rooms[r]].places;
        full = full ||
               (places != 0 && busy_at(fleet, schedule->rooms[r], 0, index, start - 1) >= places);
    }
    assert_true(shut || full);
}

static void every_forecast_keeps_the_rules(void **state)
{
    static Fleet fleet;
    unsigned dice = 3;
    size_t fates[FORECAST_SHUT + 1] = {0};
    Err err = {0};
    (void)state;
    fleet.zones[0] = zone_named("Europe/Berlin");
    fleet.zones[1] = zone_named("America/New_York");
    assert_true(calendar_add(&fleet.calendar, TEXT("2026-10-25"), &err));
    window_add(&fleet.weeks[0],
               &(Window){.days = 0x7f, .from = 1320, .to = 360, .on_close = WINDOW_CANCEL});
    window_add(&fleet.weeks[1],
               &(Window){.days = 0x3e, .from = 60, .to = 150, .on_close = WINDOW_FINISH});
    fleet.weeks[2].limited = true; /* never open */
    for (int n = 0; n < 60; n++) {
        draw(&fleet, &dice);
        foresee(&fleet.plan);
        size_t slots = 0;
        for (size_t i = 0; i < fleet.plan.schedule_count; i++) {
            const ForecastSchedule *schedule = &fleet.schedules[i];
            int64_t at = fleet.plan.from_s;
            while (cron_next(schedule->cron, schedule->zone, at, &at) && at <= fleet.plan.until_s)
                slots++;
        }
        assert_int_equal(seen.count, slots);
        int64_t busy[ROOMS] = {0};
        for (size_t i = 0; i < seen.count; i++) {
            const ForecastSlot *slot = &seen.slots[i];
            const ForecastSchedule *schedule = &fleet.schedules[slot->schedule];
            fates[slot->fate]++;
            assert_int_equal(slot->fate == FORECAST_EXCLUDED,
                             calendar_excludes(schedule->exclude, schedule->zone, slot->slot_s));
            assert_true(slot->fate != FORECAST_SHUT || schedule->week == &fleet.weeks[2]);
            assert_true(slot->fate != FORECAST_COALESCED || schedule->overlap_queue);
            assert_true(slot->fate != FORECAST_SKIPPED || !schedule->overlap_queue);
            /* It waited for the whole time that it had. */
            if (slot->fate == FORECAST_MISSED)
                assert_true(slot->window_wait_s + slot->room_wait_s >= schedule->start_deadline_s);
            if (slot->fate != FORECAST_RUNS)
                continue;
            check_run(&fleet, i);
            for (uint32_t r = 0; r < schedule->room_count; r++)
                busy[schedule->rooms[r]] +=
                    (slot->end_s < fleet.plan.until_s ? slot->end_s : fleet.plan.until_s) -
                    (slot->start_s < fleet.plan.until_s ? slot->start_s : fleet.plan.until_s);
        }
        for (size_t r = 0; r < ROOMS; r++) {
            assert_int_equal(fleet.rooms[r].busy_s, busy[r]);
            assert_int_equal(fleet.rooms[r].running + fleet.rooms[r].waiting, 0);
        }
    }
    for (size_t i = 0; i <= FORECAST_SHUT; i++)
        assert_true(fates[i] > 100); /* chance has tried them all */
    calendar_free(&fleet.calendar);
    zone_free(fleet.zones[0]);
    zone_free(fleet.zones[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(three_at_two_places_collide_and_one_waits),
        cmocka_unit_test(what_is_still_running_is_skipped_or_waited_for),
        cmocka_unit_test(a_window_that_closes_cuts_what_is_too_long),
        cmocka_unit_test(who_asks_for_no_more_gets_no_more),
        cmocka_unit_test(every_forecast_keeps_the_rules),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
