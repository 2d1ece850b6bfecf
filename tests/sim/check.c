/* SPDX-License-Identifier: Apache-2.0
 * check.c — the invariants that can be seen in a history. After each change of the tables: no two
 * jobs of one slot, no two running jobs of one source, limits, leases, fences, backups and what
 * they need in the store. While all is whole: every ticket that is out can be found in Redis, no
 * child works for a claim that is gone. At the end: every slot has its job, every job has ended,
 * every worker still takes work and every source is backed up again, and Redis holds nothing
 * stale. */
#include "protocol/ticket.h"
#include "scheduler/plan/due.h"
#include "tests/sim/catalogue.h"
#include "tests/sim/redis_server.h"
#include "tests/sim/trace.h"
#include "tests/sim/world.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

enum { JOBS_MOST = 4096, ATTEMPTS_MOST = 4096, CHILDREN = 64 };

static const int64_t SETTLE = 30 * VM_S;
static const int64_t PROMPT_US = 45000000;

typedef struct Expected {
    uint32_t source;
    char name[MODEL_NAME], at[MODEL_NAME];
    int64_t from; /* slots after this one are due */
} Expected;

static struct {
    bool broken;
    uint64_t attempts[JOBS_MOST]; /* highest seen of each job */
    ModelOutcome outcomes[ATTEMPTS_MOST];
    size_t backups; /* looked at */
    size_t claims;  /* attempts whose start was looked at */
    struct {
        bool known;
        int32_t from, until;
    } shut[SOURCES_MOST + 1]; /* minutes without a window, as the catalogue was told; by source */
    Expected expected[SOURCES_MOST + 1];
    size_t expected_count;
    uint64_t probes[STATIONS_MOST];
    int64_t healed_us; /* the catalogue's clock */
    struct {
        const Process *child;
        int64_t since;
    } zombies[CHILDREN];
    size_t zombie_count;
} check;

void check_fail(const char *format, ...)
{
    if (check.broken)
        return;
    check.broken = true;
    char text[300];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    trace("BROKEN %s", text);
    printf("seed %" PRIu64 " step %" PRIu64 " at %.3f s: %s\n", world.seed, vm_steps(),
           (double)vm_now() / 1e9, text);
    vm_halt();
}

bool check_broken(void)
{
    return check.broken;
}

/* --- after each change ----------------------------------------------------------------------- */

static void check_running(const Model *m, uint64_t number, const ModelJob *job)
{
    size_t leases = 0;
    for (size_t i = 0; i < m->leases.count; i++)
        leases += m->leases.rows[i].job == number && m->leases.rows[i].attempt == job->attempt;
    if (leases != 1)
        check_fail("job %" PRIu64 " runs with %zu leases", number, leases);
    for (size_t i = 0; job->source != 0 && i < number - 1; i++) {
        const ModelJob *other = &m->jobs.rows[i];
        if (other->state == JOB_RUNNING && other->source == job->source &&
            (model_lanes(other) & model_lanes(job)) != 0)
            check_fail("I4: jobs %zu and %" PRIu64 " of one source run", i + 1, number);
    }
}

static void check_jobs(const Model *m)
{
    size_t running = 0;
    if (m->jobs.count > JOBS_MOST)
        check_fail("more jobs than this checker has room for");
    for (size_t i = 0; i < m->jobs.count && !check.broken; i++) {
        const ModelJob *job = &m->jobs.rows[i];
        if (job->attempt < check.attempts[i])
            check_fail("I9: job %zu went from attempt %" PRIu64 " to %" PRIu64, i + 1,
                       check.attempts[i], job->attempt);
        check.attempts[i] = job->attempt;
        if (job->state != JOB_RUNNING)
            continue;
        running++;
        check_running(m, i + 1, job);
    }
    if (running != m->leases.count)
        check_fail("%zu jobs run under %zu leases", running, m->leases.count);
}

static void check_limits(Model *m)
{
    for (size_t i = 0; i < m->slots.count; i++) {
        const ModelSlot *slot = &m->slots.rows[i];
        const ModelJob *job = slot->job == 0 ? NULL : model_job(m, slot->job);
        if (job != NULL && (job->state != JOB_RUNNING || job->attempt != slot->attempt))
            check_fail("I5: limit %s holds a place for job %" PRIu64 ", which does not run",
                       slot->scope, slot->job);
    }
}

/* Each new backup, once. */
static void check_backups(Model *m)
{
    for (; check.backups < m->backups.count; check.backups++) {
        const ModelBackup *backup = &m->backups.rows[check.backups];
        const ModelJob *job = model_job(m, backup->job);
        for (size_t i = 0; i < check.backups; i++)
            if (m->backups.rows[i].job == backup->job)
                check_fail("I3: job %" PRIu64 " has two backups", backup->job);
        if (job->attempt != backup->attempt ||
            job->state != (backup->partial ? JOB_PARTIAL : JOB_COMPLETED))
            check_fail("I3: the backup of job %" PRIu64 " is not its last attempt's", backup->job);
        if (!child_stored(&backup->id, &backup->manifest))
            check_fail("I6: job %" PRIu64 " committed and its manifest is not stored", backup->job);
        for (size_t i = 0; i < backup->pack_count; i++) {
            const ModelPack *pack = &m->packs.rows[backup->packs[i] - 1];
            if (!child_stored(&pack->object, &pack->sha256))
                check_fail("I6: a pack of job %" PRIu64 " is not stored", backup->job);
        }
    }
}

static const Station *station_of(const Model *m, const ModelAttempt *attempt)
{
    for (size_t i = 0; i < world.station_count; i++)
        if (!world.stations[i].scheduler && world.stations[i].worker == attempt->worker)
            return &world.stations[i];
    (void)m;
    return NULL;
}

/* Only what was wrong with a worker, its host or the catalogue costs an attempt; never Redis, never
 * a scheduler. What was wrong may be noticed late: a claim whose answer was lost is reaped. */
static void check_lost(const Model *m, const ModelAttempt *attempt)
{
    const ModelSettings *set = &m->setting;
    double late = set->lease + 2 * set->looks + 2 * set->grace + set->mass_wait + 10;
    int64_t sick = station_of(m, attempt)->sick_ns;
    sick = sick > world.sick_ns ? sick : world.sick_ns;
    if (vm_now() > sick + (int64_t)(late * 1e9))
        check_fail("attempt %" PRIu64 " of job %" PRIu64 " was lost and nothing was wrong",
                   attempt->attempt, attempt->job);
}

/* A catalogue that is away is waited for; it is never a job's failure. */
static void check_failed(const Model *m, const ModelAttempt *attempt)
{
    const char *cause = m->jobs.rows[attempt->job - 1].cause;
    if (strncmp(cause, "catalogue.", 10) == 0 || strcmp(cause, "job.fenced") == 0)
        check_fail("job %" PRIu64 " failed for %s", attempt->job, cause);
    if (world.healed && attempt->started_at > check.healed_us && check.healed_us != 0)
        check_fail("job %" PRIu64 " failed for %s while all is whole", attempt->job, cause);
}

static void check_attempts(const Model *m)
{
    for (size_t i = 0; i < m->attempts.count; i++) {
        const ModelAttempt *attempt = &m->attempts.rows[i];
        if (i >= ATTEMPTS_MOST || check.outcomes[i] == attempt->outcome)
            continue;
        check.outcomes[i] = attempt->outcome;
        if (attempt->outcome == MODEL_LOST)
            check_lost(m, attempt);
        if (attempt->outcome == MODEL_FAILED)
            check_failed(m, attempt);
    }
}

/* No backup starts in a minute without a window, nor for a slot on an excluded day. A source that
 * left the policy has no window any more: what ran then and was lost runs again when it may. */
static void check_starts(Model *m)
{
    for (; check.claims < m->attempts.count; check.claims++) {
        const ModelAttempt *attempt = &m->attempts.rows[check.claims];
        const ModelJob *job = model_job(m, attempt->job);
        int64_t minute = attempt->started_at / 60000000 % 1440;
        bool retired = job->source != 0 && m->sources.rows[job->source - 1].retired_at != 0;
        if (job->kind == MODEL_BACKUP && !job->emergency && !retired &&
            check.shut[job->source].known && minute >= check.shut[job->source].from &&
            minute < check.shut[job->source].until)
            check_fail("job %" PRIu64 " starts while its window is shut", attempt->job);
        for (size_t i = 0; job->kind == MODEL_BACKUP && i < m->decisions.count; i++)
            if (m->decisions.rows[i].job == attempt->job &&
                strcmp(m->decisions.rows[i].code, "slot.excluded") == 0)
                check_fail("job %" PRIu64 " of an excluded day starts", attempt->job);
    }
}

void check_windows_told(void)
{
    const Model *m = catalogue_model();
    for (size_t i = 0; i < m->sources.count && i < SOURCES_MOST; i++) {
        check.shut[i + 1].known = true;
        check.shut[i + 1].from = m->sources.rows[i].shut_from;
        check.shut[i + 1].until = m->sources.rows[i].shut_until;
    }
}

static void on_change(const Process *by, const char *what)
{
    static const char *const changes[] = {"slots_fire", "claim", "finish",
                                          "commit",     "reap",  "requeue"};
    bool change = false;
    (void)by;
    for (size_t i = 0; i < sizeof changes / sizeof changes[0]; i++)
        change = change || strcmp(changes[i], what) == 0;
    if (!change || check.broken)
        return;
    Model *m = catalogue_model();
    world_counts.checks++;
    check_jobs(m);
    check_limits(m);
    check_backups(m);
    check_attempts(m);
    check_starts(m);
}

/* --- while all is whole ---------------------------------------------------------------------- */

typedef struct Seen {
    uint64_t jobs[JOBS_MOST]; /* dispatch + 1 of a ticket that lies in a list */
    bool malformed;
} Seen;

static void see(void *ctx, const char *key, Slice element)
{
    Seen *seen = ctx;
    Ticket ticket;
    Err err = {0};
    (void)key;
    if (!ticket_unpack(element, &ticket, &err) || ticket.job >= JOBS_MOST)
        seen->malformed = true;
    else if (seen->jobs[ticket.job] < ticket.dispatch + 1)
        seen->jobs[ticket.job] = ticket.dispatch + 1;
}

/* A queued job's ticket is in Redis a few seconds after it was picked. */
static void check_tickets(const Model *m)
{
    static Seen seen;
    seen = (Seen){0};
    redis_server_lists(see, &seen);
    if (seen.malformed)
        check_fail("I10: something else than tickets lies in Redis");
    for (size_t i = 0; i < m->jobs.count; i++) {
        const ModelJob *job = &m->jobs.rows[i];
        if (job->state == JOB_QUEUED && job->queued_at < m->now - 10000000 &&
            seen.jobs[i + 1] != job->dispatch + 1)
            check_fail("job %zu is queued and its ticket is nowhere", i + 1);
    }
}

static bool speaks(Model *m, const ChildView *child)
{
    const ModelJob *job = model_job(m, child->job);
    return job != NULL && job->state == JOB_RUNNING && job->attempt == child->attempt &&
           uuid_equal(&job->claim, &child->claim);
}

/* A child whose claim is gone is stopped soon after its worker's next beat. One that was just
 * committing is left alone for a minute. */
static void check_children(Model *m)
{
    ChildView views[CHILDREN];
    size_t count = child_list(views, CHILDREN), kept = 0;
    const int64_t most = 75 * VM_S;
    for (size_t i = 0; i < count; i++) {
        int64_t since = vm_now();
        for (size_t k = 0; k < check.zombie_count; k++)
            if (check.zombies[k].child == views[i].process)
                since = check.zombies[k].since;
        for (size_t k = 0; k < i; k++)
            if (views[k].parent == views[i].parent && views[k].job == views[i].job)
                check_fail("job %" PRIu64 " has two children on one worker", views[i].job);
        if (speaks(m, &views[i]))
            continue;
        if (vm_now() - since > most)
            check_fail("the child of job %" PRIu64 " attempt %" PRIu64
                       " works on, its claim is gone",
                       views[i].job, views[i].attempt);
        views[kept++] = (ChildView){.process = views[i].process, .born_ns = since};
    }
    for (size_t i = 0; i < kept; i++) {
        check.zombies[i].child = views[i].process;
        check.zombies[i].since = views[i].born_ns;
    }
    check.zombie_count = kept;
}

/* What is urgent and may run anywhere on its worker waits for a slot there at most. A probe that
 * hangs has one for ten minutes. */
static void check_probes(Model *m)
{
    if (world.waits)
        return;
    for (size_t i = 0; i < world.station_count; i++) {
        const ModelJob *probe = check.probes[i] == 0 ? NULL : model_job(m, check.probes[i]);
        if (probe != NULL && probe->finished_at == 0 && probe->created_at < m->now - PROMPT_US)
            check_fail("probe %" PRIu64 " of worker %s is %s after %" PRId64 " s", check.probes[i],
                       world.stations[i].host.name, lifecycle_name(probe->state),
                       (m->now - probe->created_at) / 1000000);
    }
}

static void look(void *ctx)
{
    (void)ctx;
    if (world.healed && vm_now() > world.chaos_until + SETTLE) {
        check_tickets(catalogue_model());
        check_children(catalogue_model());
        check_probes(catalogue_model());
    }
    if (!check.broken)
        vm_at(vm_now() + VM_S, look, NULL);
}

/* --- slots ----------------------------------------------------------------------------------- */

static Expected *expected(const ModelSchedule *schedule)
{
    for (size_t i = 0; i < check.expected_count; i++)
        if (check.expected[i].source == schedule->source)
            return &check.expected[i];
    return NULL;
}

/* A schedule that is new, or has another rule, begins where the policy put it. */
void check_policy(void)
{
    const Model *m = catalogue_model();
    for (size_t i = 0; i < m->schedules.count; i++) {
        const ModelSchedule *schedule = &m->schedules.rows[i];
        Expected *one = expected(schedule);
        if (one != NULL && strcmp(one->at, schedule->at) == 0)
            continue;
        if (one == NULL)
            one = &check.expected[check.expected_count++];
        *one = (Expected){.source = schedule->source, .from = schedule->last_slot};
        memcpy(one->name, schedule->name, sizeof one->name);
        memcpy(one->at, schedule->at, sizeof one->at);
    }
}

void check_tail_lost(void)
{
    const Model *m = catalogue_model();
    memset(check.attempts, 0, sizeof check.attempts);
    memset(check.outcomes, 0, sizeof check.outcomes);
    for (size_t i = 0; i < m->attempts.count && i < ATTEMPTS_MOST; i++)
        check.outcomes[i] = m->attempts.rows[i].outcome;
    check.backups = m->backups.count;
    check.claims = m->attempts.count;
    memset(check.shut, 0, sizeof check.shut);
    check.expected_count = 0;
    check_policy();
}

/* After a long absence the oldest slots of a look get no row: a hundred do. */
static bool dropped(const Model *m, const ModelSchedule *schedule, int64_t slot)
{
    int64_t next = INT64_MAX, made_at = 0;
    size_t together = 0;
    for (int pass = 0; pass < 2; pass++)
        for (size_t i = 0; i < m->jobs.count; i++) {
            const ModelJob *job = &m->jobs.rows[i];
            if (job->source != schedule->source || strcmp(job->schedule, schedule->name) != 0)
                continue;
            if (pass == 1) {
                together += job->created_at == made_at;
            } else if (job->slot > slot && job->slot < next) {
                next = job->slot;
                made_at = job->created_at;
            }
        }
    return together == DUE_MOST;
}

static void check_schedule(const Model *m, const ModelSchedule *schedule)
{
    const Expected *one = expected(schedule);
    int64_t every = strtoll(schedule->at + 6, NULL, 10) * 1000000;
    if (one == NULL)
        return;
    for (int64_t slot = (one->from / every + 1) * every; slot <= schedule->last_slot;
         slot += every) {
        size_t jobs = 0;
        for (size_t i = 0; i < m->jobs.count; i++)
            jobs += m->jobs.rows[i].source == schedule->source && m->jobs.rows[i].slot == slot &&
                    strcmp(m->jobs.rows[i].schedule, schedule->name) == 0;
        if (jobs > 1 || (jobs == 0 && !dropped(m, schedule, slot)))
            check_fail("I1: slot %" PRId64 " of source %u has %zu jobs", slot / 1000000,
                       schedule->source, jobs);
    }
    if (schedule->last_slot < m->now - every - 10000000)
        check_fail("I1: source %u was decided up to %" PRId64 " s ago only", schedule->source,
                   (m->now - schedule->last_slot) / 1000000);
}

/* --- the end --------------------------------------------------------------------------------- */

static void check_ended(const Model *m, int64_t healed_us)
{
    for (size_t i = 0; i < m->jobs.count; i++) {
        const ModelJob *job = &m->jobs.rows[i];
        if (job->finished_at == 0 && job->created_at < healed_us && !model_shut(m, job))
            check_fail("I2: job %zu has not ended: %s, attempt %" PRIu64
                       ", failures %d, losses %d, deferrals %d",
                       i + 1, lifecycle_name(job->state), job->attempt, job->failures, job->losses,
                       job->deferrals);
    }
    for (size_t i = 0; i < world.station_count; i++) {
        const ModelJob *probe = check.probes[i] == 0 ? NULL : &m->jobs.rows[check.probes[i] - 1];
        if (probe != NULL && probe->state != JOB_COMPLETED)
            check_fail("worker %s takes no work: its probe %" PRIu64 " is %s",
                       world.stations[i].host.name, check.probes[i], lifecycle_name(probe->state));
    }
}

static void check_sources(const Model *m, int64_t healed_us)
{
    for (size_t s = 0; s < m->schedules.count; s++) {
        const ModelSchedule *schedule = &m->schedules.rows[s];
        const ModelSource *source = &m->sources.rows[schedule->source - 1];
        bool fresh = schedule->start_deadline_s != 0 || source->excluded != NULL ||
                     source->shut_from != source->shut_until;
        for (size_t i = 0; i < m->backups.count; i++)
            fresh = fresh || (m->backups.rows[i].source == schedule->source &&
                              m->backups.rows[i].committed_at > healed_us);
        if (!fresh)
            check_fail("source %u is not backed up any more", schedule->source);
    }
}

/* A server that forgot who took a ticket, by a flush or an older state, in the moment before the
 * taker could say it again: the list stays, and its job was dispatched anew long ago. */
static bool unknown_taker(const char *key)
{
    char set[64];
    const char *claimed = strstr(key, "claimed:");
    if (claimed == NULL)
        return false;
    snprintf(set, sizeof set, "%.*sworkers", (int)(claimed - key), key);
    return !redis_server_member(set, claimed + 8);
}

static void stale(void *ctx, const char *key, Slice element)
{
    const Model *m = ctx;
    Ticket ticket;
    Err err = {0};
    if (!ticket_unpack(element, &ticket, &err) || ticket.job == 0 || ticket.job > m->jobs.count)
        return;
    const ModelJob *job = &m->jobs.rows[ticket.job - 1];
    if (job->finished_at != 0 && job->finished_at < m->now - 20000000 && !unknown_taker(key))
        check_fail("a ticket of job %" PRIu64 ", which ended, lies in %s", ticket.job, key);
}

/* What Redis remembers as pushed is forgotten with the job. */
static void remembered(void *ctx, const char *key, Slice field)
{
    const Model *m = ctx;
    uint64_t number = strtoull((const char *)field.at, NULL, 10);
    if (number == 0 || number > m->jobs.count)
        return;
    const ModelJob *job = &m->jobs.rows[number - 1];
    if (job->finished_at != 0 && job->finished_at < m->now - 20000000)
        check_fail("%s remembers job %" PRIu64 ", which ended", key, number);
}

void check_end(void)
{
    Model *m = catalogue_model();
    if (check.broken)
        return;
    for (size_t i = 0; i < m->schedules.count; i++)
        check_schedule(m, &m->schedules.rows[i]);
    check_ended(m, check.healed_us);
    check_sources(m, check.healed_us);
    redis_server_lists(stale, m);
    redis_server_fields(remembered, m);
    on_change(NULL, "claim");
}

/* One probe for the pool of each worker's own host, some time after the last trouble. */
static void probe_all(void *ctx)
{
    Model *m = catalogue_model();
    (void)ctx;
    check.healed_us = m->now;
    for (size_t i = 0; i < world.station_count; i++) {
        char pool[MODEL_NAME];
        if (world.stations[i].scheduler)
            continue;
        snprintf(pool, sizeof pool, "host:%s", world.stations[i].host.name);
        check.probes[i] =
            model_job_new(m, MODEL_PROBE, 0, NULL, 0, model_pool(m, pool), 80, JOB_PENDING, 0);
    }
}

static void begin_looking(void *ctx)
{
    (void)ctx;
    vm_at(world.chaos_until + SETTLE, probe_all, NULL);
    look(NULL);
}

void check_begin(void)
{
    memset(&check, 0, sizeof check);
    catalogue_hook(on_change);
    vm_at(VM_S, begin_looking, NULL);
}
