/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/sim/world.h"

#include "common/base/json.h"
#include "scheduler/core/core.h"
#include "tests/sim/catalogue.h"
#include "tests/sim/events.h"
#include "tests/sim/redis_client.h"
#include "tests/sim/redis_server.h"
#include "tests/sim/trace.h"
#include "worker/agent/agent.h"
#include "worker/agent/facts.h"

#include <signal.h>
#include <stdio.h>

World world;
WorldCounts world_counts;

/* --- the daemons ----------------------------------------------------------------------------- */

static void restart(void *ctx)
{
    Station *station = ctx;
    if (station->process == NULL)
        world_start(station);
}

static void gone(Station *station, int64_t back_after_ns)
{
    station->process = NULL;
    vm_at(vm_now() + back_after_ns, restart, station);
}

static void scheduler_main(void *ctx)
{
    Station *station = ctx;
    Core *core = NULL;
    Err err = {0};
    CoreParams params = {.catalog = {.conninfo = "scheduler", .timeout_ms = world.statement_ms},
                         .queue = {.url = TEXT("redis://sim")},
                         .host = station->host.name,
                         .force_leader = world.force_leader,
                         .tick_ms = world.tick_ms};
    station->main = vm_current();
    if (!core_start(&core, &params, &err))
        check_fail("a scheduler does not start: %s", err.text);
    while (!station->stopping)
        vm_block(VM_NEVER);
    core_stop(core);
    gone(station, vm_between(50, 3000) * VM_MS);
    vm_exit();
}

static void agent_main(void *ctx)
{
    Station *station = ctx;
    Err err = {0};
    JobSettings settings = {
        .name = station->host.name, .host = station->host.name, .cache = "/nonexistent"};
    AgentParams params = {
        .settings = &settings,
        .catalog = {.conninfo = station->conninfo, .timeout_ms = world.statement_ms},
        .queue = {.url = TEXT("redis://sim")},
        .slots = station->slots,
        .child_argv = station->child_argv,
        .config = "",
        .drain_ms = world.drain_ms,
        .kill_grace_ms = world.kill_grace_ms};
    if (!agent_run(&params, &err))
        check_fail("an agent ends by itself: %s: %s", err.cause, err.text);
    Process *me = vm_current_process();
    redis_client_killed(me);
    child_parent_killed(me);
    gone(station, vm_between(50, 3000) * VM_MS);
    vm_exit();
}

/* facts.h: the one thing that our workers differ in. */
void facts_collect(const JobSettings *settings, const json_t *tags, Buf *out)
{
    (void)settings, (void)tags;
    for (size_t i = 0; i < world.station_count; i++)
        if (strcmp(world.stations[i].host.name, settings->name) == 0)
            buf_add_text(out, world.stations[i].engines == 1 ? TEXT("files") : TEXT("all"));
}

void world_start(Station *station)
{
    trace("start %s", station->host.name);
    station->process = vm_process(station->host.name, station->host.skew_ns);
    station->stopping = station->frozen = false;
    station->main = NULL;
    station->started_ns = vm_now();
    vm_set_owner(station->process, &station->host);
    vm_spawn(station->process, station->scheduler ? scheduler_main : agent_main, station);
}

void world_sick(int64_t *sick_ns, int64_t ns)
{
    if (vm_now() + ns > *sick_ns)
        *sick_ns = vm_now() + ns;
}

void world_kill(Station *station, int64_t back_after_ns)
{
    Process *process = station->process;
    if (process == NULL)
        return;
    world_sick(&station->sick_ns, back_after_ns);
    trace("kill -9 %s", station->host.name);
    vm_kill(process);
    redis_client_killed(process);
    child_parent_killed(process);
    gone(station, back_after_ns);
}

static void go_on(void *ctx)
{
    Station *station = ctx;
    if (station->process == NULL || !station->frozen)
        return;
    trace("cont %s", station->host.name);
    station->frozen = false;
    vm_continue(station->process);
    child_host_stopped(&station->host, false);
}

void world_stop(Station *station, bool children_too, int64_t ns)
{
    if (station->process == NULL || station->frozen)
        return;
    trace("stop %s%s for %.1f s", station->host.name, children_too ? " and its children" : "",
          (double)ns / 1e9);
    station->frozen = true;
    world_sick(&station->sick_ns, ns);
    vm_stop(station->process);
    if (children_too)
        child_host_stopped(&station->host, true);
    vm_at(vm_now() + ns, go_on, station);
}

void world_end_softly(Station *station)
{
    if (station->process == NULL)
        return;
    trace("term %s", station->host.name);
    station->stopping = true;
    world_sick(&station->sick_ns, (world.drain_ms + world.kill_grace_ms) * VM_MS + 10 * VM_S);
    if (station->scheduler && station->main != NULL)
        vm_wake(station->main);
    else if (!station->scheduler)
        events_signal(station->process, SIGTERM);
}

int64_t world_lease_ns(void)
{
    return (int64_t)(catalogue_model()->setting.lease * 1e9);
}

/* --- the fleet ------------------------------------------------------------------------------- */

static void draw_settings(Model *m)
{
    double scale = vm_chance(500) ? 0.1 : 0.2; /* of the defaults: an hour's troubles in minutes */
    m->setting.lease *= scale;
    m->setting.beat *= scale;
    m->setting.liveness *= scale;
    m->setting.looks *= scale;
    m->setting.grace *= scale;
    m->setting.mass_wait *= scale / 2;
    m->setting.requeue *= scale;
    m->setting.requeue_force *= 0.1;
    m->setting.loss_backoff *= scale / 2;
    m->setting.loss_backoff_max = 10;
    m->setting.max_losses = vm_chance(500) ? 3 : 20;
    m->setting.defer_min = 0.5;
    m->setting.defer_max = vm_chance(500) ? 1 : 5;
    m->setting.leader = 6;
    m->setting.aging = 30;
    m->setting.recall *= scale;
}

/* Histories begin with 2026 and last four minutes, one of which may be shut. */
static void draw_time(ModelSource *source)
{
    if (vm_chance(150)) {
        source->shut_from = (int32_t)vm_between(0, 3);
        source->shut_until = source->shut_from + 1;
        source->cancels = vm_chance(500);
    }
    if (vm_chance(50))
        source->excluded = vm_chance(500) ? "2026-01-01" : "01-02";
}

static void draw_source(ModelSpec *spec, size_t i)
{
    *spec = (ModelSpec){.source = {.pool = vm_chance(700) ? world.pool : world.second_pool,
                                   .engine = vm_chance(200) ? 1 : 0,
                                   .attempts = (int32_t)vm_between(1, 5),
                                   .backoff_s = 1,
                                   .max_backoff_s = 8,
                                   .jitter = vm_chance(800),
                                   .timeout_s = vm_chance(300) ? 40 : 0,
                                   .stall_s = vm_chance(800) ? 20 : 0,
                                   .concurrent = vm_chance(300) ? (int32_t)vm_between(1, 3) : 0,
                                   .per_host = vm_chance(300) ? (int32_t)vm_between(1, 2) : 0,
                                   .labels = vm_chance(300) ? (uint32_t)vm_between(0, 3) : 0},
                        .schedule = {.catch_up = vm_chance(700), .overlap_skip = vm_chance(600)}};
    snprintf(spec->source.name, MODEL_NAME, "s%zu", i + 1);
    snprintf(spec->source.policy, MODEL_NAME, vm_chance(500) ? "gold" : "iron");
    snprintf(spec->source.owner, MODEL_NAME, vm_chance(500) ? "ann" : vm_chance(500) ? "bob" : "");
    snprintf(spec->source.reads, MODEL_NAME, vm_chance(600) ? "" : vm_chance(500) ? "db1" : "db2");
    if (spec->source.stall_s == 0 && spec->source.timeout_s == 0)
        spec->source.timeout_s = 30; /* else what hangs hangs for ever, as it was told */
    snprintf(spec->schedule.name, MODEL_NAME, "often");
    /* Who may overlap must not be asked for more than there is room for. */
    snprintf(spec->schedule.at, MODEL_NAME, "every %ds",
             (int)vm_between(spec->schedule.overlap_skip ? 10 : 40, 60));
    if (vm_chance(300))
        spec->schedule.start_deadline_s = vm_between(5, 60);
    draw_time(&spec->source);
}

void world_apply(void)
{
    trace("policy of %zu sources", world.spec_count);
    model_policy_apply(catalogue_model(), world.specs, world.spec_count);
    check_policy();
}

static Station *add_station(bool scheduler, size_t number)
{
    Station *station = &world.stations[world.station_count++];
    *station = (Station){.scheduler = scheduler};
    snprintf(station->host.name, sizeof station->host.name, "%s%zu", scheduler ? "sch" : "w",
             number);
    station->host.skew_ns = vm_chance(200) ? vm_between(-86400, 86400) * VM_S : 0;
    return station;
}

static void draw_agent(Model *m, size_t number)
{
    char pool[MODEL_NAME];
    Station *station = add_station(false, number);
    snprintf(pool, sizeof pool, "host:%s", station->host.name);
    uint32_t pools = 1u << model_pool(m, pool) | 1u << world.pool;
    if (number == 1 || vm_chance(500))
        pools |= 1u << world.second_pool;
    station->worker = model_enroll(m, station->host.name, pools);
    station->slots = (uint32_t)vm_between(1, 3);
    station->engines = number == 1 || vm_chance(700) ? 3 : 1;
    snprintf(station->conninfo, sizeof station->conninfo, "%u", station->worker);
    station->child_argv[0] = station->conninfo;
}

static void draw_world(void)
{
    Model *m = catalogue_model();
    draw_settings(m);
    world.pool = model_pool(m, "fra");
    world.second_pool = model_pool(m, "nyc");
    world.force_leader = vm_chance(200);
    world.tick_ms = vm_chance(100) ? 0 : 500;
    world.chaos_until = vm_between(40, 120) * VM_S;
    world.statement_ms = vm_chance(500) ? 0 : vm_between(300, 5000);
    world.drain_ms = vm_between(0, 10000);
    world.kill_grace_ms = vm_between(500, 4000);
    size_t schedulers = (size_t)vm_between(1, 3), agents = (size_t)vm_between(1, 3);
    for (size_t i = 1; i <= schedulers; i++)
        add_station(true, i);
    for (size_t i = 1; i <= agents; i++)
        draw_agent(m, i);
    world.spec_count = (size_t)vm_between(1, SOURCES_MOST);
    for (size_t i = 0; i < world.spec_count; i++)
        draw_source(&world.specs[i], i);
    if (vm_chance(300))
        m->pools[world.pool].most = (uint32_t)vm_between(1, 3);
    if (vm_chance(200))
        m->pools[world.pool].window = (uint32_t)vm_between(1, 3);
    for (size_t i = 0; i < MODEL_BUDGETS; i++)
        m->budgets[i] = vm_chance(300) ? (int32_t)vm_between(1, 3) : 0;
    m->uploads = vm_chance(200) ? (int32_t)vm_between(1, 4) : 0;
    child_habits(&(ChildHabits){.fails = (unsigned)vm_between(0, 60),
                                .fails_for_good = (unsigned)vm_between(0, 10),
                                .crashes = (unsigned)vm_between(0, 30),
                                .hangs = vm_chance(300) ? 10 : 0,
                                .dies_after_commit = vm_chance(300) ? 100 : 0,
                                .work_most_ns = vm_between(200, 3000) * VM_MS});
    world_apply();
}

/* --- one history ----------------------------------------------------------------------------- */

static void heal(void *ctx)
{
    (void)ctx;
    trace("everything is whole from here on");
    faults_heal();
    for (size_t i = 0; i < world.station_count; i++) {
        go_on(&world.stations[i]);
        restart(&world.stations[i]);
    }
    child_habits(&(ChildHabits){.work_most_ns = VM_S});
    world.healed = true;
}

void world_wait_for(int64_t ns)
{
    world.waits = true;
    if (vm_now() + ns > world.end)
        world.end = vm_now() + ns;
}

static void finish(void *ctx)
{
    if (vm_now() < world.end) {
        vm_at(world.end, finish, ctx);
        return;
    }
    check_end();
    vm_halt();
}

static void count(void)
{
    const Model *m = catalogue_model();
    world_counts.jobs += m->jobs.count;
    world_counts.attempts += m->attempts.count;
    world_counts.backups += m->backups.count;
    for (size_t i = 0; i < m->attempts.count; i++)
        world_counts.lost += m->attempts.rows[i].outcome == MODEL_LOST;
    world_counts.steps += vm_steps();
    world_counts.virtual_ns += vm_now();
}

bool world_run(uint64_t seed)
{
    vm_begin(seed);
    wraps_reset();
    events_reset();
    redis_client_begin();
    redis_server_begin();
    child_begin();
    catalogue_begin();
    world = (World){.seed = seed};
    check_begin();
    draw_world();
    for (size_t i = 0; i < world.station_count; i++)
        world_start(&world.stations[i]);
    faults_begin();
    vm_at(world.chaos_until, heal, NULL);
    world.end = world.chaos_until + 120 * VM_S;
    vm_at(world.end, finish, NULL);
    vm_run(VM_NEVER);
    count();
    return !check_broken();
}
