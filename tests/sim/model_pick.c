/* SPDX-License-Identifier: Apache-2.0 — 0030_admit.sql: which jobs get a ticket, in which order */
#include "tests/sim/model.h"

#include "common/base/mem.h"

#include <stdio.h>
#include <stdlib.h>

/* A job that is due. */
typedef struct Due {
    uint64_t job;
    int band; /* 2 emergency, 1 urgent, 0 the rest */
    bool busy, filled;
    uint64_t turn; /* among its owner's, after those that have a ticket or run */
    double points;
    int64_t run_at;
    const char *owner;
    int64_t served; /* the owner's last turn; 0: none yet */
} Due;

typedef struct Pick {
    Model *m;
    uint32_t pool;
    Due *due;
    size_t count;
    size_t owners; /* that wait or have something */
    int64_t slots; /* of the pool's workers */
    bool *back;    /* by job: its ticket is taken back at the end; NULL: none is */
    TicketList *out;
} Pick;

static const char *owner_of(const Model *m, const ModelJob *job)
{
    return job->source == 0 ? "" : m->sources.rows[job->source - 1].owner;
}

/* --- limits ---------------------------------------------------------------------------------- */

/* Tickets of this pool that are out take the place that they will need. */
static int32_t room_of(const Pick *pick, const char *scope)
{
    const Model *m = pick->m;
    int32_t room = 0;
    for (size_t i = 0; i < m->slots.count; i++)
        room += m->slots.rows[i].job == 0 && strcmp(m->slots.rows[i].scope, scope) == 0;
    for (size_t i = 0; i < m->jobs.count; i++) {
        const char *scopes[MODEL_SCOPES];
        char text[MODEL_SCOPES][48];
        const ModelJob *job = &m->jobs.rows[i];
        if (job->state != JOB_QUEUED || job->pool != pick->pool)
            continue;
        for (size_t k = model_scopes(m, job, scopes, text); k > 0; k--)
            room -= strcmp(scopes[k - 1], scope) == 0;
    }
    return room;
}

static bool full(const Pick *pick, const ModelJob *job, char text[96])
{
    const char *scopes[MODEL_SCOPES];
    char names[MODEL_SCOPES][48];
    size_t count = model_scopes(pick->m, job, scopes, names);
    for (size_t i = 0; i < count; i++)
        if (room_of(pick, scopes[i]) <= 0) {
            snprintf(text, 96, "%s is full", scopes[i]);
            return true;
        }
    return false;
}

/* Whoever runs or, but for an emergency, has a ticket in one of its lanes; 0: nobody. */
static uint64_t lane_holder(const Model *m, const ModelJob *job)
{
    for (size_t i = 0; i < m->jobs.count; i++) {
        const ModelJob *other = &m->jobs.rows[i];
        if ((other->state == JOB_RUNNING || (other->state == JOB_QUEUED && !job->emergency)) &&
            other->source == job->source && (model_lanes(other) & model_lanes(job)) != 0)
            return i + 1;
    }
    return 0;
}

/* --- order ----------------------------------------------------------------------------------- */

static bool stuck(const Due *due)
{
    return due->busy || due->filled;
}

static bool before(const Due *x, const Due *y)
{
    if (x->points != y->points)
        return x->points > y->points;
    return x->run_at != y->run_at ? x->run_at < y->run_at : x->job < y->job;
}

static int by_order(const void *a, const void *b)
{
    const Due *x = a, *y = b;
    if (x->band != y->band)
        return y->band - x->band;
    if (stuck(x) != stuck(y))
        return stuck(x) - stuck(y);
    if (x->turn != y->turn)
        return x->turn < y->turn ? -1 : 1;
    if (x->served != y->served)
        return x->served < y->served ? -1 : 1;
    return before(x, y) ? -1 : before(y, x);
}

static ModelServed *served(Model *m, uint32_t pool, const char *owner)
{
    for (size_t i = 0; i < m->served.count; i++)
        if (m->served.rows[i].pool == pool && strcmp(m->served.rows[i].owner, owner) == 0)
            return &m->served.rows[i];
    ModelServed *row = model_add(&m->served, (ModelServed){.pool = pool});
    snprintf(row->owner, sizeof row->owner, "%s", owner);
    return row;
}

static void gather(Pick *pick, bool urgent_only)
{
    Model *m = pick->m;
    double aging = m->setting.aging > 1 ? m->setting.aging : 1;
    char text[96];
    pick->due = mem_array(Due, m->jobs.count);
    for (size_t i = 0; i < m->jobs.count; i++) {
        const ModelJob *job = &m->jobs.rows[i];
        if (job->pool != pick->pool || job->state != JOB_PENDING || job->run_at > m->now ||
            (job->start_by != 0 && job->start_by <= m->now) || (urgent_only && job->priority < 50))
            continue;
        pick->due[pick->count++] =
            (Due){.job = i + 1,
                  .served = job->emergency || job->priority >= 50
                                ? 0
                                : served(m, pick->pool, owner_of(m, job))->at,
                  .band = job->emergency ? 2 : job->priority >= 50,
                  .busy = model_lanes(job) != 0 && lane_holder(m, job) != 0,
                  .filled = full(pick, job, text),
                  .points = job->priority + (double)(m->now - job->run_at) / 1e6 / aging,
                  .run_at = job->run_at,
                  .owner = owner_of(m, job)};
    }
}

/* Jobs of the pool that run or have a ticket: of this owner, or, seen by number, the first of it.
 */
static uint64_t live_of(const Pick *pick, const char *owner, size_t until)
{
    uint64_t count = 0;
    for (size_t i = 0; i < until; i++) {
        const ModelJob *job = &pick->m->jobs.rows[i];
        count += (job->state == JOB_QUEUED || job->state == JOB_RUNNING) &&
                 job->pool == pick->pool && strcmp(owner_of(pick->m, job), owner) == 0;
    }
    return count;
}

static void count_owners(Pick *pick)
{
    const Model *m = pick->m;
    for (size_t i = 0; i < m->jobs.count; i++) {
        const ModelJob *job = &m->jobs.rows[i];
        pick->owners += (job->state == JOB_QUEUED || job->state == JOB_RUNNING) &&
                        job->pool == pick->pool && live_of(pick, owner_of(m, job), i) == 0;
    }
    for (size_t i = 0; i < pick->count; i++) {
        const Due *due = &pick->due[i];
        bool known = due->band != 0 || stuck(due) || live_of(pick, due->owner, m->jobs.count) != 0;
        for (size_t k = 0; k < i && !known; k++)
            known = pick->due[k].band == 0 && !stuck(&pick->due[k]) &&
                    strcmp(pick->due[k].owner, due->owner) == 0;
        pick->owners += !known;
    }
    for (size_t i = 0; i < m->instances.count; i++) {
        const ModelInstance *instance = &m->instances.rows[i];
        const ModelWorker *worker = &m->workers.rows[instance->worker - 1];
        if (model_lives(m, instance) && !worker->drain && (worker->pools & (1u << pick->pool)) != 0)
            pick->slots += instance->slots;
    }
}

static void give_turns(Pick *pick)
{
    count_owners(pick);
    for (size_t i = 0; i < pick->count; i++) {
        Due *due = &pick->due[i];
        for (size_t k = 0; due->band == 0 && k < pick->count; k++) {
            const Due *other = &pick->due[k];
            due->turn += other->band == 0 && stuck(other) == stuck(due) &&
                         strcmp(other->owner, due->owner) == 0 && !before(due, other);
        }
        if (due->band == 0)
            due->turn += live_of(pick, due->owner, pick->m->jobs.count);
    }
    qsort(pick->due, pick->count, sizeof *pick->due, by_order);
}

/* --- admission ------------------------------------------------------------------------------- */

typedef struct Held {
    uint64_t job;
    const char *verdict, *code;
    char text[96];
} Held;

static bool sent(const Pick *pick, const ModelJob *job)
{
    for (size_t i = 0; i < pick->out->count; i++) {
        const ModelJob *other = model_job(pick->m, pick->out->rows[i].job);
        if (model_lanes(other) != 0 && other->source == job->source)
            return true;
    }
    return false;
}

/* May it go now? If not, and if that is to be told: why. */
static bool admitted(const Pick *pick, const Due *due, Held *held)
{
    const ModelJob *job = model_job(pick->m, due->job);
    *held = (Held){.job = due->job};
    if (due->busy) {
        held->verdict = "deferred";
        held->code = "lane.busy";
        return false;
    }
    if (model_lanes(job) != 0 && sent(pick, job))
        return false; /* the one before it goes first */
    if (full(pick, job, held->text)) {
        held->verdict = "deferred";
        held->code = "limit.full";
        return false;
    }
    if (model_nobody(pick->m, job, held->text)) {
        held->verdict = "held";
        held->code = "no_worker";
        return false;
    }
    return true;
}

/* --- tickets that are taken back ------------------------------------------------------------- */

static int64_t tickets_out(const Pick *pick, int64_t *oldest)
{
    int64_t count = 0;
    *oldest = INT64_MAX;
    for (size_t i = 0; i < pick->m->jobs.count; i++) {
        const ModelJob *job = &pick->m->jobs.rows[i];
        if (job->state != JOB_QUEUED || job->pool != pick->pool)
            continue;
        count++;
        *oldest = job->queued_at < *oldest ? job->queued_at : *oldest;
    }
    return count;
}

/* How many its owner has up to and with this one that has a ticket. */
static uint64_t turn_of(const Pick *pick, uint64_t number)
{
    const Model *m = pick->m;
    const ModelJob *job = &m->jobs.rows[number - 1];
    uint64_t turn = 0;
    for (size_t i = 0; i < m->jobs.count; i++) {
        const ModelJob *other = &m->jobs.rows[i];
        if (other->pool != pick->pool || strcmp(owner_of(m, other), owner_of(m, job)) != 0)
            continue;
        turn += other->state == JOB_RUNNING ||
                (other->state == JOB_QUEUED && other->priority < 50 &&
                 (other->queued_at < job->queued_at ||
                  (other->queued_at == job->queued_at && i + 1 <= number)));
    }
    return turn;
}

static int64_t recall(Pick *pick, uint64_t turn)
{
    Model *m = pick->m;
    int64_t count = 0;
    int64_t old = m->now - (int64_t)(m->setting.recall * 1e6);
    pick->back = mem_array(bool, m->jobs.count);
    for (size_t i = 0; i < m->jobs.count; i++) {
        const ModelJob *job = &m->jobs.rows[i];
        pick->back[i] = job->state == JOB_QUEUED && job->pool == pick->pool && job->priority < 50 &&
                        job->queued_at <= old && turn_of(pick, i + 1) > turn + 1;
        count += pick->back[i];
    }
    return count;
}

static void take_back(Pick *pick)
{
    for (size_t i = 0; pick->back != NULL && i < pick->m->jobs.count; i++) {
        ModelJob *job = &pick->m->jobs.rows[i];
        if (!pick->back[i])
            continue;
        model_move(pick->m, job, JOB_PENDING);
        job->queued_at = 0;
        job->dispatch++;
    }
    mem_free(pick->back);
}

/* --- picking --------------------------------------------------------------------------------- */

/* How many tickets of what is not urgent may go in this pass. */
typedef struct Allowed {
    int64_t most, depth, tickets;
    bool look; /* is it time to take tickets back? */
} Allowed;

static int64_t allowed(const Allowed *a)
{
    return a->depth < INT64_MAX && a->depth - a->tickets < a->most ? a->depth - a->tickets
                                                                   : a->most;
}

static Allowed begin(Pick *pick, int32_t most)
{
    ModelPool *pool = &pick->m->pools[pick->pool];
    int64_t old = pick->m->now - (int64_t)(pick->m->setting.recall * 1e6), oldest;
    Allowed out = {.most = most, .depth = INT64_MAX};
    out.tickets = tickets_out(pick, &oldest);
    out.look = oldest <= old && pool->recalled_at <= old;
    if (out.look)
        pool->recalled_at = pick->m->now;
    gather(pick, most <= 0 && !out.look);
    give_turns(pick);
    if (pick->owners > 1)
        out.depth = 4 * pick->slots > 16 ? 4 * pick->slots : 16;
    return out;
}

static bool may_go(Pick *pick, const Due *due, Allowed *a)
{
    if (due->band == 0 && a->look) {
        a->look = false;
        int64_t back = a->depth == INT64_MAX ? 0 : recall(pick, due->turn);
        a->most += back;
        a->tickets -= back;
    }
    return due->band != 0 || (int64_t)pick->out->count < allowed(a);
}

void model_pick(Model *m, uint32_t pool, int32_t most, TicketList *out)
{
    Pick pick = {.m = m, .pool = pool, .out = out};
    *out = (TicketList){0};
    if (m->pools[pool].paused)
        return;
    Allowed a = begin(&pick, most);
    out->rows = mem_array(TicketRow, pick.count);
    Held *held = mem_array(Held, pick.count);
    size_t held_count = 0;
    int64_t beyond = (int64_t)most + m->pools[pool].window / 8;
    for (size_t i = 0; i < pick.count; i++) {
        const Due *due = &pick.due[i];
        if (due->band == 0 && !a.look && (int64_t)out->count >= allowed(&a))
            break;
        if (due->band == 1 && (int64_t)out->count >= beyond)
            continue;
        if (!admitted(&pick, due, &held[held_count])) {
            held_count += held[held_count].code != NULL;
            continue;
        }
        if (!may_go(&pick, due, &a))
            break;
        model_move(m, model_job(m, due->job), JOB_QUEUED);
        model_job(m, due->job)->queued_at = m->now;
        model_give(m, due->job, out);
        if (due->band == 0 && a.depth != INT64_MAX)
            served(m, pool, due->owner)->at = m->now + (int64_t)out->count;
    }
    for (size_t i = 0; i < held_count; i++)
        model_decide_seldom(m, held[i].job, held[i].verdict, held[i].code, held[i].text);
    take_back(&pick);
    mem_free(held);
    mem_free(pick.due);
}
