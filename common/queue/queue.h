/* SPDX-License-Identifier: Apache-2.0
 * queue.h — the scheduler's side of the ticket queue, as blocking calls.
 * Redis carries hints: losing, doubling or replaying all of it costs latency and nothing else, so
 * every call may be repeated after any failure. A Queue owns a connection that comes back by
 * itself; a call waits for it, and fails ERR_UNREACHABLE or ERR_TIMEOUT when its time is over.
 * One Queue belongs to one thread. Workers use taker.h. */
#ifndef COMMON_QUEUE_QUEUE_H
#define COMMON_QUEUE_QUEUE_H

#include "protocol/ids.h"
#include "protocol/ticket.h"

typedef struct Queue Queue;

/* How to reach Redis; the same for scheduler and worker. Nothing is kept but the two Slices. */
typedef struct QueueParams {
    Text url;                /* redis_address.h says which forms there are */
    Slice password;          /* borrowed until close; empty: none */
    Slice sentinel_password; /* the same */
    const char *ca_file;     /* NULL: the system's */
    const char *cert_file;   /* NULL: none */
    const char *key_file;
    int64_t timeout_ms; /* of one call of Queue; 0: 5 000 */
    int64_t forget_ms;  /* a dead worker's list is looked at for so long; 0: 60 000 */
} QueueParams;

typedef struct QueueStatus {
    char version[16];
    char eviction[32];    /* maxmemory-policy; empty where Redis does not say */
    uint64_t used_memory; /* bytes */
} QueueStatus;

/* Does not wait for the connection. */
MUST_CHECK bool queue_open(Queue **out, const QueueParams *params, Err *err);
void queue_close(Queue *queue); /* NULL is fine */

/* Loads the scripts, which workers may not do, and says what the server is. Refuses, as
 * "queue.eviction", a server that may evict keys when its memory is full: a ticket that vanishes
 * silently is found again only by time. To be called at start and after every reconnect. Of a
 * cluster one node is looked at; the others are given the scripts when they ask for them. */
MUST_CHECK bool queue_check(Queue *queue, QueueStatus *status, Err *err);

/* Makes tickets visible; one that is in the queue under the same dispatch already is not doubled.
 * *lost: this Redis does not carry `generation`, or something else stands under our names; a new
 * generation mends both. At most QUEUE_PUSH_MOST. */
enum { QUEUE_PUSH_MOST = 256 };
MUST_CHECK bool queue_push(Queue *queue, uint32_t pool, const Uuid *generation, bool urgent,
                           const Ticket *tickets, size_t count, size_t *pushed, bool *lost,
                           Err *err);

/* *present false: the pool has none, Redis was emptied. */
MUST_CHECK bool queue_generation(Queue *queue, uint32_t pool, Uuid *out, bool *present, Err *err);

/* Begins a generation: the tickets that wait here and what this Redis remembers as pushed are
 * forgotten, so that the caller can push every queued job again, each once. A ticket that a worker
 * has taken meanwhile stays its; when it comes twice the claim refuses the second. */
MUST_CHECK bool queue_generation_begin(Queue *queue, uint32_t pool, const Uuid *generation,
                                       Err *err);

/* How many tickets wait to be taken. */
MUST_CHECK bool queue_depth(Queue *queue, uint32_t pool, uint64_t *out, Err *err);

/* Returns the tickets of workers whose liveness key is gone to the ready list. A worker is
 * forgotten when its list stayed empty for forget_ms: what it asked for before it died may arrive
 * late. */
typedef struct QueueOrphans {
    size_t workers_alive;
    size_t workers_gone;
    size_t tickets_returned;
} QueueOrphans;
MUST_CHECK bool queue_orphans_return(Queue *queue, uint32_t pool, QueueOrphans *out, Err *err);

/* Visits what Redis remembers as pushed; entries may be seen twice. False from visit ends it. */
typedef bool QueueVisit(void *ctx, uint64_t job, uint64_t dispatch);
MUST_CHECK bool queue_pushed(Queue *queue, uint32_t pool, QueueVisit *visit, void *ctx, Err *err);

/* Forgets one of them, if it still has this dispatch: its job is over and the ack was lost. */
MUST_CHECK bool queue_forget(Queue *queue, uint32_t pool, uint64_t job, uint64_t dispatch,
                             Err *err);

#endif
