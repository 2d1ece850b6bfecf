/* SPDX-License-Identifier: Apache-2.0
 * faults.c — what breaks, and what operators do meanwhile. Each seed has its own few kinds. */
#include "tests/sim/catalogue.h"
#include "tests/sim/events.h"
#include "tests/sim/redis_client.h"
#include "tests/sim/redis_server.h"
#include "tests/sim/trace.h"
#include "tests/sim/world.h"

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>

static Station *any_station(void)
{
    return &world.stations[vm_draw(world.station_count)];
}

static Station *any_agent(void)
{
    for (;;) {
        Station *station = any_station();
        if (!station->scheduler)
            return station;
    }
}

static int64_t some_time(void)
{
    int64_t lease = world_lease_ns();
    if (vm_chance(60)) /* longer than any statement waits */
        return vm_between(31, 60) * VM_S;
    return vm_chance(500) ? vm_between(100, 2000) * VM_MS : vm_between(lease / 2, 3 * lease);
}

/* --- processes ------------------------------------------------------------------------------- */

static void kill_station(void)
{
    world_kill(any_station(), vm_chance(500) ? vm_between(50, 2000) * VM_MS : some_time());
}

static void stop_station(void)
{
    world_stop(any_station(), false, some_time());
}

static void freeze_host(void)
{
    world_stop(any_station(), true, some_time());
}

static void kill_child(void)
{
    (void)child_kill_one();
}

static void end_softly(void)
{
    Station *station = any_station();
    world_end_softly(station);
    if (vm_chance(300))
        world_end_softly(station);
}

static void look_again(void)
{
    Station *station = any_agent();
    if (station->process != NULL)
        events_signal(station->process, SIGHUP);
}

/* --- the network ----------------------------------------------------------------------------- */

static void mend(void *ctx)
{
    Link *link = ctx;
    trace("link mended");
    *link = (Link){0};
}

static void hurt(Link *link, Station *station, const char *what)
{
    int64_t ns = some_time();
    if (link == &station->host.catalogue)
        world_sick(&station->sick_ns, ns);
    trace("link %s of %s: to=%d from=%d slow=%.1f drops=%u for %.1f s", what, station->host.name,
          link->cut_to, link->cut_from, (double)link->slow_ns / 1e9, link->drops, (double)ns / 1e9);
    vm_at(vm_now() + ns, mend, link);
}

static void link_breaks(void)
{
    Station *station = any_station();
    bool redis = vm_chance(400);
    Link *link = redis ? &station->host.redis : &station->host.catalogue;
    switch (vm_draw(5)) {
    case 0:
        link->cut_to = link->cut_from = true;
        break;
    case 1:
        link->cut_from = true;
        break;
    case 2:
        link->cut_to = true;
        break;
    case 3:
        link->drops = (unsigned)vm_between(10, 400);
        break;
    default:
        link->slow_ns = vm_between(1, 4000) * VM_MS;
    }
    hurt(link, station, redis ? "to redis" : "to the catalogue");
}

static void everybody_loses_the_catalogue(void)
{
    int64_t ns = some_time();
    trace("nobody reaches the catalogue for %.1f s", (double)ns / 1e9);
    world_sick(&world.sick_ns, ns);
    for (size_t i = 0; i < world.station_count; i++) {
        Link *link = &world.stations[i].host.catalogue;
        link->cut_to = link->cut_from = true;
        vm_at(vm_now() + ns, mend, link);
    }
}

/* --- Redis ----------------------------------------------------------------------------------- */

static void redis_back(void *ctx)
{
    (void)ctx;
    trace("redis is up");
    redis_server_up();
}

static void redis_down(const char *how)
{
    trace("redis goes down: %s", how);
    redis_server_down();
    redis_client_server_gone();
    vm_at(vm_now() + vm_between(20, 4000) * VM_MS, redis_back, NULL);
}

static void redis_flush(void)
{
    trace("FLUSHALL");
    redis_server_flush();
}

static void redis_restarts(void)
{
    bool empty = vm_chance(500);
    redis_down(empty ? "and comes back empty" : "and keeps its data");
    if (empty)
        redis_server_empty();
}

static void redis_fails_over(void *ctx)
{
    (void)ctx;
    if (world.healed)
        return;
    redis_server_restore();
    redis_down("and comes back with an older state");
}

static void redis_loses_its_tail(void)
{
    redis_server_remember();
    vm_at(vm_now() + some_time(), redis_fails_over, NULL);
}

/* --- the catalogue --------------------------------------------------------------------------- */

static void catalogue_back(void *ctx)
{
    (void)ctx;
    if (catalogue_is_up())
        return;
    trace("the catalogue is up");
    catalogue_up();
}

static void catalogue_restarts(void)
{
    int64_t ns = some_time();
    trace("the catalogue goes down for %.1f s", (double)ns / 1e9);
    world_sick(&world.sick_ns, ns);
    catalogue_down();
    vm_at(vm_now() + ns, catalogue_back, NULL);
}

static void promote(void *ctx)
{
    (void)ctx;
    if (world.healed)
        return;
    trace("a standby is promoted");
    world_sick(&world.sick_ns, 0);
    catalogue_failover();
    check_tail_lost();
}

static void catalogue_loses_its_tail(void)
{
    trace("the standby stops replaying");
    catalogue_standby_stops();
    vm_at(vm_now() + vm_between(50, 6000) * VM_MS, promote, NULL);
}

static void unlock(void *ctx)
{
    (void)ctx;
    catalogue_busy(0);
}

static void catalogue_is_busy(void)
{
    int64_t ns = some_time();
    world_sick(&world.sick_ns, ns);
    catalogue_busy((unsigned)vm_between(50, 500));
    vm_at(vm_now() + ns, unlock, NULL);
}

/* --- clocks and stores ------------------------------------------------------------------------ */

static void host_clock_jumps(void)
{
    Station *station = any_station();
    station->host.skew_ns = vm_between(-400, 400) * 86400 * VM_S;
    if (station->process != NULL)
        vm_set_skew(station->process, station->host.skew_ns);
}

static void catalogue_clock_jumps(void)
{
    static const int64_t jumps[] = {-20, -2, 5, 60, 600};
    int64_t seconds = jumps[vm_draw(sizeof jumps / sizeof jumps[0])];
    /* Back once at most: schedules wait until it is later than it was. */
    if (seconds < 0 && world.went_back)
        return;
    world.went_back |= seconds < 0;
    trace("the catalogue's clock jumps by %" PRId64 " s", seconds);
    world_sick(&world.sick_ns, (seconds < 0 ? -seconds : 0) * VM_S);
    catalogue_skew(catalogue_now_us() * 1000 - vm_wall(NULL) + seconds * VM_S);
}

static void store_back(void *ctx)
{
    Host *host = ctx;
    host->store_fails = 0;
    host->store_slow_ns = 0;
}

static void store_breaks(void)
{
    Station *station = any_agent();
    station->host.store_fails = vm_chance(500) ? 1000 : 200;
    station->host.store_slow_ns = vm_between(0, 5000) * VM_MS;
    vm_at(vm_now() + some_time(), store_back, &station->host);
}

/* --- operators ------------------------------------------------------------------------------- */

static void cancel_something(void)
{
    Model *m = catalogue_model();
    char state[16];
    Err err = {0};
    uint64_t job = m->jobs.count - vm_draw(m->jobs.count < 8 ? m->jobs.count : 8);
    if (m->jobs.count > 0 && catalogue_is_up() && model_cancel(m, job, state, &err))
        trace("cancel job=%" PRIu64 ": %s", job, state);
}

static void ask_for_something(void)
{
    Model *m = catalogue_model();
    Err err = {0};
    uint64_t job = 0;
    if (!catalogue_is_up())
        return;
    if (vm_chance(300))
        (void)!model_create(m, MODEL_PROBE, NULL, world.pool, 0, 0, &job, &err);
    else
        (void)!model_create(m, MODEL_BACKUP, world.specs[vm_draw(world.spec_count)].source.name, 0,
                            (int32_t)vm_between(-100, 100), vm_chance(300) ? model_after(m, 20) : 0,
                            &job, &err);
    if (job != 0 && m->jobs.rows[job - 1].kind == MODEL_BACKUP && vm_chance(100)) {
        m->jobs.rows[job - 1].emergency = true;
        m->jobs.rows[job - 1].priority = JOB_PRIORITY_EMERGENCY;
    }
    trace("ask for job=%" PRIu64, job);
}

static void try_again(void)
{
    Model *m = catalogue_model();
    Err err = {0};
    uint64_t made;
    bool again;
    for (uint64_t job = m->jobs.count; job > 0 && catalogue_is_up(); job--)
        if (m->jobs.rows[job - 1].state == JOB_FAILED) {
            if (model_retry(m, job, &made, &again, &err))
                trace("retry job=%" PRIu64, job);
            return;
        }
}

static void resume_pool(void *ctx)
{
    Model *m = catalogue_model();
    (void)ctx;
    for (uint32_t i = 1; i <= m->pool_count; i++)
        m->pools[i].paused = false;
}

static void pause_pool(void)
{
    Model *m = catalogue_model();
    if (!catalogue_is_up())
        return;
    m->pools[vm_chance(500) ? world.pool : world.second_pool].paused = true;
    vm_at(vm_now() + some_time(), resume_pool, NULL);
}

static void resume_workers(void *ctx)
{
    Model *m = catalogue_model();
    (void)ctx;
    for (size_t i = 0; i < m->workers.count; i++)
        m->workers.rows[i].drain = false;
}

static void drain_worker(void)
{
    Model *m = catalogue_model();
    if (!catalogue_is_up())
        return;
    m->workers.rows[vm_draw(m->workers.count)].drain = true;
    vm_at(vm_now() + some_time(), resume_workers, NULL);
}

static void pause_source(void)
{
    Model *m = catalogue_model();
    if (catalogue_is_up() && m->sources.count > 0)
        m->sources.rows[vm_draw(m->sources.count)].paused_until =
            m->now + vm_between(1, 20) * 1000000;
}

static void change_policy(void)
{
    ModelSpec *spec = &world.specs[vm_draw(world.spec_count)];
    if (!catalogue_is_up())
        return;
    switch (vm_draw(4)) {
    case 0:
        spec->source.pool = spec->source.pool == world.pool ? world.second_pool : world.pool;
        break;
    case 1:
        snprintf(spec->schedule.at, MODEL_NAME, "every %ds", (int)vm_between(40, 60));
        break;
    case 2:
        catalogue_model()->pools[world.pool].most = (uint32_t)vm_between(0, 3);
        catalogue_model()->budgets[0] = (int32_t)vm_between(0, 3);
        break;
    default:
        if (world.spec_count > 1) {
            ModelSpec last = world.specs[world.spec_count - 1];
            world.specs[world.spec_count - 1] = *spec;
            *spec = last;
            world.spec_count--;
        }
    }
    world_apply();
}

/* --- drawing --------------------------------------------------------------------------------- */

static const struct {
    void (*happens)(void);
    unsigned weight;
} faults[] = {
    {kill_station, 8},
    {stop_station, 5},
    {freeze_host, 4},
    {kill_child, 5},
    {end_softly, 4},
    {link_breaks, 10},
    {everybody_loses_the_catalogue, 2},
    {redis_flush, 5},
    {redis_restarts, 4},
    {redis_loses_its_tail, 3},
    {catalogue_restarts, 4},
    {catalogue_loses_its_tail, 2},
    {catalogue_is_busy, 2},
    {host_clock_jumps, 2},
    {catalogue_clock_jumps, 2},
    {store_breaks, 3},
    {cancel_something, 5},
    {ask_for_something, 6},
    {try_again, 3},
    {pause_pool, 2},
    {drain_worker, 2},
    {pause_source, 2},
    {change_policy, 2},
    {look_again, 1},
};
enum { KINDS = sizeof faults / sizeof faults[0] };

static void next(void *ctx)
{
    unsigned total = 0;
    if (vm_now() >= world.chaos_until)
        return;
    for (unsigned i = 0; i < KINDS; i++)
        total += (world.faults >> i & 1) * faults[i].weight;
    uint64_t at = vm_draw(total);
    for (unsigned i = 0; i < KINDS; i++) {
        unsigned weight = (world.faults >> i & 1) * faults[i].weight;
        if (at < weight) {
            world_counts.faults++;
            faults[i].happens();
            break;
        }
        at -= weight;
    }
    vm_at(vm_now() + vm_between(50 * VM_MS, world.pause_most_ns), next, ctx);
}

void faults_begin(void)
{
    world.faults = 1u << vm_draw(KINDS);
    for (unsigned i = 0; i < KINDS; i++)
        if (vm_chance(350))
            world.faults |= 1u << i;
    world.pause_most_ns = vm_between(1000, 20000) * VM_MS;
    vm_at(vm_between(0, 5000) * VM_MS, next, NULL);
}

void faults_heal(void)
{
    for (size_t i = 0; i < world.station_count; i++) {
        Host *host = &world.stations[i].host;
        host->catalogue = host->redis = (Link){0};
        store_back(host);
    }
    catalogue_busy(0);
    catalogue_back(NULL);
    if (!redis_server_is_up())
        redis_back(NULL);
    resume_pool(NULL);
    resume_workers(NULL);
}
