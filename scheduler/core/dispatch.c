/* SPDX-License-Identifier: Apache-2.0 */
#include "scheduler/core/dispatch.h"

#include "common/base/crashpoint.h"
#include "common/base/log.h"

#include <inttypes.h>
#include <stdio.h>

/* Pushes tickets in runs of one end and of QUEUE_PUSH_MOST. *lost: Redis has another generation. */
static bool push_all(Queue *queue, uint32_t pool, const Uuid *generation, const TicketList *list,
                     uint64_t *pushed, bool *lost, Err *err)
{
    Ticket tickets[QUEUE_PUSH_MOST];
    *lost = false;
    for (size_t at = 0; at < list->count && !*lost;) {
        bool urgent = list->rows[at].urgent;
        size_t count = 0;
        size_t done = 0;
        for (; at < list->count && count < QUEUE_PUSH_MOST && list->rows[at].urgent == urgent;
             at++, count++) {
            tickets[count] =
                (Ticket){.job = list->rows[at].job, .dispatch = list->rows[at].dispatch};
            snprintf(tickets[count].kind, sizeof tickets[count].kind, "%s", list->rows[at].kind);
        }
        if (!queue_push(queue, pool, generation, urgent, tickets, count, &done, lost, err))
            return false;
        *pushed += done;
    }
    return true;
}

/* Redis does not know the pool's generation: a new one begins, and every queued job is pushed. */
static bool resync_pool(Catalog *catalog, Queue *queue, const PoolRow *pool, Err *err)
{
    Uuid generation;
    TicketList list = {0};
    uint64_t pushed = 0;
    bool lost = false;
    if (!catalog_redis_generation(catalog, pool->number, true, &generation, err) ||
        !queue_generation_begin(queue, pool->number, &generation, err) ||
        !catalog_requeue_all(catalog, pool->number, &list, err))
        return false;
    bool done = push_all(queue, pool->number, &generation, &list, &pushed, &lost, err);
    if (done)
        log_warn("queue.resync", "pool=%s tickets=%zu pushed=%" PRIu64, pool->name, list.count,
                 pushed);
    catalog_tickets_free(&list);
    return done;
}

static bool dispatch_pool(Catalog *catalog, Queue *queue, const PoolRow *pool, uint64_t *pushed,
                          Err *err)
{
    TicketList list = {0};
    bool lost = false;
    if (pool->paused || pool->due == 0 || pool->queued >= pool->window)
        return true;
    CRASHPOINT("scheduler.dispatch.before");
    if (!catalog_dispatch_pick(catalog, pool->number, pool->window - pool->queued, &list, err))
        return false;
    CRASHPOINT("scheduler.dispatch.picked");
    bool done = push_all(queue, pool->number, &pool->generation, &list, pushed, &lost, err);
    CRASHPOINT("scheduler.dispatch.pushed");
    catalog_tickets_free(&list);
    return done && (!lost || resync_pool(catalog, queue, pool, err));
}

bool dispatch_due(Catalog *catalog, Queue *queue, uint64_t *pushed, Err *err)
{
    PoolList pools = {0};
    bool done = true;
    *pushed = 0;
    if (!catalog_jobs_due(catalog, &pools, err))
        return false;
    for (size_t i = 0; done && i < pools.count; i++)
        done = dispatch_pool(catalog, queue, &pools.rows[i], pushed, err);
    catalog_pools_free(&pools);
    return done;
}

static bool check_generation(Catalog *catalog, Queue *queue, const PoolRow *pool, Err *err)
{
    Uuid held;
    bool present;
    if (!queue_generation(queue, pool->number, &held, &present, err))
        return false;
    if (present && uuid_equal(&held, &pool->generation))
        return true;
    return resync_pool(catalog, queue, pool, err);
}

bool dispatch_resync(Catalog *catalog, Queue *queue, Err *err)
{
    PoolList pools = {0};
    bool done = true;
    if (!catalog_pools(catalog, &pools, err))
        return false;
    for (size_t i = 0; done && i < pools.count; i++)
        done = check_generation(catalog, queue, &pools.rows[i], err);
    catalog_pools_free(&pools);
    return done;
}

/* Entries that Redis remembers as pushed, gathered for one question to the catalogue. */
typedef struct Stale {
    TicketRow rows[QUEUE_PUSH_MOST];
    size_t count;
} Stale;

static bool gather(void *ctx, uint64_t job, uint64_t dispatch)
{
    Stale *stale = ctx;
    if (stale->count == QUEUE_PUSH_MOST)
        return false; /* the rest comes in the next pass */
    stale->rows[stale->count++] = (TicketRow){.job = job, .dispatch = dispatch};
    return true;
}

static bool forget_stale(Catalog *catalog, Queue *queue, uint32_t pool, Err *err)
{
    Stale stale = {0};
    bool over[QUEUE_PUSH_MOST];
    if (!queue_pushed(queue, pool, gather, &stale, err))
        return false;
    if (stale.count == 0)
        return true;
    if (!catalog_tickets_done(catalog, stale.rows, stale.count, over, err))
        return false;
    for (size_t i = 0; i < stale.count; i++)
        if (over[i] && !queue_forget(queue, pool, stale.rows[i].job, stale.rows[i].dispatch, err))
            return false;
    return true;
}

static bool repair_pool(Catalog *catalog, Queue *queue, const PoolRow *pool, Err *err)
{
    TicketList list = {0};
    QueueOrphans orphans = {0};
    uint64_t pushed = 0;
    bool lost = false;
    if (!queue_orphans_return(queue, pool->number, &orphans, err))
        return false;
    if (orphans.tickets_returned != 0)
        log_warn("queue.orphans", "pool=%s workers_gone=%zu tickets=%zu", pool->name,
                 orphans.workers_gone, orphans.tickets_returned);
    if (!catalog_requeue(catalog, pool->number, &list, err))
        return false;
    bool done = push_all(queue, pool->number, &pool->generation, &list, &pushed, &lost, err);
    catalog_tickets_free(&list);
    done = done && (!lost || resync_pool(catalog, queue, pool, err));
    return done && forget_stale(catalog, queue, pool->number, err);
}

bool dispatch_repair(Catalog *catalog, Queue *queue, Err *err)
{
    PoolList pools = {0};
    bool done = true;
    if (!catalog_pools(catalog, &pools, err))
        return false;
    for (size_t i = 0; done && i < pools.count; i++)
        done = check_generation(catalog, queue, &pools.rows[i], err) &&
               repair_pool(catalog, queue, &pools.rows[i], err);
    catalog_pools_free(&pools);
    return done;
}
