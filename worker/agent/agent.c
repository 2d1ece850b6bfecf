/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/agent/agent.h"

#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/loop.h"
#include "common/base/mem.h"
#include "common/base/rand.h"
#include "common/catalog/catalog_worker.h"
#include "common/queue/taker.h"
#include "worker/agent/always.h"
#include "worker/agent/desk.h"
#include "worker/agent/facts.h"
#include "worker/agent/lease.h"
#include "worker/agent/notify.h"
#include "worker/agent/owed.h"
#include "worker/agent/spooled.h"
#include "worker/agent/work.h"
#include "worker/job/proof_place.h"

#include <inttypes.h>
#include <signal.h>

static const int64_t TICK_MS = 250;
static const int64_t LEFT_MS = 60000; /* how often notes of dead processes are looked for */
static const int64_t BYE_MS = 2000;
static const int64_t UNTOLD_MS = 5000; /* how long a stop waits for a catalogue that is away */
static const int64_t FOREVER_MS = INT64_C(366) * 86400 * 1000;
static const int64_t NS_A_MS = 1000000;

typedef struct Agent {
    AgentParams now;           /* a SIGHUP changes it, on the loop's thread */
    const AgentParams *params; /* &now */
    Loop *loop;
    Desk *desk;
    Lease *lease;
    Taker *taker;
    LoopTimer *tick;
    SpoolWatch *spool;
    Uuid instance;
    WorkHost host;
    Work **works; /* every ticket and cleaning that is not over */
    size_t count, room;
    bool reachable; /* the catalogue, says the desk: while it is not, nothing is taken */
    bool beating;   /* the same, says the lease: it notices silence long before the desk does */
    bool drained_by_operator;
    bool draining;
    bool leaving;  /* bye was posted */
    bool greeting; /* a hello is under way */
    bool stale;    /* what that says is not true any more: say it again */
    int64_t drain_until_ns;
    int64_t left_at_ns;
    Err fatal;
} Agent;

static void want(Agent *agent)
{
    bool take =
        agent->reachable && agent->beating && !agent->draining && !agent->drained_by_operator;
    size_t free_slots =
        agent->count < agent->params->slots ? agent->params->slots - agent->count : 0;
    if (agent->taker != NULL)
        taker_want(agent->taker, take ? (unsigned)free_slots : 0);
}

static void add_work(Agent *agent, Work *work)
{
    if (agent->count == agent->room) {
        agent->room = agent->room == 0 ? 8 : 2 * agent->room;
        agent->works = mem_resize(agent->works, agent->room * sizeof(Work *));
    }
    agent->works[agent->count++] = work;
}

static void on_over(void *ctx, Work *work)
{
    Agent *agent = ctx;
    for (size_t i = 0; i < agent->count; i++)
        if (agent->works[i] == work)
            agent->works[i] = agent->works[--agent->count];
    work_free(work);
    want(agent);
}

static Work *find(Agent *agent, const Fence *fence)
{
    for (size_t i = 0; i < agent->count; i++) {
        const Fence *have = work_fence(agent->works[i]);
        if (have->job == fence->job && uuid_equal(&have->claim, &fence->claim))
            return agent->works[i];
    }
    return NULL;
}

/* --- what the lease says -------------------------------------------------------------------- */

static void on_held(void *ctx, const Fence *fence, bool cancel, int64_t until_ns)
{
    Work *work = find(ctx, fence);
    if (work == NULL)
        return;
    work_held(work, until_ns);
    if (cancel)
        work_stop(work, WORK_CANCELLED);
}

static void on_fenced(void *ctx, const Fence *fence)
{
    Work *work = find(ctx, fence);
    if (work != NULL)
        work_stop(work, WORK_FENCED);
}

static void greet(Agent *agent);

static void on_summary(void *ctx, const BeatSummary *summary)
{
    Agent *agent = ctx;
    if (!summary->known || summary->changed)
        greet(agent);
    if (agent->drained_by_operator != summary->drain)
        log_info("worker.drain", "drain=%d by=operator", summary->drain);
    agent->drained_by_operator = summary->drain;
    agent->beating = true;
    want(agent);
}

/* Whoever cannot renew what it holds takes nothing more. */
static void on_beat_failed(void *ctx, const Err *err)
{
    Agent *agent = ctx;
    log_err("worker.beat", err);
    agent->beating = err->code == ERR_BUSY; /* a lock is not an absence */
    want(agent);
}

/* --- what the queue says -------------------------------------------------------------------- */

static void on_ticket(void *ctx, TakerTicket *ticket)
{
    Agent *agent = ctx;
    add_work(agent, work_begin(&agent->host, ticket));
}

static void on_dropped(void *ctx, uint32_t pool, Slice element, const Err *err)
{
    char quoted[LOG_QUOTED];
    (void)ctx;
    log_warn("queue.dropped", "pool=p%" PRIu32 " bytes=%zu cause=%s element=%s", pool, element.len,
             err->cause, log_quote(text_of_slice(element), quoted));
}

static void on_pool_state(void *ctx, uint32_t pool, const Err *err)
{
    (void)ctx;
    if (err == NULL)
        log_info("queue.reached", "pool=p%" PRIu32, pool);
    else
        log_err("queue.lost", err);
}

/* --- what the catalogue says ---------------------------------------------------------------- */

static void on_desk_state(void *ctx, const Err *err)
{
    Agent *agent = ctx;
    agent->reachable = err == NULL;
    if (err != NULL)
        log_err("catalogue.lost", err);
    else
        log_info("catalogue.reached", "%s", "taking=1");
    want(agent);
}

typedef struct Hello {
    DeskTask task; /* first */
    Agent *agent;
    WorkerHello row;
    Buf facts;
    WorkerWelcome welcome;
} Hello;

static bool hello_work(DeskTask *task, Catalog *catalog, Err *err)
{
    Hello *hello = (Hello *)task;
    hello->row.clock_ns = clock_wall_ns();
    catalog_worker_welcome_free(&hello->welcome);
    return catalog_worker_hello(catalog, &hello->row, &hello->welcome, err);
}

static bool start_lease(Agent *agent, const WorkerWelcome *welcome, Err *err)
{
    LeaseParams params = {.loop = agent->loop,
                          .catalog = agent->params->catalog,
                          .instance = agent->instance,
                          .lease_ms = welcome->lease_ms,
                          .beat_ms = welcome->beat_ms,
                          .ctx = agent,
                          .on_held = on_held,
                          .on_fenced = on_fenced,
                          .on_summary = on_summary,
                          .on_failed = on_beat_failed};
    /* An answer later than this could not renew anything. */
    params.catalog.timeout_ms = welcome->lease_ms / 2 > 1000 ? welcome->lease_ms / 2 : 1000;
    params.catalog.application = "holdfast-lease";
    params.catalog.checked = true; /* by the desk, whose hello was answered */
    return agent->lease != NULL || lease_start(&agent->lease, &params, err);
}

static bool start_taker(Agent *agent, const WorkerWelcome *welcome, Err *err)
{
    uint32_t numbers[TAKER_POOLS_MOST];
    size_t count = welcome->pool_count < TAKER_POOLS_MOST ? welcome->pool_count : TAKER_POOLS_MOST;
    for (size_t i = 0; i < count; i++)
        numbers[i] = welcome->pools[i].number;
    if (agent->taker != NULL)
        return taker_serve(agent->taker, numbers, count, err);
    TakerParams params = {.queue = agent->params->queue,
                          .worker = agent->instance,
                          .pools = numbers,
                          .pool_count = count,
                          .liveness_ms = welcome->liveness_ms,
                          .ctx = agent,
                          .on_ticket = on_ticket,
                          .on_dropped = on_dropped,
                          .on_state = on_pool_state};
    return taker_open(&agent->taker, loop_base(agent->loop), &params, err);
}

static void welcomed(Agent *agent, const WorkerWelcome *welcome)
{
    for (size_t i = 0; i < welcome->pool_count; i++)
        log_info("worker.pool", "pool=%s key=p%" PRIu32, welcome->pools[i].name,
                 welcome->pools[i].number);
    if (!start_lease(agent, welcome, &agent->fatal) ||
        !start_taker(agent, welcome, &agent->fatal)) {
        loop_stop(agent->loop);
        return;
    }
    agent->host.lease = agent->lease;
    agent->host.taker = agent->taker;
    agent->drained_by_operator = welcome->drain;
    agent->reachable = true;
    notify_ready();
    log_info("worker.ready", "worker=%" PRIu32 " pools=%zu slots=%" PRIu32, welcome->worker,
             welcome->pool_count, agent->params->slots);
    want(agent);
}

static void hello_done(DeskTask *task, const Err *err)
{
    Hello *hello = (Hello *)task;
    Agent *agent = hello->agent;
    agent->greeting = false;
    if (err->code == ERR_NONE) {
        welcomed(agent, &hello->welcome);
    } else if (err->code != ERR_CANCELLED && agent->taker == NULL) {
        agent->fatal = *err; /* not registered, another schema: waiting does not help */
        loop_stop(agent->loop);
    } else if (err->code != ERR_CANCELLED) {
        log_err("worker.hello", err);
    }
    catalog_worker_welcome_free(&hello->welcome);
    buf_free(&hello->facts);
    mem_free(hello);
    if (agent->stale)
        greet(agent);
}

static void greet(Agent *agent)
{
    const JobSettings *settings = agent->params->settings;
    agent->stale = agent->greeting;
    if (agent->greeting || agent->draining)
        return;
    agent->greeting = true;
    Hello *hello = mem_new(Hello);
    hello->task = (DeskTask){.work = hello_work, .done = hello_done, .patience_ms = FOREVER_MS};
    hello->agent = agent;
    facts_collect(settings, agent->params->tags, &hello->facts);
    hello->row = (WorkerHello){.instance = agent->instance,
                               .name = text_of(settings->name),
                               .host = text_of(settings->host),
                               .version = TEXT(HOLDFAST_VERSION),
                               .slots = agent->params->slots,
                               .facts = buf_text(&hello->facts)};
    desk_post(agent->desk, &hello->task);
}

/* --- leaving -------------------------------------------------------------------------------- */

typedef struct Bye {
    DeskTask task; /* first */
    Agent *agent;
} Bye;

static bool bye_work(DeskTask *task, Catalog *catalog, Err *err)
{
    return catalog_worker_bye(catalog, &((Bye *)task)->agent->instance, err);
}

static void bye_done(DeskTask *task, const Err *err)
{
    Bye *bye = (Bye *)task;
    if (err->code != ERR_NONE && err->code != ERR_CANCELLED)
        log_err("worker.bye", err);
    loop_stop(bye->agent->loop);
    mem_free(bye);
}

static void release_all(Agent *agent)
{
    for (size_t i = 0; i < agent->count; i++)
        work_stop(agent->works[i], WORK_DRAIN);
}

static void leave(Agent *agent)
{
    Bye *bye = mem_new(Bye);
    agent->leaving = true;
    bye->task = (DeskTask){.work = bye_work, .done = bye_done, .patience_ms = BYE_MS};
    bye->agent = agent;
    desk_post(agent->desk, &bye->task);
}

static void drain(Agent *agent)
{
    if (agent->draining) {
        log_info("worker.drain", "%s", "release=now");
        agent->drain_until_ns = clock_mono_ns();
        release_all(agent);
        return;
    }
    log_info("worker.drain", "running=%zu wait_ms=%" PRId64, agent->count, agent->params->drain_ms);
    agent->draining = true;
    agent->drain_until_ns = clock_mono_ns() + agent->params->drain_ms * NS_A_MS;
    notify_stopping();
    want(agent);
}

/* While draining: release what takes too long, leave when nothing is held. */
static void tick_drain(Agent *agent)
{
    int64_t now = clock_mono_ns();
    if (now >= agent->drain_until_ns)
        release_all(agent);
    bool confirmed = agent->taker == NULL || taker_unconfirmed(agent->taker) == 0 ||
                     now >= agent->drain_until_ns + BYE_MS * NS_A_MS;
    if (agent->count == 0 && confirmed && !agent->leaving)
        leave(agent);
    /* Children are dead by now; only the catalogue does not answer. Their leases tell the rest. */
    int64_t most_ms = agent->params->kill_grace_ms + UNTOLD_MS;
    if (now >= agent->drain_until_ns + most_ms * NS_A_MS) {
        log_warn("worker.drain", "untold=%zu the catalogue could not be told; leases expire",
                 agent->count);
        loop_stop(agent->loop);
    }
}

static void reload(Agent *agent)
{
    AgentParams fresh = agent->now;
    Err err = {0};
    if (fresh.reload == NULL || fresh.reload(fresh.reload_ctx, &fresh, &err)) {
        agent->now.settings = fresh.settings;
        agent->now.tags = fresh.tags;
        agent->now.slots = fresh.slots;
        agent->now.drain_ms = fresh.drain_ms;
        agent->now.kill_grace_ms = agent->host.kill_grace_ms = fresh.kill_grace_ms;
        agent->now.limits = fresh.limits;
        log_info("worker.reload", "slots=%" PRIu32, fresh.slots);
        want(agent);
    } else {
        log_err("worker.reload", &err);
    }
    greet(agent);
}

static void on_signal(void *ctx, int number)
{
    Agent *agent = ctx;
    if (number == SIGHUP)
        reload(agent);
    else
        drain(agent);
}

static void on_child(void *ctx, int number)
{
    Agent *agent = ctx;
    (void)number;
    /* Backwards: a work that is over leaves the array. */
    for (size_t i = agent->count; i > 0; i--)
        if (i <= agent->count)
            work_poll(agent->works[i - 1]);
}

static void on_left(void *ctx, Note *note, Text order)
{
    Agent *agent = ctx;
    Work *work = work_clean(&agent->host, note, order);
    if (work != NULL)
        add_work(agent, work);
}

static void on_tick(void *ctx)
{
    Agent *agent = ctx;
    int64_t now = clock_mono_ns();
    for (size_t i = 0; i < agent->count; i++)
        work_tick(agent->works[i]);
    if (agent->draining) {
        tick_drain(agent);
    } else if (agent->taker != NULL && now >= agent->left_at_ns) {
        agent->left_at_ns = now + LEFT_MS * NS_A_MS;
        note_left(agent->host.cache, ALWAYS_NOTES, on_left, agent);
        owed_left(agent->desk, agent->host.cache, agent->host.name);
        if (agent->now.settings->allow != NULL)
            proof_place_sweep_later(allow_sandbox(agent->now.settings->allow));
    }
    if (agent->taker != NULL && agent->reachable && !agent->draining)
        spooled_look(agent->spool, agent->now.settings->wal_spool);
    notify_alive();
}

/* --- running -------------------------------------------------------------------------------- */

static bool start(Agent *agent, Err *err)
{
    const AgentParams *params = agent->params;
    if (!loop_new(&agent->loop, err))
        return false;
    DeskParams desk = {
        .loop = agent->loop, .catalog = params->catalog, .ctx = agent, .on_state = on_desk_state};
    if (!desk_start(&agent->desk, &desk, err))
        return false;
    agent->host = (WorkHost){.loop = agent->loop,
                             .desk = agent->desk,
                             .instance = agent->instance,
                             .child_argv = params->child_argv,
                             .config = params->config,
                             .cache = params->settings->cache,
                             .name = params->settings->name,
                             .limits = &agent->now.limits,
                             .kill_grace_ms = params->kill_grace_ms,
                             .ctx = agent,
                             .on_over = on_over};
    loop_signal(agent->loop, SIGTERM, on_signal, agent);
    loop_signal(agent->loop, SIGINT, on_signal, agent);
    loop_signal(agent->loop, SIGHUP, on_signal, agent);
    loop_signal(agent->loop, SIGCHLD, on_child, agent);
    signal(SIGPIPE, SIG_IGN);
    agent->spool = spooled_new(agent->desk);
    agent->tick = loop_timer_new(agent->loop, on_tick, agent);
    loop_timer_every(agent->tick, TICK_MS);
    greet(agent);
    return true;
}

static void stop(Agent *agent)
{
    /* The threads first: what they end late must still find the works. */
    desk_stop(agent->desk);
    lease_stop(agent->lease);
    while (agent->count > 0)
        work_free(agent->works[--agent->count]);
    taker_close(agent->taker);
    loop_timer_free(agent->tick);
    spooled_free(agent->spool);
    loop_free(agent->loop);
    mem_free(agent->works);
}

bool agent_run(const AgentParams *params, Err *err)
{
    Agent agent = {.now = *params, .instance = rand_uuid(), .beating = true};
    agent.params = &agent.now;
    char instance[UUID_TEXT];
    uuid_text(&agent.instance, instance);
    log_info("worker.start", "name=%s version=%s instance=%s", params->settings->name,
             HOLDFAST_VERSION, instance);
    bool ok = start(&agent, err);
    if (ok) {
        loop_run(agent.loop);
        ok = agent.fatal.code == ERR_NONE;
        if (!ok)
            *err = agent.fatal;
    }
    stop(&agent);
    log_info("worker.stop", "%s", ok ? "clean=1" : "clean=0");
    return ok;
}
