/* SPDX-License-Identifier: Apache-2.0
 * A random history of the job machine on a real PostgreSQL. Redis is a bag of tickets that may be
 * lost, doubled and shuffled; workers die without a word, come back, and speak with old fences;
 * two schedulers fire, pick and reap. After every stretch the invariants are asked of the rows.
 * One seed is one history: HOLDFAST_SEED=n runs that one, HOLDFAST_STEPS its length. */
#include "common/base/rand.h"
#include "tests/integration/catalog/check.h"

enum { WORKERS = 3, SOURCES = 5, BAG = 256, LIVE = 64, LIMIT = 3 };

typedef struct Held {
    Fence fence;
    unsigned worker;
    uint64_t packs[8];
    size_t pack_count;
    bool committed; /* died after its commit: a replay must say ALREADY */
    BackupRow row;
} Held;

typedef struct World {
    Fleet *fleet;
    Catalog *schedulers[2];
    FleetWorker workers[WORKERS];
    TicketRow bag[BAG];
    size_t bagged;
    Held live[LIVE];
    size_t live_count;
    Held dead[LIVE]; /* the newest ones; a ring */
    size_t dead_count;
    uint64_t random;
    int64_t fired;
    uint32_t pool;
    uint64_t seed;
    unsigned step;
} World;

static uint64_t draw(World *w, uint64_t below)
{
    w->random ^= w->random << 13;
    w->random ^= w->random >> 7;
    w->random ^= w->random << 17;
    return w->random % below;
}

#define HOLDS(condition)                                                                           \
    do {                                                                                           \
        if (!(condition))                                                                          \
            fail_msg("seed %llu step %u: %s", (unsigned long long)w->seed, w->step, #condition);   \
    } while (0)

static Catalog *scheduler(World *w)
{
    return w->schedulers[draw(w, 2)];
}

static void bury(World *w, size_t index)
{
    w->dead[w->dead_count++ % LIVE] = w->live[index];
    w->live[index] = w->live[--w->live_count];
}

/* --- what may happen ------------------------------------------------------------------------- */

static void fire(World *w)
{
    ScheduleList list;
    OK(catalog_schedule_load(scheduler(w), &list, &err));
    const ScheduleRow *row = &list.rows[draw(w, list.count)];
    SlotRow slot = {.source = row->source,
                    .schedule = text_of(row->name),
                    .missed = draw(w, 5) == 0,
                    .old_slot_ns = row->last_slot_ns,
                    .slot_ns = row->last_slot_ns + INT64_C(1000000000)};
    for (int again = 0; again < 2; again++) { /* the same, by whoever comes first */
        SlotAnswer answer;
        OK(catalog_slots_fire(w->schedulers[again], &slot, 1, &answer, &err));
        HOLDS(again == 0 ? answer.job != 0 : answer.job == 0);
    }
    w->fired++;
    catalog_schedule_free(&list);
}

static void ask_for_a_backup(World *w)
{
    char name[8];
    JobCreated created;
    snprintf(name, sizeof name, "s%u", (unsigned)draw(w, SOURCES) + 1);
    OK(catalog_job_create(scheduler(w),
                          &(JobRequest){.kind = TEXT("backup"),
                                        .source = text_of(name),
                                        .actor = TEXT("t"),
                                        .priority = (int32_t)draw(w, 20)},
                          &created, &err));
}

static void put(World *w, const TicketList *list)
{
    for (size_t i = 0; i < list->count && w->bagged < BAG; i++)
        w->bag[w->bagged++] = list->rows[i];
}

static void pick(World *w)
{
    TicketList list;
    OK(catalog_dispatch_pick(scheduler(w), w->pool, 1 + (int32_t)draw(w, 4), &list, &err));
    put(w, &list);
    if (draw(w, 4) == 0)
        put(w, &list); /* the reply of a push was lost */
    catalog_tickets_free(&list);
}

static void requeue(World *w)
{
    TicketList list;
    if (draw(w, 2) == 0)
        OK(catalog_requeue_all(scheduler(w), w->pool, &list, &err));
    else
        OK(catalog_requeue(scheduler(w), w->pool, &list, &err));
    put(w, &list);
    catalog_tickets_free(&list);
}

static void claim(World *w)
{
    if (w->bagged == 0 || w->live_count == LIVE)
        return;
    size_t index = draw(w, w->bagged);
    TicketRow ticket = w->bag[index];
    if (draw(w, 4) != 0) /* else it stays: delivered twice */
        w->bag[index] = w->bag[--w->bagged];
    Held held = {.worker = (unsigned)draw(w, WORKERS), .fence = {.job = ticket.job}};
    FleetWorker *worker = &w->workers[held.worker];
    held.fence.claim = rand_uuid();
    for (unsigned times = 1 + (unsigned)draw(w, 2); times > 0; times--) {
        ClaimAnswer answer;
        OK(catalog_job_claim(worker->c, &worker->instance, ticket.job, ticket.dispatch,
                             &held.fence.claim, &answer, &err));
        HOLDS(answer.status != CLAIM_UNFIT && answer.status != CLAIM_PAUSED);
        HOLDS(held.fence.attempt == 0 || answer.attempt == held.fence.attempt);
        if (answer.status == CLAIM_GRANTED)
            held.fence.attempt = answer.attempt;
        catalog_job_claim_free(&answer);
        if (held.fence.attempt == 0)
            return;
    }
    w->live[w->live_count++] = held;
}

static void beat(World *w)
{
    if (w->live_count == 0)
        return;
    const Held *held = &w->live[draw(w, w->live_count)];
    FleetWorker *worker = &w->workers[held->worker];
    BeatAnswer answer;
    BeatSummary summary;
    OK(catalog_worker_beat(worker->c, &worker->instance,
                           &(BeatRow){.fence = held->fence, .bytes_done = draw(w, 1000)}, 1,
                           &answer, &summary, &err));
    HOLDS(answer.held && summary.known);
}

static void stage(World *w)
{
    if (w->live_count == 0)
        return;
    Held *held = &w->live[draw(w, w->live_count)];
    if (held->pack_count == 8)
        return;
    PackRow row = fleet_stage(w->workers[held->worker].c, &held->fence, (uint8_t)draw(w, 256), 3);
    held->packs[held->pack_count++] = row.pack_no;
}

typedef struct Taking {
    Held *held;
} Taking;

static bool take(void *ctx, const PackRow *row, Err *err)
{
    Held *held = ((Taking *)ctx)->held;
    (void)err;
    bool known = held->pack_count == 8;
    for (size_t i = 0; i < held->pack_count; i++)
        known = known || held->packs[i] == row->pack_no;
    if (!known)
        held->packs[held->pack_count++] = row->pack_no;
    return true;
}

static void adopt(World *w)
{
    if (w->live_count == 0)
        return;
    Held *held = &w->live[draw(w, w->live_count)];
    OK(catalog_pack_adopt(w->workers[held->worker].c, &held->fence, take, &(Taking){held}, &err));
}

static void commit(World *w)
{
    char sql[200], detail[256];
    CommitAnswer answer;
    if (w->live_count == 0)
        return;
    size_t index = draw(w, w->live_count);
    Held *held = &w->live[index];
    if (held->pack_count == 0)
        return;
    snprintf(sql, sizeof sql,
             "SELECT coalesce(max(b.sequence), 0) + 1 FROM backup b JOIN job j ON "
             "j.source = b.source WHERE j.id = %llu",
             (unsigned long long)held->fence.job);
    held->row = fleet_backup(held->packs, held->pack_count, (uint64_t)fleet_count(w->fleet, sql));
    held->row.partial = draw(w, 6) == 0;
    OK(catalog_backup_commit(w->workers[held->worker].c, &held->fence, &held->row, &answer, detail,
                             &err));
    HOLDS(answer == COMMIT_OK);
    held->committed = true;
    bury(w, index);
}

static void give_back(World *w)
{
    static const JobOutcome outcomes[] = {OUTCOME_FAILED, OUTCOME_FAILED, OUTCOME_RELEASED,
                                          OUTCOME_CANCELLED};
    char now[16];
    bool fenced;
    if (w->live_count == 0)
        return;
    size_t index = draw(w, w->live_count);
    const Held *held = &w->live[index];
    JobVerdictRow verdict = {.outcome = outcomes[draw(w, 4)], .retry = draw(w, 3) != 0};
    OK(catalog_job_finish(w->workers[held->worker].c, &held->fence, &verdict, now, &fenced, &err));
    HOLDS(!fenced);
    bury(w, index);
}

/* A worker that everybody thought dead speaks: nothing it says may count. */
static void speak_from_the_grave(World *w)
{
    size_t count = w->dead_count < LIVE ? w->dead_count : LIVE;
    if (count == 0)
        return;
    Held *held = &w->dead[draw(w, count)];
    Catalog *c = w->workers[held->worker].c;
    Uuid object = rand_uuid();
    uint64_t number;
    char detail[256];
    CommitAnswer answer;
    bool is_held, cancel;
    Err why = {0};
    HOLDS(!catalog_pack_begin(c, &held->fence, &object, &object, PACK_DATA, &number, &why));
    HOLDS(why.code == ERR_FENCED);
    OK(catalog_job_held(c, &held->fence, &is_held, &cancel, &err));
    HOLDS(!is_held);
    BackupRow row = held->committed ? held->row : fleet_backup(held->packs, held->pack_count, 1);
    row.pack_nos = held->packs;
    OK(catalog_backup_commit(c, &held->fence, &row, &answer, detail, &err));
    HOLDS(answer == (held->committed ? COMMIT_ALREADY : COMMIT_FENCED));
}

static void lose(World *w)
{
    char sql[200];
    if (w->live_count == 0)
        return;
    size_t index = draw(w, w->live_count);
    uint64_t job = w->live[index].fence.job;
    snprintf(
        sql, sizeof sql,
        "UPDATE lease SET expires_at = clock_timestamp() - interval '1 second' WHERE job = %llu",
        (unsigned long long)job);
    fleet_do(w->fleet, sql);
    size_t lost = 0;
    for (int look = 0; look < 2; look++) {
        ReapReport report;
        OK(catalog_reap(w->schedulers[look], &report, &err));
        for (size_t i = 0; i < report.count; i++)
            HOLDS(report.rows[i].job == job);
        lost += report.count;
        catalog_reap_free(&report);
    }
    HOLDS(lost == 1);
    bury(w, index);
}

static void cancel(World *w)
{
    char now[16];
    int64_t newest = fleet_count(w->fleet, "SELECT coalesce(max(id), 0) FROM job");
    if (newest == 0)
        return;
    OK(catalog_job_cancel(scheduler(w), 1 + draw(w, (uint64_t)newest), TEXT("t"), (Text){0}, now,
                          &err));
}

static void flush(World *w)
{
    w->bagged = 0;
    fleet_do(w->fleet,
             "UPDATE job SET queued_at = queued_at - interval '1 hour' WHERE state = 'queued'");
}

static void look(World *w)
{
    PoolList pools;
    OK(catalog_jobs_due(scheduler(w), &pools, &err));
    catalog_pools_free(&pools);
}

/* --- what must hold -------------------------------------------------------------------------- */

static void nothing_breaks(World *w, const char *name, const char *sql)
{
    int64_t count = fleet_count(w->fleet, sql);
    if (count != 0)
        fail_msg("seed %llu step %u: %s: %lld rows", (unsigned long long)w->seed, w->step, name,
                 (long long)count);
}

static void check(World *w)
{
    HOLDS(fleet_count(w->fleet, "SELECT count(*) FROM job WHERE slot IS NOT NULL") == w->fired);
    HOLDS(fleet_count(w->fleet, "SELECT count(*) FROM job WHERE state = 'running'") ==
          (int64_t)w->live_count);
    nothing_breaks(
        w, "a slot has two jobs",
        "SELECT count(*) FROM (SELECT 1 FROM job WHERE slot IS NOT NULL GROUP BY source, "
        "schedule, slot HAVING count(*) > 1) x");
    nothing_breaks(w, "a backup is not its job's last attempt",
                   "SELECT count(*) FROM backup b JOIN job j ON j.id = b.job WHERE b.attempt <> "
                   "j.attempt OR j.state <> b.outcome");
    nothing_breaks(w, "a completed job has no backup",
                   "SELECT count(*) FROM job j WHERE j.state IN ('completed', 'partial') AND NOT "
                   "EXISTS (SELECT FROM backup b WHERE b.job = j.id)");
    nothing_breaks(
        w, "two attempts of a source overlap",
        "SELECT count(*) FROM job_attempt a JOIN job j ON j.id = a.job JOIN job_attempt b "
        "ON (b.job, b.attempt) > (a.job, a.attempt) JOIN job k ON k.id = b.job WHERE "
        "j.source = k.source AND j.lanes & k.lanes <> 0 AND a.started_at < "
        "coalesce(b.ended_at, 'infinity') AND b.started_at < coalesce(a.ended_at, "
        "'infinity')");
    nothing_breaks(
        w, "a limit slot is held by what does not run",
        "SELECT count(*) FROM limit_slot l LEFT JOIN job j ON j.id = l.job WHERE l.job IS "
        "NOT NULL AND (j.state <> 'running' OR j.attempt <> l.attempt)");
    nothing_breaks(w, "more runs than the limit allows",
                   "SELECT 1 FROM job WHERE state = 'running' HAVING count(*) > 3");
    nothing_breaks(w, "a running job has no lease or a lease no running job",
                   "SELECT count(*) FROM (SELECT id FROM job WHERE state = 'running') j FULL JOIN "
                   "lease l ON l.job = j.id WHERE l.job IS NULL OR j.id IS NULL");
    nothing_breaks(
        w, "attempts are not 1, 2, 3 …",
        "SELECT count(*) FROM job j WHERE j.attempt <> (SELECT count(*) FROM job_attempt a "
        "WHERE a.job = j.id) OR j.attempt <> (SELECT coalesce(max(a.attempt), 0) FROM "
        "job_attempt a WHERE a.job = j.id)");
    nothing_breaks(
        w, "an open session belongs to no running attempt",
        "SELECT count(*) FROM session s JOIN job j ON j.id = s.job WHERE s.state = 'open' "
        "AND (j.state <> 'running' OR j.attempt <> s.attempt)");
    nothing_breaks(w, "a backup needs a pack that is not live",
                   "SELECT count(*) FROM backup b, unnest(b.packs) u LEFT JOIN pack p ON p.no = u "
                   "WHERE p.state IS DISTINCT FROM 'live'");
    nothing_breaks(
        w, "the sequence of a source has a gap",
        "SELECT count(*) FROM (SELECT count(*) AS n, max(sequence) AS top FROM backup GROUP "
        "BY source) x WHERE n <> top");
}

static void heal(World *w)
{
    while (w->live_count > 0)
        lose(w);
    for (int round = 0; round < 4000; round++) {
        w->step++;
        if (w->bagged == 0) {
            look(w);
            requeue(w);
            pick(w);
        }
        claim(w);
        if (w->live_count > 0 && w->live[0].pack_count == 0)
            stage(w);
        commit(w);
        if (round % 50 == 49 &&
            fleet_count(w->fleet, "SELECT count(*) FROM job WHERE finished_at IS NULL") == 0)
            return;
    }
    char why[512];
    fleet_ask(w->fleet,
              "SELECT id || ' ' || state || ' ' || deferrals || ' ' || run_at FROM job WHERE "
              "finished_at IS NULL LIMIT 1",
              why);
    fail_msg("seed %llu: a job never ends: %s", (unsigned long long)w->seed, why);
}

static void history(World *w, unsigned steps)
{
    static const struct {
        void (*happens)(World *w);
        unsigned weight;
    } events[] = {{fire, 10},
                  {ask_for_a_backup, 8},
                  {pick, 16},
                  {requeue, 4},
                  {claim, 24},
                  {beat, 8},
                  {stage, 14},
                  {adopt, 5},
                  {commit, 9},
                  {give_back, 6},
                  {speak_from_the_grave, 10},
                  {lose, 4},
                  {cancel, 2},
                  {flush, 1},
                  {look, 3}};
    unsigned total = 0;
    for (size_t i = 0; i < sizeof events / sizeof events[0]; i++)
        total += events[i].weight;
    for (w->step = 0; w->step < steps; w->step++) {
        uint64_t at = draw(w, total);
        size_t event = 0;
        while (at >= events[event].weight)
            at -= events[event++].weight;
        events[event].happens(w);
        if (w->step % 150 == 149)
            check(w);
    }
    heal(w);
    check(w);
}

static void live_through(uint64_t seed, unsigned steps)
{
    World world = {.seed = seed, .random = seed * UINT64_C(0x9E3779B97F4A7C15) + 1};
    World *w = &world;
    w->fleet = fleet_start();
    fleet_policy(w->fleet, SOURCES, "");
    fleet_do(w->fleet, "UPDATE setting SET value = 600 WHERE name IN ('lease_s', 'liveness_s')");
    fleet_do(w->fleet, "UPDATE setting SET value = 0 WHERE name IN ('looks_s', 'defer_min_s', "
                       "'defer_max_s', 'requeue_s')");
    fleet_do(w->fleet, "UPDATE setting SET value = 1000 WHERE name IN ('mass_leases')");
    fleet_do(w->fleet, "UPDATE schedule SET last_slot = now() - interval '30 days', overlap_skip = "
                       "source % 2 = 0");
    fleet_do(w->fleet, "SELECT limit_resize('pool:fra', 3)");
    w->pool = (uint32_t)fleet_count(w->fleet, "SELECT no FROM pool WHERE name = 'fra'");
    for (int i = 0; i < 2; i++)
        w->schedulers[i] = fleet_connect(w->fleet, "holdfast_scheduler");
    for (int i = 0; i < WORKERS; i++) {
        char name[8];
        snprintf(name, sizeof name, "w%d", i + 1);
        w->workers[i] = fleet_worker(w->fleet, name, false);
    }
    history(w, steps);
    print_message("seed %llu: %lld jobs, %lld backups, %lld attempts, %lld lost\n",
                  (unsigned long long)seed,
                  (long long)fleet_count(w->fleet, "SELECT count(*) FROM job"),
                  (long long)fleet_count(w->fleet, "SELECT count(*) FROM backup"),
                  (long long)fleet_count(w->fleet, "SELECT count(*) FROM job_attempt"),
                  (long long)fleet_count(
                      w->fleet, "SELECT count(*) FROM job_attempt WHERE outcome = 'lost'"));
    for (int i = 0; i < WORKERS; i++)
        fleet_worker_close(&w->workers[i]);
    for (int i = 0; i < 2; i++)
        catalog_close(w->schedulers[i]);
    fleet_stop(w->fleet);
}

static uint64_t said(const char *name, uint64_t otherwise)
{
    const char *text = getenv(name);
    return text == NULL ? otherwise : strtoull(text, NULL, 10);
}

static void every_history_keeps_the_invariants_and_ends(void **state)
{
    unsigned steps = (unsigned)said("HOLDFAST_STEPS", 500);
    uint64_t seed = said("HOLDFAST_SEED", 0);
    (void)state;
    if (seed != 0)
        live_through(seed, steps);
    else
        for (seed = 1; seed <= 2; seed++)
            live_through(seed, steps);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_history_keeps_the_invariants_and_ends),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
