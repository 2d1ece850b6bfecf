/* SPDX-License-Identifier: Apache-2.0
 * catalogue_plan.c — catalog_plan.h on the simulated server. */
#include "common/base/mem.h"
#include "common/catalog/catalog_audit.h"
#include "common/catalog/catalog_collect.h"
#include "common/catalog/catalog_copy.h"
#include "common/catalog/catalog_retention.h"
#include "tests/sim/catalogue.h"
#include "tests/sim/trace.h"

#include <inttypes.h>
#include <stdio.h>

bool catalog_schedule_load(Catalog *c, ScheduleList *out, Err *err)
{
    *out = (ScheduleList){0};
    if (!catalogue_ask(c, "schedule_load", err))
        return false;
    const Model *m = catalogue_model();
    out->rows = mem_array(ScheduleRow, m->schedules.count);
    out->now_ns = m->now * 1000;
    out->policy_mark = m->policy_mark;
    for (size_t i = 0; i < m->schedules.count; i++) {
        const ModelSchedule *one = &m->schedules.rows[i];
        const ModelSource *source = &m->sources.rows[one->source - 1];
        if (source->retired_at != 0)
            continue;
        ScheduleRow *row = &out->rows[out->count++];
        *row = (ScheduleRow){.source = one->source,
                             .kind = "backup",
                             .timezone = "UTC",
                             .catch_up = one->catch_up,
                             .paused = source->paused_until > m->now,
                             .start_deadline_s = one->start_deadline_s,
                             .last_slot_ns = one->last_slot * 1000};
        snprintf(row->source_name, sizeof row->source_name, "%s", source->name);
        snprintf(row->name, sizeof row->name, "%s", one->name);
        snprintf(row->at, sizeof row->at, "%s", one->at);
    }
    return catalogue_answer(c, true, err);
}

void catalog_schedule_free(ScheduleList *list)
{
    mem_free(list->rows);
    *list = (ScheduleList){0};
}

bool catalog_slots_fire(Catalog *c, const SlotRow *rows, size_t count, SlotAnswer *answers,
                        Err *err)
{
    if (!catalogue_ask(c, "slots_fire", err))
        return false;
    ModelFire *fires = mem_array(ModelFire, count);
    char(*names)[MODEL_NAME] = mem_zeroed(count, MODEL_NAME);
    for (size_t i = 0; i < count; i++) {
        snprintf(names[i], MODEL_NAME, "%.*s", TEXT_ARG(rows[i].schedule));
        fires[i] = (ModelFire){.source = rows[i].source,
                               .schedule = names[i],
                               .old = rows[i].old_slot_ns / 1000,
                               .slot = rows[i].slot_ns / 1000,
                               .start_by = rows[i].start_by_ns / 1000,
                               .missed = rows[i].missed,
                               .excluded = text_equal(rows[i].code, TEXT("slot.excluded"))};
    }
    bool done = model_fire(catalogue_model(), fires, count, answers, err);
    for (size_t i = 0; done && i < count; i++)
        trace("fire source=%u slot=%" PRId64 " job=%" PRIu64 " %s", rows[i].source,
              rows[i].slot_ns / VM_S, answers[i].job, answers[i].state);
    mem_free(fires);
    mem_free(names);
    return catalogue_answer(c, done, err);
}

/* --- dispatch -------------------------------------------------------------------------------- */

static void pool_row(const Model *m, uint32_t number, PoolRow *row, int64_t *next_ns)
{
    const ModelPool *pool = &m->pools[number];
    *row = (PoolRow){.number = number,
                     .generation = pool->generation,
                     .window = pool->window,
                     .paused = pool->paused};
    snprintf(row->name, sizeof row->name, "%s", pool->name);
    for (size_t i = 0; i < m->jobs.count; i++) {
        const ModelJob *job = &m->jobs.rows[i];
        int64_t at = job->run_at * 1000;
        if (job->finished_at != 0)
            continue;
        if (job->state == JOB_PENDING && job->run_at > m->now && (*next_ns == 0 || at < *next_ns))
            *next_ns = at;
        if (job->pool != number)
            continue;
        bool due = job->state == JOB_PENDING && job->run_at <= m->now;
        row->due += due;
        row->queued += job->state == JOB_QUEUED;
        row->running += job->state == JOB_RUNNING;
        if ((due || job->state == JOB_QUEUED) && (row->oldest_ns == 0 || at < row->oldest_ns))
            row->oldest_ns = at;
    }
}

static void list_pools(const Model *m, PoolList *out)
{
    out->rows = mem_array(PoolRow, m->pool_count);
    for (uint32_t number = 1; number <= m->pool_count; number++)
        pool_row(m, number, &out->rows[out->count++], &out->next_ns);
}

bool catalog_pools(Catalog *c, PoolList *out, Err *err)
{
    *out = (PoolList){0};
    if (!catalogue_ask(c, "pools", err))
        return false;
    list_pools(catalogue_model(), out);
    return catalogue_answer(c, true, err);
}

bool catalog_jobs_due(Catalog *c, PoolList *out, Err *err)
{
    *out = (PoolList){0};
    if (!catalogue_ask(c, "jobs_due", err))
        return false;
    model_overdue(catalogue_model());
    list_pools(catalogue_model(), out);
    return catalogue_answer(c, true, err);
}

void catalog_pools_free(PoolList *list)
{
    mem_free(list->rows);
    *list = (PoolList){0};
}

bool catalog_dispatch_pick(Catalog *c, uint32_t pool, int32_t most, TicketList *out, Err *err)
{
    *out = (TicketList){0};
    if (!catalogue_ask(c, "dispatch_pick", err))
        return false;
    model_pick(catalogue_model(), pool, most, out);
    for (size_t i = 0; i < out->count; i++)
        trace("pick job=%" PRIu64 " dispatch=%" PRIu64, out->rows[i].job, out->rows[i].dispatch);
    return catalogue_answer(c, true, err);
}

bool catalog_requeue(Catalog *c, uint32_t pool, TicketList *out, Err *err)
{
    *out = (TicketList){0};
    if (!catalogue_ask(c, "requeue", err))
        return false;
    model_requeue(catalogue_model(), pool, false, out);
    return catalogue_answer(c, true, err);
}

bool catalog_requeue_all(Catalog *c, uint32_t pool, TicketList *out, Err *err)
{
    *out = (TicketList){0};
    if (!catalogue_ask(c, "requeue_all", err))
        return false;
    model_requeue(catalogue_model(), pool, true, out);
    return catalogue_answer(c, true, err);
}

void catalog_tickets_free(TicketList *list)
{
    mem_free(list->rows);
    *list = (TicketList){0};
}

bool catalog_tickets_done(Catalog *c, const TicketRow *rows, size_t count, bool *done, Err *err)
{
    if (!catalogue_ask(c, "tickets_done", err))
        return false;
    for (size_t i = 0; i < count; i++)
        done[i] = model_ticket_done(catalogue_model(), rows[i].job, rows[i].dispatch);
    return catalogue_answer(c, true, err);
}

bool catalog_redis_generation(Catalog *c, uint32_t pool, bool renew, Uuid *out, Err *err)
{
    if (!catalogue_ask(c, "generation", err))
        return false;
    Model *m = catalogue_model();
    if (renew)
        m->pools[pool].generation = m->random_uuid();
    *out = m->pools[pool].generation;
    return catalogue_answer(c, true, err);
}

/* --- reaping, the leader --------------------------------------------------------------------- */

bool catalog_reap(Catalog *c, ReapReport *out, Err *err)
{
    *out = (ReapReport){0};
    if (!catalogue_ask(c, "reap", err))
        return false;
    model_reap(catalogue_model(), out);
    for (size_t i = 0; i < out->count; i++)
        trace("reap job=%" PRIu64 " attempt=%" PRIu64 " now %s", out->rows[i].job,
              out->rows[i].attempt, out->rows[i].state);
    return catalogue_answer(c, true, err);
}

void catalog_reap_free(ReapReport *report)
{
    mem_free(report->rows);
    *report = (ReapReport){0};
}

bool catalog_reap_hold(Catalog *c, double silent_s, Err *err)
{
    if (!catalogue_ask(c, "reap_hold", err))
        return false;
    model_reap_hold(catalogue_model(), silent_s);
    return catalogue_answer(c, true, err);
}

bool catalog_leader_take(Catalog *c, const Uuid *holder, Text host, uint64_t *term, Err *err)
{
    (void)host;
    if (!catalogue_ask(c, "leader_take", err))
        return false;
    *term = model_leader_take(catalogue_model(), holder);
    return catalogue_answer(c, true, err);
}

bool catalog_leader_resign(Catalog *c, const Uuid *holder, Err *err)
{
    if (!catalogue_ask(c, "leader_resign", err))
        return false;
    model_leader_resign(catalogue_model(), holder);
    return catalogue_answer(c, true, err);
}

bool catalog_audit_chain(Catalog *c, uint32_t *linked, Err *err)
{
    *linked = 0;
    return catalogue_ask(c, "audit_chain", err) && catalogue_answer(c, true, err);
}

bool catalog_sweep(Catalog *c, uint64_t *swept, Err *err)
{
    if (!catalogue_ask(c, "sweep", err))
        return false;
    *swept = model_sweep(catalogue_model());
    return catalogue_answer(c, true, err);
}

bool catalog_housekeep(Catalog *c, Err *err)
{
    if (!catalogue_ask(c, "housekeep", err))
        return false;
    model_housekeep(catalogue_model());
    return catalogue_answer(c, true, err);
}

/* The model has no collector, one store, and keeps all backups: these find nothing to do, but they
 * are asked over a connection that breaks like any other. */
bool catalog_prunes_fire(Catalog *c, uint64_t *made, Err *err)
{
    *made = 0;
    return catalogue_ask(c, "prunes_fire", err) && catalogue_answer(c, true, err);
}

bool catalog_copies_fire(Catalog *c, uint64_t *made, Err *err)
{
    *made = 0;
    return catalogue_ask(c, "copies_fire", err) && catalogue_answer(c, true, err);
}

/* What is beside it is linked as it is. */
bool __wrap_catalog_retention_due(Catalog *c, RetentionJob *jobs, size_t *count, Err *err);
bool __wrap_catalog_retention_due(Catalog *c, RetentionJob *jobs, size_t *count, Err *err)
{
    (void)jobs;
    *count = 0;
    return catalogue_ask(c, "retention_due", err) && catalogue_answer(c, true, err);
}
