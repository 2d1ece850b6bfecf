/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/sim/model.h"

#include "common/base/mem.h"

#include <stdio.h>
#include <stdlib.h>

void *model_room(void *rows, size_t count, size_t *room, size_t size)
{
    if (count < *room)
        return rows;
    *room = *room == 0 ? 16 : 2 * *room;
    return mem_resize(rows, *room * size);
}

#define TABLES(X)                                                                                  \
    X(workers)                                                                                     \
    X(instances)                                                                                   \
    X(sources)                                                                                     \
    X(schedules)                                                                                   \
    X(jobs)                                                                                        \
    X(leases)                                                                                      \
    X(attempts)                                                                                    \
    X(slots)                                                                                       \
    X(limits)                                                                                      \
    X(served)                                                                                      \
    X(packs)                                                                                       \
    X(backups)                                                                                     \
    X(windows)                                                                                     \
    X(decisions)

void model_free(Model *m)
{
#define FREE(table) mem_free(m->table.rows);
    TABLES(FREE)
#undef FREE
    *m = (Model){0};
}

void model_copy(Model *to, const Model *from)
{
    model_free(to);
    *to = *from;
#define COPY(table)                                                                                \
    to->table.room = from->table.count;                                                            \
    to->table.rows = mem_zeroed(from->table.count + 1, sizeof *to->table.rows);                    \
    if (from->table.count > 0)                                                                     \
        memcpy(to->table.rows, from->table.rows, from->table.count * sizeof *to->table.rows);
    TABLES(COPY)
#undef COPY
}

void model_begin(Model *m)
{
    model_free(m);
    m->setting = (ModelSettings){.lease = 60,
                                 .beat = 15,
                                 .liveness = 30,
                                 .looks = 15,
                                 .grace = 90,
                                 .mass_leases = 5,
                                 .mass_share = 0.5,
                                 .mass_wait = 300,
                                 .requeue = 30,
                                 .requeue_force = 600,
                                 .loss_backoff = 30,
                                 .loss_backoff_max = 3600,
                                 .max_losses = 3,
                                 .defer_min = 5,
                                 .defer_max = 30,
                                 .leader = 15,
                                 .aging = 300,
                                 .recall = 2};
}

int64_t model_after(const Model *m, double seconds)
{
    return m->now + (int64_t)(seconds * 1e6 + 0.5);
}

/* --- finding --------------------------------------------------------------------------------- */

ModelJob *model_job(Model *m, uint64_t job)
{
    bool there = job != 0 && job <= m->jobs.count && m->jobs.rows[job - 1].pool != 0;
    return there ? &m->jobs.rows[job - 1] : NULL;
}

ModelLease *model_lease(Model *m, uint64_t job)
{
    for (size_t i = 0; i < m->leases.count; i++)
        if (m->leases.rows[i].job == job)
            return &m->leases.rows[i];
    return NULL;
}

ModelAttempt *model_attempt(Model *m, uint64_t job, uint64_t attempt)
{
    for (size_t i = m->attempts.count; i > 0; i--)
        if (m->attempts.rows[i - 1].job == job && m->attempts.rows[i - 1].attempt == attempt)
            return &m->attempts.rows[i - 1];
    return NULL;
}

ModelInstance *model_instance(Model *m, const Uuid *id)
{
    for (size_t i = 0; i < m->instances.count; i++)
        if (uuid_equal(&m->instances.rows[i].id, id))
            return &m->instances.rows[i];
    return NULL;
}

ModelSource *model_source(Model *m, const char *name)
{
    for (size_t i = 0; i < m->sources.count; i++)
        if (strcmp(m->sources.rows[i].name, name) == 0)
            return &m->sources.rows[i];
    return NULL;
}

unsigned model_lanes(const ModelJob *job)
{
    return job->kind == MODEL_BACKUP ? 1 : 0;
}

void model_move(Model *m, ModelJob *job, JobState to)
{
    (void)m;
    if (job->state != to && !lifecycle_leads(job->state, to)) {
        fprintf(stderr, "model: a job cannot go from %s to %s\n", lifecycle_name(job->state),
                lifecycle_name(to));
        abort();
    }
    job->state = to;
}

/* --- decisions ------------------------------------------------------------------------------- */

static ModelDecision *decision(Model *m, uint64_t job, const char *code)
{
    for (size_t i = 0; i < m->decisions.count; i++)
        if (m->decisions.rows[i].job == job && strcmp(m->decisions.rows[i].code, code) == 0)
            return &m->decisions.rows[i];
    return NULL;
}

void model_decide(Model *m, uint64_t job, const char *verdict, const char *code, const char *text)
{
    ModelDecision *row = decision(m, job, code);
    if (row == NULL) {
        row = model_add(&m->decisions, (ModelDecision){.job = job});
        snprintf(row->code, sizeof row->code, "%s", code);
    }
    row->count++;
    row->last_at = m->now;
    snprintf(row->verdict, sizeof row->verdict, "%s", verdict);
    snprintf(row->text, sizeof row->text, "%s", text);
}

void model_decide_seldom(Model *m, uint64_t job, const char *verdict, const char *code,
                         const char *text)
{
    const ModelDecision *row = decision(m, job, code);
    if (row == NULL || row->last_at <= m->now - 10000000 ||
        strncmp(row->text, text, sizeof row->text - 1) != 0)
        model_decide(m, job, verdict, code, text);
}

/* --- limits ---------------------------------------------------------------------------------- */

static ModelSlot *wanted(Model *m, const char *scope)
{
    for (size_t i = 0; i < m->limits.count; i++)
        if (strcmp(m->limits.rows[i].scope, scope) == 0)
            return &m->limits.rows[i];
    return NULL;
}

int32_t model_wanted(Model *m, const char *scope)
{
    const ModelSlot *row = wanted(m, scope);
    return row == NULL ? 0 : row->n;
}

static void drop_slots(Model *m, const char *scope, int32_t above, bool held_too)
{
    size_t kept = 0;
    for (size_t i = 0; i < m->slots.count; i++) {
        const ModelSlot *slot = &m->slots.rows[i];
        bool drop =
            strcmp(slot->scope, scope) == 0 && slot->n > above && (held_too || slot->job == 0);
        if (!drop)
            m->slots.rows[kept++] = *slot;
    }
    m->slots.count = kept;
}

void model_limit(Model *m, const char *scope, int32_t n)
{
    ModelSlot *row = wanted(m, scope);
    if (row == NULL) {
        row = model_add(&m->limits, (ModelSlot){0});
        snprintf(row->scope, sizeof row->scope, "%s", scope);
    }
    row->n = n;
    drop_slots(m, scope, n, n == 0);
    for (int32_t i = 1; i <= n; i++) {
        bool there = false;
        for (size_t k = 0; k < m->slots.count && !there; k++)
            there = m->slots.rows[k].n == i && strcmp(m->slots.rows[k].scope, scope) == 0;
        if (!there) {
            ModelSlot *slot = model_add(&m->slots, (ModelSlot){.n = i});
            snprintf(slot->scope, sizeof slot->scope, "%s", scope);
        }
    }
}

static bool limited(const Model *m, const char *scope)
{
    for (size_t i = 0; i < m->slots.count; i++)
        if (strcmp(m->slots.rows[i].scope, scope) == 0)
            return true;
    return false;
}

/* Sorted as bytes are. */
size_t model_scopes(const Model *m, const ModelJob *job, const char *out[MODEL_SCOPES],
                    char room[MODEL_SCOPES][48])
{
    size_t count = 0;
    if (job->emergency)
        return 0;
    if (job->kind == MODEL_BACKUP) {
        const ModelSource *source = &m->sources.rows[job->source - 1];
        for (unsigned i = 0; i < MODEL_BUDGETS; i++)
            if ((source->labels & (1u << i)) != 0) {
                snprintf(room[count], 48, "budget:b%u", i);
                count += limited(m, room[count]);
            }
        snprintf(room[count], 48, "host:%s", source->reads);
        count += limited(m, room[count]);
        snprintf(room[count], 48, "policy:%s", source->policy);
        count += limited(m, room[count]);
    }
    snprintf(room[count], 48, "pool:%s", m->pools[job->pool].name);
    count += limited(m, room[count]);
    if (job->kind == MODEL_BACKUP) {
        snprintf(room[count], 48, "store:nas");
        count += limited(m, room[count]);
    }
    for (size_t i = 0; i < count; i++)
        out[i] = room[i];
    return count;
}

/* --- what workers are ------------------------------------------------------------------------ */

bool model_missing(const Model *m, const ModelJob *job, const ModelInstance *instance,
                   char out[256])
{
    static const char *const engines[] = {"files", "postgresql"};
    if (job->kind != MODEL_BACKUP)
        return false;
    uint32_t engine = m->sources.rows[job->source - 1].engine;
    if ((instance->engines & (1u << engine)) != 0)
        return false;
    snprintf(out, 256, "lacks engine %s", engines[engine]);
    return true;
}

static uint64_t signature(const Model *m, uint32_t worker)
{
    uint64_t hash = UINT64_C(0xcbf29ce484222325);
    for (uint32_t i = 1; i <= m->pool_count; i++)
        if ((m->workers.rows[worker - 1].pools & (1u << i)) != 0)
            for (size_t k = 0; k < 16; k++)
                hash = (hash ^ m->pools[i].generation.bytes[k] ^ i << 8) * UINT64_C(0x100000001b3);
    return hash;
}

bool model_hello(Model *m, uint32_t worker, const Uuid *instance, const char *name, uint32_t slots,
                 uint32_t engines, Err *err)
{
    const ModelWorker *me = &m->workers.rows[worker - 1];
    if (strcmp(me->name, name) != 0)
        return err_set(err, ERR_DENIED, "worker.other_name", "registered as %s", me->name);
    ModelInstance *row = model_instance(m, instance);
    if (row == NULL)
        row = model_add(&m->instances, (ModelInstance){.id = *instance, .worker = worker});
    if (row->worker != worker)
        return err_set(err, ERR_DENIED, "worker.other_instance", "of another worker");
    row->slots = slots;
    row->engines = engines;
    row->signature = signature(m, worker);
    row->hello_at = row->seen_at = m->now;
    row->bye_at = 0;
    return true;
}

void model_bye(Model *m, uint32_t worker, const Uuid *instance)
{
    ModelInstance *row = model_instance(m, instance);
    if (row != NULL && row->worker == worker && row->bye_at == 0)
        row->bye_at = m->now;
}

static void beat_one(Model *m, uint32_t worker, const BeatRow *beat, BeatAnswer *answer)
{
    const ModelJob *job = model_job(m, beat->fence.job);
    ModelLease *lease = model_lease(m, beat->fence.job);
    *answer = (BeatAnswer){0};
    if (job == NULL || lease == NULL || lease->attempt != beat->fence.attempt ||
        lease->worker != worker || job->state != JOB_RUNNING ||
        job->attempt != beat->fence.attempt || !uuid_equal(&job->claim, &beat->fence.claim))
        return;
    int64_t until = model_after(m, m->setting.lease);
    if (until > lease->expires_at)
        lease->expires_at = until;
    lease->beat_at = m->now;
    if (beat->bytes_done != lease->bytes_done || beat->items_done != lease->items_done ||
        beat->stored != lease->stored)
        lease->moved_at = m->now;
    lease->bytes_done = beat->bytes_done;
    lease->items_done = beat->items_done;
    lease->stored = beat->stored;
    *answer = (BeatAnswer){.held = true, .cancel = job->cancel_requested};
}

void model_beat(Model *m, uint32_t worker, const Uuid *instance, const BeatRow *rows, size_t count,
                BeatAnswer *answers, BeatSummary *summary)
{
    ModelInstance *row = model_instance(m, instance);
    *summary = (BeatSummary){0};
    if (row != NULL && row->worker == worker && row->bye_at == 0) {
        row->seen_at = m->now;
        *summary = (BeatSummary){.known = true,
                                 .drain = m->workers.rows[worker - 1].drain,
                                 .changed = row->signature != signature(m, worker)};
    }
    for (size_t i = 0; i < count; i++)
        beat_one(m, worker, &rows[i], &answers[i]);
}

/* --- the fleet ------------------------------------------------------------------------------- */

uint32_t model_pool(Model *m, const char *name)
{
    for (uint32_t i = 1; i <= m->pool_count; i++)
        if (strcmp(m->pools[i].name, name) == 0)
            return i;
    if (m->pool_count + 1 == MODEL_POOLS)
        abort();
    ModelPool *pool = &m->pools[++m->pool_count];
    *pool = (ModelPool){.window = 1024, .generation = m->random_uuid()};
    snprintf(pool->name, sizeof pool->name, "%s", name);
    return m->pool_count;
}

uint32_t model_enroll(Model *m, const char *name, uint32_t pools)
{
    ModelWorker *worker = model_add(&m->workers, (ModelWorker){.pools = pools});
    snprintf(worker->name, sizeof worker->name, "%s", name);
    return (uint32_t)m->workers.count;
}

static void apply_schedule(Model *m, uint32_t source, const ModelSchedule *wanted, bool fresh)
{
    for (size_t i = 0; i < m->schedules.count; i++) {
        ModelSchedule *one = &m->schedules.rows[i];
        if (one->source != source || strcmp(one->name, wanted->name) != 0)
            continue;
        bool other = fresh || strcmp(one->at, wanted->at) != 0;
        int64_t last = other && m->now > one->last_slot ? m->now : one->last_slot;
        *one = *wanted;
        one->source = source;
        one->last_slot = last;
        return;
    }
    ModelSchedule *one = model_add(&m->schedules, *wanted);
    one->source = source;
    one->last_slot = m->now;
}

static void drop_schedules(Model *m, uint32_t source, const char *but)
{
    size_t kept = 0;
    for (size_t i = 0; i < m->schedules.count; i++)
        if (m->schedules.rows[i].source != source || strcmp(m->schedules.rows[i].name, but) == 0)
            m->schedules.rows[kept++] = m->schedules.rows[i];
    m->schedules.count = kept;
}

static void apply_source(Model *m, const ModelSpec *spec)
{
    ModelSource *old = model_source(m, spec->source.name);
    uint32_t old_pool = old == NULL ? 0 : old->pool;
    bool fresh = old == NULL || old->retired_at != 0;
    int64_t paused = old == NULL ? 0 : old->paused_until;
    if (old == NULL)
        old = model_add(&m->sources, spec->source);
    *old = spec->source;
    old->retired_at = 0;
    old->paused_until = paused;
    uint32_t number = (uint32_t)(old - m->sources.rows) + 1;
    drop_schedules(m, number, spec->schedule.name);
    if (spec->schedule.name[0] != '\0')
        apply_schedule(m, number, &spec->schedule, fresh);
    for (size_t i = 0; old_pool != 0 && old_pool != spec->source.pool && i < m->jobs.count; i++) {
        ModelJob *job = &m->jobs.rows[i];
        if (job->source != number || job->kind != MODEL_BACKUP || job->pool != old_pool ||
            (job->state != JOB_PENDING && job->state != JOB_QUEUED))
            continue;
        job->pool = spec->source.pool;
        model_move(m, job, JOB_PENDING);
        job->queued_at = 0;
        job->dispatch++;
    }
}

static void retire(Model *m, uint32_t number)
{
    m->sources.rows[number - 1].retired_at = m->now;
    drop_schedules(m, number, "");
    for (size_t i = 0; i < m->jobs.count; i++) {
        ModelJob *job = &m->jobs.rows[i];
        if (job->source != number || job->kind != MODEL_BACKUP ||
            (job->state != JOB_PENDING && job->state != JOB_QUEUED))
            continue;
        model_move(m, job, JOB_CANCELLED);
        job->finished_at = m->now;
        job->queued_at = 0;
        snprintf(job->cause, sizeof job->cause, "source.retired");
        model_decide(m, i + 1, "cancelled", "source.retired", "its source left the policy");
    }
}

static void resize_limits(Model *m)
{
    for (uint32_t i = 1; i <= m->pool_count; i++) {
        char scope[48];
        snprintf(scope, sizeof scope, "pool:%s", m->pools[i].name);
        model_limit(m, scope, (int32_t)m->pools[i].most);
    }
    for (size_t i = 0; i < m->sources.count; i++) {
        char scope[48];
        int32_t most = 0;
        if (m->sources.rows[i].retired_at != 0)
            continue;
        for (size_t k = 0; k < m->sources.count; k++)
            if (m->sources.rows[k].retired_at == 0 && m->sources.rows[k].concurrent > most &&
                strcmp(m->sources.rows[k].policy, m->sources.rows[i].policy) == 0)
                most = m->sources.rows[k].concurrent;
        snprintf(scope, sizeof scope, "policy:%s", m->sources.rows[i].policy);
        model_limit(m, scope, most);
    }
}

/* The smallest number that is said of a host; 0: nobody says one. */
static int32_t least_of(const Model *m, const char *host)
{
    int32_t least = 0;
    for (size_t i = 0; i < m->sources.count; i++) {
        const ModelSource *source = &m->sources.rows[i];
        if (source->retired_at == 0 && source->per_host != 0 && strcmp(source->reads, host) == 0 &&
            (least == 0 || source->per_host < least))
            least = source->per_host;
    }
    return least;
}

/* 0029_limits.sql: those of hosts, budgets and the store, once the sources are what they are. */
static void resize_budgets(Model *m)
{
    char scope[48];
    for (size_t i = 0; i < m->limits.count; i++)
        if (strncmp(m->limits.rows[i].scope, "host:", 5) == 0)
            model_limit(m, m->limits.rows[i].scope, least_of(m, m->limits.rows[i].scope + 5));
    for (size_t i = 0; i < m->sources.count; i++) {
        const ModelSource *source = &m->sources.rows[i];
        snprintf(scope, sizeof scope, "host:%s", source->reads);
        if (source->retired_at == 0 && source->reads[0] != '\0')
            model_limit(m, scope, least_of(m, source->reads));
    }
    for (unsigned i = 0; i < MODEL_BUDGETS; i++) {
        snprintf(scope, sizeof scope, "budget:b%u", i);
        model_limit(m, scope, m->budgets[i]);
    }
    model_limit(m, "store:nas", m->uploads);
}

void model_policy_apply(Model *m, const ModelSpec *specs, size_t count)
{
    for (size_t i = 0; i < count; i++)
        apply_source(m, &specs[i]);
    resize_limits(m);
    for (uint32_t number = 1; number <= m->sources.count; number++) {
        bool named = false;
        for (size_t i = 0; i < count; i++)
            named = named || strcmp(specs[i].source.name, m->sources.rows[number - 1].name) == 0;
        if (!named && m->sources.rows[number - 1].retired_at == 0)
            retire(m, number);
    }
    resize_budgets(m);
    m->policy_mark = (uint64_t)m->now; /* stands for number, digest and instant */
}
