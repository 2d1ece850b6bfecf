/* SPDX-License-Identifier: Apache-2.0 */
#include "scheduler/core/dispatch.h"

#include "common/base/crashpoint.h"
#include "common/base/log.h"
#include "common/base/mem.h"

#include <inttypes.h>
#include <stdio.h>

enum { PUSHED_MOST = 65536 }; /* entries of one pool looked at in one pass */

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

/* Redis does not know the pool's generation: a new one begins, and every queued job is pushed. The
 * row learns it, so that what its holder pushes next is not taken for lost again. What is to be
 * pushed is known before Redis is told: a catalogue that goes away then leaves the old generation
 * there, to be found again at the next look. */
static bool resync_pool(Catalog *catalog, Queue *queue, PoolRow *pool, Err *err)
{
    TicketList list = {0};
    uint64_t pushed = 0;
    bool lost = false;
    if (!catalog_redis_generation(catalog, pool->number, true, &pool->generation, err) ||
        !catalog_requeue_all(catalog, pool->number, &list, err))
        return false;
    CRASHPOINT("scheduler.dispatch.renewed");
    bool done = queue_generation_begin(queue, pool->number, &pool->generation, err) &&
                push_all(queue, pool->number, &pool->generation, &list, &pushed, &lost, err);
    if (done)
        log_warn("queue.resync", "pool=%s tickets=%zu pushed=%" PRIu64, pool->name, list.count,
                 pushed);
    catalog_tickets_free(&list);
    return done;
}

/* Pushes and frees the list; a new generation begins where Redis turns out to have lost its data.
 */
static bool push_or_resync(Catalog *catalog, Queue *queue, PoolRow *pool, TicketList *list,
                           uint64_t *pushed, Err *err)
{
    bool lost = false;
    bool done = push_all(queue, pool->number, &pool->generation, list, pushed, &lost, err);
    catalog_tickets_free(list);
    return done && (!lost || resync_pool(catalog, queue, pool, err));
}

/* What is done for one pool; *pushed counts tickets. */
typedef bool PoolWork(Catalog *catalog, Queue *queue, PoolRow *pool, uint64_t *pushed, Err *err);

/* The first failure is the answer. A server that is away ends the pass; trouble of one pool does
 * not keep the others waiting. */
static bool each_pool(Catalog *catalog, Queue *queue, const PoolList *pools, PoolWork *work,
                      uint64_t *pushed, Err *err)
{
    for (size_t i = 0; i < pools->count; i++) {
        Err why = {0};
        if (work(catalog, queue, &pools->rows[i], pushed, &why))
            continue;
        if (err->code == ERR_NONE) {
            *err = why;
            err_note(err, "pool %s", pools->rows[i].name);
        }
        if (why.code == ERR_UNREACHABLE || why.code == ERR_TIMEOUT)
            break;
    }
    return err->code == ERR_NONE;
}

/* One pass over the pools as they are now. */
static bool every_pool(Catalog *catalog, Queue *queue, PoolWork *work, Err *err)
{
    PoolList pools = {0};
    uint64_t pushed = 0;
    if (!catalog_pools(catalog, &pools, err))
        return false;
    bool done = each_pool(catalog, queue, &pools, work, &pushed, err);
    catalog_pools_free(&pools);
    return done;
}

/* How many tickets may go out now. A full window keeps back neither what is urgent nor an
 * emergency. Who goes next is found by looking at all that waits: with a long queue that is done
 * again when a quarter of the window was taken, not for each ticket of it. */
static int32_t room_of(const PoolRow *pool)
{
    int32_t room = (int32_t)pool->window - (int32_t)pool->queued;
    bool waits = room > 0 && pool->due > (uint32_t)room && (uint32_t)room < pool->window / 4;
    return waits ? 0 : room;
}

static bool dispatch_pool(Catalog *catalog, Queue *queue, PoolRow *pool, uint64_t *pushed, Err *err)
{
    TicketList list = {0};
    if (pool->paused || pool->due == 0)
        return true;
    CRASHPOINT("scheduler.dispatch.before");
    if (!catalog_dispatch_pick(catalog, pool->number, room_of(pool), &list, err))
        return false;
    CRASHPOINT("scheduler.dispatch.picked");
    bool done = push_or_resync(catalog, queue, pool, &list, pushed, err);
    CRASHPOINT("scheduler.dispatch.pushed");
    return done;
}

bool dispatch_due(Catalog *catalog, Queue *queue, uint64_t *pushed, Err *err)
{
    PoolList pools = {0};
    *pushed = 0;
    if (!catalog_jobs_due(catalog, &pools, err))
        return false;
    bool done = each_pool(catalog, queue, &pools, dispatch_pool, pushed, err);
    catalog_pools_free(&pools);
    return done;
}

static bool check_generation(Catalog *catalog, Queue *queue, PoolRow *pool, uint64_t *pushed,
                             Err *err)
{
    Uuid held;
    bool present;
    (void)pushed;
    if (!queue_generation(queue, pool->number, &held, &present, err))
        return false;
    if (present && uuid_equal(&held, &pool->generation))
        return true;
    /* Another leader may have begun it since the pools were read: two must not take turns. */
    if (!catalog_redis_generation(catalog, pool->number, false, &pool->generation, err))
        return false;
    if (present && uuid_equal(&held, &pool->generation))
        return true;
    return resync_pool(catalog, queue, pool, err);
}

static bool again_pool(Catalog *catalog, Queue *queue, PoolRow *pool, uint64_t *pushed, Err *err)
{
    TicketList list = {0};
    return check_generation(catalog, queue, pool, pushed, err) &&
           catalog_requeue_all(catalog, pool->number, &list, err) &&
           push_or_resync(catalog, queue, pool, &list, pushed, err);
}

bool dispatch_again(Catalog *catalog, Queue *queue, Err *err)
{
    return every_pool(catalog, queue, again_pool, err);
}

bool dispatch_resync(Catalog *catalog, Queue *queue, Err *err)
{
    return every_pool(catalog, queue, check_generation, err);
}

/* Entries that Redis remembers as pushed. A pool has its window of them at most, and those whose
 * acknowledgement was lost. */
typedef struct Pushed {
    TicketRow *rows;
    size_t count, room;
} Pushed;

static bool gather(void *ctx, uint64_t job, uint64_t dispatch)
{
    Pushed *pushed = ctx;
    if (pushed->count == pushed->room) {
        pushed->room = pushed->room == 0 ? QUEUE_PUSH_MOST : 2 * pushed->room;
        pushed->rows = mem_resize(pushed->rows, pushed->room * sizeof(TicketRow));
    }
    pushed->rows[pushed->count++] = (TicketRow){.job = job, .dispatch = dispatch};
    return pushed->count < PUSHED_MOST; /* the rest comes in the next pass */
}

/* One question to the catalogue for a run of entries; those that wait for no claim are forgotten.
 */
static bool forget_over(Catalog *catalog, Queue *queue, uint32_t pool, const TicketRow *rows,
                        size_t count, Err *err)
{
    bool over[QUEUE_PUSH_MOST];
    if (!catalog_tickets_done(catalog, rows, count, over, err))
        return false;
    for (size_t i = 0; i < count; i++)
        if (over[i] && !queue_forget(queue, pool, rows[i].job, rows[i].dispatch, err))
            return false;
    return true;
}

static bool forget_stale(Catalog *catalog, Queue *queue, uint32_t pool, Err *err)
{
    Pushed pushed = {0};
    bool done = queue_pushed(queue, pool, gather, &pushed, err);
    for (size_t at = 0; done && at < pushed.count; at += QUEUE_PUSH_MOST) {
        size_t left = pushed.count - at;
        done = forget_over(catalog, queue, pool, pushed.rows + at,
                           left < QUEUE_PUSH_MOST ? left : QUEUE_PUSH_MOST, err);
    }
    mem_free(pushed.rows);
    return done;
}

static bool repair_pool(Catalog *catalog, Queue *queue, PoolRow *pool, uint64_t *pushed, Err *err)
{
    TicketList list = {0};
    QueueOrphans orphans = {0};
    if (!check_generation(catalog, queue, pool, pushed, err) ||
        !queue_orphans_return(queue, pool->number, &orphans, err))
        return false;
    if (orphans.tickets_returned != 0)
        log_warn("queue.orphans", "pool=%s workers_gone=%zu tickets=%zu", pool->name,
                 orphans.workers_gone, orphans.tickets_returned);
    return catalog_requeue(catalog, pool->number, &list, err) &&
           push_or_resync(catalog, queue, pool, &list, pushed, err) &&
           forget_stale(catalog, queue, pool->number, err);
}

bool dispatch_repair(Catalog *catalog, Queue *queue, Err *err)
{
    return every_pool(catalog, queue, repair_pool, err);
}
