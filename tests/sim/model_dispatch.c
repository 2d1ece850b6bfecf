/* SPDX-License-Identifier: Apache-2.0 — 0013_dispatch.sql */
#include "tests/sim/model.h"

#include "common/base/mem.h"

#include <stdio.h>
#include <stdlib.h>

void model_overdue(Model *m)
{
    for (size_t i = 0; i < m->jobs.count; i++) {
        ModelJob *job = &m->jobs.rows[i];
        if ((job->state != JOB_PENDING && job->state != JOB_QUEUED) || job->start_by == 0 ||
            job->start_by > m->now)
            continue;
        model_move(m, job, JOB_MISSED);
        job->finished_at = m->now;
        job->queued_at = 0;
        job->dispatch++;
        model_decide(m, i + 1, "missed", "start_deadline", "");
    }
}

/* --- who there is ---------------------------------------------------------------------------- */

bool model_lives(const Model *m, const ModelInstance *instance)
{
    double quiet = m->setting.lease > m->setting.liveness ? m->setting.lease : m->setting.liveness;
    return instance->bye_at == 0 && instance->seen_at > m->now - (int64_t)(quiet * 1e6);
}

bool model_nobody(const Model *m, const ModelJob *job, char out[96])
{
    char lacks[256];
    size_t len = 0;
    out[0] = '\0';
    for (size_t i = 0; i < m->instances.count; i++) {
        const ModelInstance *instance = &m->instances.rows[i];
        const ModelWorker *worker = &m->workers.rows[instance->worker - 1];
        if (!model_lives(m, instance) || (worker->pools & (1u << job->pool)) == 0)
            continue;
        snprintf(lacks, sizeof lacks, "drains");
        if (!worker->drain && !model_missing(m, job, instance, lacks))
            return false;
        if (len < 95)
            len += (size_t)snprintf(out + len, 96 - len, "; %s %s", worker->name, lacks);
    }
    if (len == 0)
        snprintf(out, 96, "no live worker serves pool %s", m->pools[job->pool].name);
    return true;
}

void model_give(const Model *m, uint64_t number, TicketList *out)
{
    const ModelJob *job = &m->jobs.rows[number - 1];
    TicketRow *row = &out->rows[out->count++];
    *row = (TicketRow){.job = number, .dispatch = job->dispatch, .urgent = job->priority >= 50};
    snprintf(row->kind, sizeof row->kind, "%s", job->kind == MODEL_BACKUP ? "backup" : "probe");
}

/* --- lost tickets ---------------------------------------------------------------------------- */

void model_requeue(Model *m, uint32_t pool, bool all, TicketList *out)
{
    int64_t force = m->now - (int64_t)(m->setting.requeue_force * 1e6);
    int64_t old = m->now - (int64_t)(m->setting.requeue * 1e6);
    *out = (TicketList){.rows = mem_array(TicketRow, m->jobs.count)};
    for (size_t i = 0; i < m->jobs.count; i++) {
        ModelJob *job = &m->jobs.rows[i];
        if (job->pool != pool || job->state != JOB_QUEUED)
            continue;
        if (job->queued_at < force) {
            model_move(m, job, JOB_PENDING);
            job->queued_at = 0;
            job->dispatch++;
        } else if (all || job->queued_at < old) {
            model_give(m, i + 1, out);
        }
    }
}

bool model_ticket_done(const Model *m, uint64_t number, uint64_t dispatch)
{
    if (number == 0 || number > m->jobs.count || m->jobs.rows[number - 1].pool == 0)
        return true;
    const ModelJob *job = &m->jobs.rows[number - 1];
    return job->dispatch != dispatch || job->finished_at != 0;
}

/* --- reaping --------------------------------------------------------------------------------- */

/* Was anything heard of its worker since it lapsed? */
static bool heard(const Model *m, const ModelLease *lease)
{
    for (size_t i = 0; i < m->instances.count; i++)
        if (m->instances.rows[i].worker == lease->worker &&
            m->instances.rows[i].seen_at > lease->expires_at)
            return true;
    return false;
}

/* Too many silent ones at once: the network is suspected first. */
static bool mass(Model *m, uint32_t *expired)
{
    *expired = 0;
    for (size_t i = 0; i < m->leases.count; i++)
        *expired += m->leases.rows[i].expires_at <= m->now && !heard(m, &m->leases.rows[i]);
    double alive = (double)m->leases.count;
    if (alive >= m->setting.mass_leases && *expired > alive * m->setting.mass_share) {
        if (m->mass_since == 0)
            m->mass_since = m->now;
        return m->now < m->mass_since + (int64_t)(m->setting.mass_wait * 1e6);
    }
    m->mass_since = 0;
    return false;
}

static int by_job(const void *a, const void *b)
{
    const ModelLease *x = a, *y = b;
    return x->job < y->job ? -1 : x->job > y->job;
}

static void look(Model *m, const ModelLease *seen, ReapReport *out)
{
    ModelLease *lease = model_lease(m, seen->job);
    if (seen->suspect_expires != seen->expires_at) {
        lease->suspect_at = m->now;
        lease->suspect_expires = lease->expires_at;
        out->suspects++;
    } else if (m->now < seen->suspect_at + (int64_t)(m->setting.looks * 1e6)) {
        out->suspects++;
    } else {
        ReapRow *row = &out->rows[out->count++];
        *row = (ReapRow){.job = seen->job, .attempt = seen->attempt, .instance = seen->instance};
        JobState state = model_end(m, seen->job, MODEL_LOST, "worker.lost", true);
        snprintf(row->state, sizeof row->state, "%s", lifecycle_name(state));
    }
}

void model_reap(Model *m, ReapReport *out)
{
    int64_t grace = m->started_at + (int64_t)(m->setting.grace * 1e6);
    uint32_t expired;
    *out = (ReapReport){0};
    if (m->now < (m->hold_until > grace ? m->hold_until : grace)) {
        out->grace = true;
        return;
    }
    if (mass(m, &expired)) {
        out->mass = true;
        out->suspects = expired;
        return;
    }
    size_t count = m->leases.count;
    ModelLease *seen = mem_array(ModelLease, count);
    out->rows = mem_array(ReapRow, count);
    if (count > 0)
        memcpy(seen, m->leases.rows, count * sizeof *seen);
    qsort(seen, count, sizeof *seen, by_job);
    for (size_t i = 0; i < count; i++)
        if (seen[i].expires_at <= m->now)
            look(m, &seen[i], out);
    mem_free(seen);
}

void model_reap_hold(Model *m, double silent_s)
{
    if (m->hold_until < m->now - (int64_t)(m->setting.grace * 1e6) &&
        silent_s >= m->setting.lease - m->setting.beat)
        m->hold_until = model_after(m, m->setting.grace);
}

/* --- the leader ------------------------------------------------------------------------------ */

uint64_t model_leader_take(Model *m, const Uuid *holder)
{
    bool same = uuid_equal(&m->leader, holder);
    if (m->term != 0 && !same && m->leader_until > m->now)
        return 0;
    m->term += m->term == 0 || !same;
    m->leader = *holder;
    m->leader_until = model_after(m, m->setting.leader);
    return m->term;
}

void model_leader_resign(Model *m, const Uuid *holder)
{
    if (m->term != 0 && uuid_equal(&m->leader, holder))
        m->leader_until = INT64_MIN;
}

void model_housekeep(Model *m)
{
    for (size_t i = 0; i < m->instances.count; i++) {
        ModelInstance *one = &m->instances.rows[i];
        bool holds = false;
        for (size_t k = 0; k < m->leases.count; k++)
            holds = holds || uuid_equal(&m->leases.rows[k].instance, &one->id);
        if (one->bye_at == 0 && !holds && one->seen_at < m->now - INT64_C(3600000000))
            one->bye_at = m->now;
    }
    size_t kept = 0;
    for (size_t i = 0; i < m->slots.count; i++) {
        const ModelSlot *slot = &m->slots.rows[i];
        if (slot->job != 0 || slot->n <= model_wanted(m, slot->scope))
            m->slots.rows[kept++] = *slot;
    }
    m->slots.count = kept;
}
