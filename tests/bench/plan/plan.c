/* SPDX-License-Identifier: Apache-2.0
 * plan.c — times the planner alone: how many slots a second it finds, decides and foresees.
 *     bench_plan [schedules [days]]
 * A fleet of sources in twenty zones, with hourly, daily, weekly and six-hourly schedules, half of
 * them in windows, on fifty pools and two thousand hosts. Prints slots, seconds, slots a second and
 * the peak of memory after each part: it must not grow with the days. */
#include "common/base/clock.h"
#include "common/base/mem.h"
#include "scheduler/plan/due.h"
#include "scheduler/plan/forecast.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>

static const char *const zone_names[] = {
    "Europe/Berlin",     "America/New_York",    "Asia/Tokyo",          "Australia/Sydney",
    "America/Sao_Paulo", "Asia/Kolkata",        "Africa/Casablanca",   "Europe/London",
    "America/Chicago",   "America/Los_Angeles", "Asia/Singapore",      "Europe/Dublin",
    "Pacific/Auckland",  "America/Denver",      "Europe/Paris",        "Asia/Dubai",
    "Africa/Cairo",      "America/Toronto",     "Australia/Lord_Howe", "UTC",
};
enum { ZONES = 20, POOLS = 50, HOSTS = 2000 };

typedef struct Bench {
    Zone *zones[ZONES];
    WindowWeek night;
    Cron *crons;
    ForecastSchedule *schedules;
    ForecastRoom rooms[POOLS + HOSTS];
    size_t count;
    int64_t from_s, until_s;
} Bench;

static void must(bool good, const Err *err)
{
    if (good)
        return;
    fprintf(stderr, "%s: %s\n", err->cause, err->text);
    exit(1);
}

static void tell(const char *what, uint64_t slots, int64_t began_ns)
{
    struct rusage usage;
    double seconds = (double)(clock_mono_ns() - began_ns) / 1e9;
    getrusage(RUSAGE_SELF, &usage);
    printf("%-9s %9" PRIu64 " slots %7.3f s %10.0f slots/s  peak %ld MiB\n", what, slots, seconds,
           (double)slots / seconds, usage.ru_maxrss / 1024);
}

static void set_up(Bench *bench)
{
    static const char *const rules[] = {"@hourly", "@daily",           "H 2 * * *", "0 */6 * * *",
                                        "@weekly", "H H(0-5) * * 1-5", "every 6h",  "30 2 * * *"};
    Err err = {0};
    bench->crons = mem_array(Cron, bench->count);
    bench->schedules = mem_array(ForecastSchedule, bench->count);
    for (size_t i = 0; i < ZONES; i++)
        must(zone_open(&bench->zones[i], text_of(zone_names[i]), &err), &err);
    window_add(&bench->night,
               &(Window){.days = 0x7f, .from = 1320, .to = 480, .on_close = WINDOW_FINISH});
    for (size_t i = 0; i < bench->count; i++) {
        char name[32];
        snprintf(name, sizeof name, "source-%zu", i);
        must(cron_parse(text_of(rules[i % 8]), text_of(name), &bench->crons[i], &err), &err);
        bench->schedules[i] = (ForecastSchedule){
            .cron = &bench->crons[i],
            .zone = bench->zones[i % ZONES],
            .week = i % 16 < 8 ? &bench->night : NULL,
            .source = (uint32_t)i,
            .rooms = {(uint32_t)(i % POOLS), (uint32_t)(POOLS + i % HOSTS)},
            .room_count = 2,
            .expected_s = 60 + (int64_t)(i * 37 % 1500),
            .start_deadline_s = 6 * 3600,
        };
    }
    for (size_t i = 0; i < POOLS + HOSTS; i++)
        bench->rooms[i].places = i < POOLS ? 16 : 2;
}

/* Each slot by itself, as cron_next finds it. */
static void find(const Bench *bench)
{
    uint64_t slots = 0;
    int64_t began = clock_mono_ns();
    for (size_t i = 0; i < bench->count; i++) {
        int64_t at = bench->from_s;
        const ForecastSchedule *schedule = &bench->schedules[i];
        while (cron_next(schedule->cron, schedule->zone, at, &at) && at <= bench->until_s)
            slots++;
    }
    tell("found", slots, began);
}

/* As a scheduler does: it looks at every schedule each quarter of an hour. */
static void decide(const Bench *bench)
{
    static DueList due;
    uint64_t slots = 0;
    int64_t *last = mem_array(int64_t, bench->count);
    int64_t began = clock_mono_ns();
    for (size_t i = 0; i < bench->count; i++)
        last[i] = bench->from_s * 1000000000;
    for (int64_t now = bench->from_s; now <= bench->until_s && now < bench->from_s + 86400;
         now += 900)
        for (size_t i = 0; i < bench->count; i++) {
            DueRule rule = {.cron = bench->crons[i],
                            .zone = bench->schedules[i].zone,
                            .catch_up = true,
                            .start_deadline_s = 6 * 3600};
            due_slots(&rule, last[i], now * 1000000000, &due);
            slots += due.count;
            if (due.count != 0)
                last[i] = due.slots[due.count - 1].slot_ns;
        }
    tell("decided", slots, began);
    mem_free(last);
}

typedef struct Counts {
    uint64_t slots, runs, skipped, missed, collisions;
} Counts;

static bool count_slot(void *ctx, const ForecastSlot *slot)
{
    Counts *counts = ctx;
    counts->slots++;
    counts->runs += slot->fate == FORECAST_RUNS;
    counts->skipped += slot->fate == FORECAST_SKIPPED;
    counts->missed += slot->fate == FORECAST_MISSED;
    return true;
}

static void count_collision(void *ctx, const ForecastCollision *collision)
{
    Counts *counts = ctx;
    (void)collision;
    counts->collisions++;
}

static void foresee(Bench *bench)
{
    Counts counts = {0};
    ForecastPlan plan = {.schedules = bench->schedules,
                         .schedule_count = bench->count,
                         .rooms = bench->rooms,
                         .room_count = POOLS + HOSTS,
                         .source_count = bench->count,
                         .from_s = bench->from_s,
                         .until_s = bench->until_s};
    int64_t began = clock_mono_ns();
    forecast_run(&plan, &(ForecastSink){&counts, count_slot, count_collision});
    tell("foreseen", counts.slots, began);
    printf("          %" PRIu64 " run, %" PRIu64 " skipped, %" PRIu64 " missed, %" PRIu64
           " collisions\n",
           counts.runs, counts.skipped, counts.missed, counts.collisions);
}

int main(int argc, char **argv)
{
    static Bench bench = {.from_s = 1795219200}; /* 2026-11-21 */
    bench.count = argc > 1 ? strtoul(argv[1], NULL, 10) : 10000;
    bench.until_s = bench.from_s + (argc > 2 ? strtoll(argv[2], NULL, 10) : 30) * 86400;
    set_up(&bench);
    find(&bench);
    decide(&bench);
    foresee(&bench);
    return 0;
}
