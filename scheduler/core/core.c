/* SPDX-License-Identifier: Apache-2.0 */
#include "scheduler/core/core.h"

#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/base/rand.h"
#include "common/catalog/catalog_audit.h"
#include "common/catalog/catalog_collect.h"
#include "common/catalog/catalog_copy.h"
#include "common/catalog/catalog_plan.h"
#include "scheduler/core/dispatch.h"
#include "scheduler/core/fire.h"
#include "scheduler/core/retain.h"
#include "scheduler/core/window_gate.h"

#include <inttypes.h>
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <time.h>

/* How often each kind of work is looked at. A slot is a second late at most, a lost Redis is
 * noticed within a second, a dead worker's ticket within two. */
enum {
    TICK_MS = 200,
    FIRE_MS = 500,
    LEAD_MS = 2000,
    REAP_MS = 1000,
    RESYNC_MS = 1000,
    REPAIR_MS = 2000,
    CHAIN_MS = 500,
    RETAIN_MS = 1000,
    HOUSEKEEP_MS = 60000,
    RECONNECT_MS = 500,
    FAILED_MS = 10000,
    SILENT_MS = 1000, /* less is not worth asking how long a lease outlives a beat */
};

typedef enum Work {
    WORK_LEAD,
    WORK_FIRE,
    WORK_RESYNC,
    WORK_REPAIR,
    WORK_REAP,
    WORK_CHAIN,
    WORK_RETAIN,
    WORK_HOUSEKEEP,
    WORK_COUNT
} Work;

static const int64_t periods_ms[WORK_COUNT] = {
    [WORK_LEAD] = LEAD_MS,     [WORK_FIRE] = FIRE_MS,           [WORK_RESYNC] = RESYNC_MS,
    [WORK_REPAIR] = REPAIR_MS, [WORK_REAP] = REAP_MS,           [WORK_CHAIN] = CHAIN_MS,
    [WORK_RETAIN] = RETAIN_MS, [WORK_HOUSEKEEP] = HOUSEKEEP_MS,
};

struct Core {
    CoreParams params;
    Uuid holder;
    pthread_t thread;
    bool started;
    pthread_mutex_t lock; /* guards stop, woken, state */
    pthread_cond_t signal;
    bool stop;
    bool woken;
    CoreState state;
    /* the thread's own */
    Catalog *catalog;
    Queue *queue;
    bool queue_checked;
    bool push_again; /* what is queued may never have been pushed: by a leader that died, or here */
    bool catalogue_told, redis_told; /* a first failure is news too */
    char failed[64];                 /* the last failure that is neither's, and when it was told */
    int64_t failed_ms;
    FireCache *cache;
    WindowGate *gate;
    int64_t due_ms[WORK_COUNT];
    int64_t retry_ms;
    int64_t waited_ms; /* for the slowest answer since the last look for the dead */
    bool mass;         /* said already */
};

static int64_t now_ms(void)
{
    return clock_mono_ns() / 1000000;
}

/* Says once that something is away, and once that it is back. */
static void note(Core *core, bool *up, bool *told, char *words, bool good, const char *what,
                 const Err *err)
{
    pthread_mutex_lock(&core->lock);
    bool was = *up;
    *up = good;
    snprintf(words, sizeof core->state.redis_error, "%s", good ? "" : err->text);
    pthread_mutex_unlock(&core->lock);
    if (!good && (was || !*told))
        log_err(what, err);
    *told = true;
    if (!was && good)
        log_info(what, "up=true");
}

static void note_catalogue(Core *core, bool good, const Err *err)
{
    note(core, &core->state.catalogue_up, &core->catalogue_told, core->state.catalogue_error, good,
         "catalogue.state", err);
}

static void note_redis(Core *core, bool good, const Err *err)
{
    note(core, &core->state.redis_up, &core->redis_told, core->state.redis_error, good,
         "redis.state", err);
}

/* One that stays comes five times a second: it is told every ten seconds. */
static void tell_failure(Core *core, const Err *err)
{
    if (strcmp(core->failed, err->cause) == 0 && now_ms() < core->failed_ms + FAILED_MS)
        return;
    snprintf(core->failed, sizeof core->failed, "%s", err->cause);
    core->failed_ms = now_ms();
    log_err("core.failed", err);
}

/* A failure of a pass belongs to one of the two: Redis' causes begin with queue. or redis. */
static void blame(Core *core, const Err *err)
{
    if (strncmp(err->cause, "queue.", 6) == 0 || strncmp(err->cause, "redis.", 6) == 0) {
        core->queue_checked = false;
        note_redis(core, false, err);
    } else if (!catalog_ok(core->catalog))
        note_catalogue(core, false, err);
    else
        tell_failure(core, err);
}

static void lead_as(Core *core, uint64_t term)
{
    pthread_mutex_lock(&core->lock);
    bool news = core->state.leads != (term != 0) || core->state.term != term;
    core->state.leads = term != 0;
    core->state.term = term;
    pthread_mutex_unlock(&core->lock);
    if (news) {
        log_info("leader.state", "leads=%s term=%" PRIu64, term != 0 ? "true" : "false", term);
        window_gate_forget(core->gate); /* who led meanwhile may have told others */
    }
    core->push_again = core->push_again || (news && term != 0);
}

/* Nothing is done by the right that an older connection had: whoever cannot ask does not lead. */
static void step_down(Core *core)
{
    if (core->state.leads)
        lead_as(core, 0);
    core->due_ms[WORK_LEAD] = 0;
}

/* After every reconnect nobody is reaped for a while: a network that was away must not cost every
 * worker its jobs. */
static bool connect_catalogue(Core *core)
{
    Err err = {0};
    if (core->catalog != NULL && catalog_ok(core->catalog))
        return true;
    step_down(core);
    if (now_ms() < core->retry_ms)
        return false;
    core->retry_ms = now_ms() + RECONNECT_MS;
    bool done = core->catalog == NULL ? catalog_open(&core->catalog, &core->params.catalog, &err)
                                      : catalog_reset(core->catalog, &err);
    done = done && catalog_reap_hold(core->catalog, INFINITY, &err);
    note_catalogue(core, done, &err);
    return done;
}

static bool check_queue(Core *core)
{
    Err err = {0};
    QueueStatus status = {0};
    if (core->queue_checked)
        return true;
    core->queue_checked = queue_check(core->queue, &status, &err);
    pthread_mutex_lock(&core->lock);
    snprintf(core->state.redis_version, sizeof core->state.redis_version, "%s", status.version);
    snprintf(core->state.redis_eviction, sizeof core->state.redis_eviction, "%s", status.eviction);
    pthread_mutex_unlock(&core->lock);
    note_redis(core, core->queue_checked, &err);
    core->push_again = core->push_again || core->queue_checked;
    return core->queue_checked;
}

static bool lead(Core *core, Err *err)
{
    uint64_t term = 1;
    if (!core->params.force_leader &&
        !catalog_leader_take(core->catalog, &core->holder, text_of(core->params.host), &term,
                             err)) {
        step_down(core);
        return false;
    }
    lead_as(core, term);
    return true;
}

/* Between the catalogue's commit and the push a leader may die, or Redis go away: whoever leads
 * next, or again, pushes all that is queued. Those that are there are not doubled. */
static bool resync(Core *core, Err *err)
{
    if (!core->queue_checked)
        return true;
    if (!core->push_again)
        return dispatch_resync(core->catalog, core->queue, err);
    core->push_again = !dispatch_again(core->catalog, core->queue, err);
    return !core->push_again;
}

/* An answer that came late came over a network that was away, perhaps without breaking the
 * connection: the workers' beats may be later still. */
static bool hold_after_silence(Core *core, Err *err)
{
    int64_t silent_ms = core->waited_ms;
    core->waited_ms = 0;
    return silent_ms < SILENT_MS || catalog_reap_hold(core->catalog, (double)silent_ms / 1000, err);
}

static bool reap(Core *core, Err *err)
{
    ReapReport report = {0};
    if (!hold_after_silence(core, err) || !catalog_reap(core->catalog, &report, err))
        return false;
    for (size_t i = 0; i < report.count; i++)
        log_warn("job.lost", "job=%" PRIu64 " attempt=%" PRIu64 " state=%s", report.rows[i].job,
                 report.rows[i].attempt, report.rows[i].state);
    if (report.mass && !core->mass)
        log_warn("reap.mass", "suspects=%u wait=network", report.suspects);
    if (!report.mass && !report.grace)
        core->mass = false;
    core->mass = core->mass || report.mass;
    catalog_reap_free(&report);
    return true;
}

static bool sweep(Core *core, Err *err)
{
    uint64_t swept;
    if (!catalog_sweep(core->catalog, &swept, err))
        return false;
    if (swept > 0)
        log_info("packs.swept", "packs=%" PRIu64 " their jobs are over", swept);
    return true;
}

static bool do_work(Core *core, Work work, Err *err)
{
    uint64_t fired = 0;
    uint32_t linked = 0;
    switch (work) {
    case WORK_LEAD:
        return lead(core, err);
    case WORK_FIRE:
        return fire_due(core->catalog, core->cache, &fired, err);
    case WORK_RESYNC:
        return resync(core, err);
    case WORK_REPAIR:
        return !core->queue_checked || dispatch_repair(core->catalog, core->queue, err);
    case WORK_REAP:
        return reap(core, err);
    case WORK_CHAIN:
        return catalog_audit_chain(core->catalog, &linked, err);
    case WORK_RETAIN:
        return retain_due(core->catalog, err);
    case WORK_HOUSEKEEP:
        return catalog_housekeep(core->catalog, err) && sweep(core, err) &&
               catalog_prunes_fire(core->catalog, &fired, err) &&
               catalog_copies_fire(core->catalog, &fired, err);
    default:
        return true;
    }
}

/* Tickets last, and none of a source whose windows could not be looked at. */
static bool dispatch(Core *core, Err *err)
{
    uint64_t pushed = 0;
    return window_gate_look(core->catalog, core->gate, err) &&
           (!core->queue_checked || dispatch_due(core->catalog, core->queue, &pushed, err));
}

static void waited(Core *core, int64_t since_ms)
{
    int64_t ms = now_ms() - since_ms;
    if (ms > core->waited_ms)
        core->waited_ms = ms;
}

static void dispatch_now(Core *core)
{
    Err err = {0};
    int64_t since_ms = now_ms();
    if (core->state.leads && !dispatch(core, &err))
        blame(core, &err);
    waited(core, since_ms);
}

/* One pass over what is due. A failure of one kind of work does not keep the others waiting.
 * woken: somebody waits for the job that he just made, and not for the rest of the pass. */
static void tick(Core *core, bool woken)
{
    bool worked = false;
    if (!connect_catalogue(core))
        return;
    check_queue(core);
    if (woken)
        dispatch_now(core);
    for (Work work = WORK_LEAD; work < WORK_COUNT; work++) {
        Err err = {0};
        if (now_ms() < core->due_ms[work] || (work != WORK_LEAD && !core->state.leads))
            continue;
        int64_t since_ms = now_ms();
        core->due_ms[work] = since_ms + periods_ms[work];
        worked = true;
        if (!do_work(core, work, &err))
            blame(core, &err);
        waited(core, since_ms);
        if (!catalog_ok(core->catalog))
            return;
    }
    if (worked || !woken)
        dispatch_now(core);
}

/* Waits for the next tick or a wake-up; false when it is time to stop. */
static bool rest(Core *core, bool *woken)
{
    struct timespec until;
    int64_t tick_ms = core->params.tick_ms == 0 ? TICK_MS : core->params.tick_ms;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_nsec += tick_ms % 1000 * 1000000;
    until.tv_sec += tick_ms / 1000 + until.tv_nsec / 1000000000;
    until.tv_nsec %= 1000000000;
    pthread_mutex_lock(&core->lock);
    core->state.last_tick_ns = clock_wall_ns();
    while (!core->stop && !core->woken &&
           pthread_cond_timedwait(&core->signal, &core->lock, &until) == 0)
        ;
    *woken = core->woken;
    core->woken = false;
    bool go_on = !core->stop;
    pthread_mutex_unlock(&core->lock);
    return go_on;
}

static void *run(void *ctx)
{
    Core *core = ctx;
    bool woken = false;
    do
        tick(core, woken);
    while (rest(core, &woken));
    Err err = {0};
    if (core->catalog != NULL && catalog_ok(core->catalog) && core->state.leads &&
        !core->params.force_leader && !catalog_leader_resign(core->catalog, &core->holder, &err))
        log_err("leader.resign", &err);
    return NULL;
}

bool core_start(Core **out, const CoreParams *params, Err *err)
{
    pthread_condattr_t attributes;
    Core *core = mem_new(Core);
    *out = core;
    core->params = *params;
    core->holder = rand_uuid();
    core->cache = fire_cache_new();
    core->gate = window_gate_new();
    pthread_mutex_init(&core->lock, NULL);
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&core->signal, &attributes);
    pthread_condattr_destroy(&attributes);
    if (!queue_open(&core->queue, &params->queue, err))
        return false;
    if (pthread_create(&core->thread, NULL, run, core) != 0)
        return err_set(err, ERR_FULL, "core.thread", "no thread for the scheduler's core");
    core->started = true;
    return true;
}

void core_wake(Core *core)
{
    pthread_mutex_lock(&core->lock);
    core->woken = true;
    pthread_cond_signal(&core->signal);
    pthread_mutex_unlock(&core->lock);
}

void core_state(Core *core, CoreState *out)
{
    pthread_mutex_lock(&core->lock);
    *out = core->state;
    pthread_mutex_unlock(&core->lock);
}

void core_stop(Core *core)
{
    if (core == NULL)
        return;
    if (core->started) {
        pthread_mutex_lock(&core->lock);
        core->stop = true;
        pthread_cond_signal(&core->signal);
        pthread_mutex_unlock(&core->lock);
        pthread_join(core->thread, NULL);
    }
    queue_close(core->queue);
    catalog_close(core->catalog);
    fire_cache_free(core->cache);
    window_gate_free(core->gate);
    pthread_cond_destroy(&core->signal);
    pthread_mutex_destroy(&core->lock);
    mem_free(core);
}
