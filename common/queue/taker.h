/* SPDX-License-Identifier: Apache-2.0
 * taker.h — the worker's side of the ticket queue, on an event loop.
 * One connection per pool blocks in BLMOVE, one more sends everything else. A ticket that was taken
 * lies in this process' own claimed list until it is acknowledged or given back; if the process
 * dies, its liveness key expires and a scheduler returns the list. On every connect the own list
 * is read first, because the answer of a BLMOVE may have been lost with the connection before.
 * Elements that are no ticket of ours are removed, counted and logged, and stop nothing.
 * All that a worker's Redis user needs, for each of its pools:
 *   ~hf:{p7}:* +ping +select +blmove +lrange +lrem +sadd +set +evalsha +hget +hdel +lpush +rpush
 * Everything here runs on the thread of the event_base. */
#ifndef COMMON_QUEUE_TAKER_H
#define COMMON_QUEUE_TAKER_H

#include "common/queue/queue.h"

struct event_base;

typedef struct Taker Taker;
typedef struct TakerTicket TakerTicket; /* one taken ticket; owned by the Taker until it is ended */

enum { TAKER_POOLS_MOST = 64 };

typedef struct TakerParams {
    QueueParams queue;
    Uuid worker; /* drawn at process start: a name used twice would hide orphans */
    const uint32_t *pools;
    size_t pool_count;
    int64_t liveness_ms; /* life of the liveness key, refreshed at a third of it; 0: 30 000 */
    int64_t block_ms;    /* of one BLMOVE; 0: 2 000 */
    void *ctx;
    /* A ticket was taken; it ends by exactly one of the three calls below. */
    void (*on_ticket)(void *ctx, TakerTicket *ticket);
    /* An element that is no ticket of ours is being removed; err says what is wrong with it. */
    void (*on_dropped)(void *ctx, uint32_t pool, Slice element, const Err *err);
    /* Reachability of one pool changed; err is NULL when it became reachable. */
    void (*on_state)(void *ctx, uint32_t pool, const Err *err);
} TakerParams;

MUST_CHECK bool taker_open(Taker **out, struct event_base *base, const TakerParams *params,
                           Err *err);

/* From now on these pools and no others; what was taken from another one is still ended. */
MUST_CHECK bool taker_serve(Taker *taker, const uint32_t *pools, size_t count, Err *err);

/* How many more tickets may be taken now. 0 stops taking: an element that a waiting BLMOVE still
 * delivers is given back at once. Each on_ticket uses one up. */
void taker_want(Taker *taker, unsigned count);
unsigned taker_wanted(const Taker *taker);

const Ticket *taker_ticket(const TakerTicket *ticket);
uint32_t taker_pool(const TakerTicket *ticket);

/* The ticket is done with: claimed and ended, or stale. Sent until Redis confirms it. */
void taker_ack(Taker *taker, TakerTicket *ticket);
/* Not used: the next worker takes it first. */
void taker_giveback(Taker *taker, TakerTicket *ticket);
/* This worker cannot do it: it goes to the far end, and this pool rests for a second. */
void taker_bounce(Taker *taker, TakerTicket *ticket);

/* Tickets whose end Redis has not confirmed yet. */
size_t taker_unconfirmed(const Taker *taker);

typedef struct TakerCounts {
    uint64_t taken, acked, given_back, bounced, dropped;
} TakerCounts;
TakerCounts taker_counts(const Taker *taker);

void taker_close(Taker *taker); /* what is not confirmed is left to the schedulers; NULL is fine */

#endif
