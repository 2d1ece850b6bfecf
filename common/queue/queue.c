/* SPDX-License-Identifier: Apache-2.0 */
#include "common/queue/queue.h"

#include "common/base/clock.h"
#include "common/base/mem.h"
#include "common/queue/gone.h"
#include "common/queue/keys.h"
#include "common/queue/queue_params.h"
#include "common/queue/redis_reply.h"
#include "common/queue/scripts.h"

#include <event2/event.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

static const int64_t TIMEOUT_MS = 5000;
/* A scan that does not come to its end is ended; the next pass begins a new one. */
enum { PAGES_MOST = 65536 };
/* Of one orphan call: keeps a script short; what is left is found by the next pass. */
static const char ORPHANS_A_CALL[] = "100";
/* A guess at how long a command of a dead worker is on its way; TCP may bring one later still. The
 * ticket it takes then waits until it counts as lost, after requeue_force_s. */
static const int64_t FORGET_MS = 60000;

/* In a cluster a pool's keys lie on one node, and the connection to it follows them. */
enum { LINKS_MOST = 64 };
typedef struct Link {
    uint32_t pool;
    int64_t used_ms;
    Redis *redis;
} Link;

struct Queue {
    struct event_base *base;
    struct event *alarm;
    RedisParams params; /* of every connection */
    Redis *redis;
    Link links[LINKS_MOST]; /* of a cluster; beyond them the one that was used least lately is
                               closed */
    size_t link_count;
    Redis *here; /* who is asked: one of these */
    int64_t timeout_ms;
    int64_t forget_ms;
    Gone gone;
};

/* One command under way. It outlives the call that waits when that runs out of time. */
typedef struct Call {
    redisReply *reply;
    Err err;
    bool done;
} Call;

static void on_alarm(evutil_socket_t fd, short what, void *ctx)
{
    (void)fd, (void)what, (void)ctx; /* it only ends one turn of the loop */
}

bool queue_open(Queue **out, const QueueParams *params, Err *err)
{
    Queue *queue = mem_new(Queue);
    queue->timeout_ms = params->timeout_ms > 0 ? params->timeout_ms : TIMEOUT_MS;
    queue->forget_ms = params->forget_ms > 0 ? params->forget_ms : FORGET_MS;
    queue->base = event_base_new();
    bool ok = queue->base != NULL;
    if (!ok)
        err_set(err, ERR_FULL, "queue.memory", "no memory for an event loop");
    queue->alarm = ok ? evtimer_new(queue->base, on_alarm, NULL) : NULL;
    ok = ok && queue_params_redis(params, &queue->params, err) &&
         redis_open(&queue->redis, queue->base, &queue->params, err);
    queue->here = queue->redis;
    if (!ok) {
        queue_close(queue);
        return false;
    }
    *out = queue;
    return true;
}

void queue_close(Queue *queue)
{
    if (queue == NULL)
        return;
    for (size_t i = 0; i < queue->link_count; i++)
        redis_close(queue->links[i].redis);
    redis_close(queue->redis);
    redis_address_free(&queue->params.address);
    if (queue->alarm != NULL)
        event_free(queue->alarm);
    if (queue->base != NULL)
        event_base_free(queue->base);
    gone_free(&queue->gone);
    mem_free(queue);
}

static int64_t now_ms(void)
{
    return clock_mono_ns() / 1000000;
}

/* One turn of the loop, at most until the deadline; false when that has passed. */
static bool turn(Queue *queue, int64_t deadline_ms)
{
    int64_t left = deadline_ms - now_ms();
    if (left <= 0)
        return false;
    struct timeval when = {.tv_sec = (time_t)(left / 1000),
                           .tv_usec = (suseconds_t)(left % 1000 * 1000)};
    evtimer_add(queue->alarm, &when);
    event_base_loop(queue->base, EVLOOP_ONCE);
    evtimer_del(queue->alarm);
    return true;
}

static Link *free_link(Queue *queue)
{
    if (queue->link_count < LINKS_MOST)
        return &queue->links[queue->link_count++];
    Link *oldest = &queue->links[0];
    for (size_t i = 1; i < queue->link_count; i++)
        if (queue->links[i].used_ms < oldest->used_ms)
            oldest = &queue->links[i];
    redis_close(oldest->redis);
    return oldest;
}

/* From now on the node that has this pool is asked. */
static bool go_to(Queue *queue, uint32_t pool, Err *err)
{
    Link *link = NULL;
    if (!queue->params.address.cluster)
        return true;
    for (size_t i = 0; i < queue->link_count && link == NULL; i++)
        if (queue->links[i].pool == pool)
            link = &queue->links[i];
    if (link == NULL) {
        link = free_link(queue);
        *link = (Link){.pool = pool};
    }
    link->used_ms = now_ms();
    if (link->redis == NULL && !redis_open(&link->redis, queue->base, &queue->params, err))
        return false;
    queue->here = link->redis;
    return true;
}

static void on_done(void *ctx, redisReply **reply, const Err *err)
{
    Call *call = ctx;
    call->reply = *reply;
    *reply = NULL;
    call->err = *err;
    call->done = true;
}

/* Waits for the connection, sends, waits for the answer. The reply is the caller's. */
static bool ask_once(Queue *queue, int64_t deadline_ms, const Slice *argv, size_t argc,
                     redisReply **reply, Err *err)
{
    Call call = {0};
    *err = (Err){0};
    while (!redis_command(queue->here, argv, argc, queue->timeout_ms, on_done, &call, err))
        if (err->code == ERR_DENIED || err->code == ERR_BUG || !turn(queue, deadline_ms))
            return false;
    *err = (Err){0};
    /* Bounded: the command has a deadline of its own, so done is set in any case. */
    while (!call.done)
        event_base_loop(queue->base, EVLOOP_ONCE);
    *reply = call.reply;
    if (call.reply == NULL)
        *err = call.err;
    return call.reply != NULL;
}

/* A node that does not have the slot has done nothing: the one that it names is asked. */
static bool ask(Queue *queue, const Slice *argv, size_t argc, redisReply **reply, Err *err)
{
    int64_t deadline_ms = now_ms() + queue->timeout_ms;
    bool cluster = queue->params.address.cluster;
    /* What happened meanwhile comes first: a connection that died unseen is noticed here. */
    event_base_loop(queue->base, EVLOOP_NONBLOCK);
    while (!ask_once(queue, deadline_ms, argv, argc, reply, err))
        if (!cluster || strcmp(err->cause, "queue.moved") != 0 || now_ms() > deadline_ms)
            return false;
    return true;
}

/* Somebody wrote another type under our name: what we had there is lost, and a new generation,
 * which writes over it, mends it. */
static bool overwritten(Err *err)
{
    if (strcmp(err->cause, "queue.wrongtype") != 0)
        return false;
    *err = (Err){0};
    return true;
}

static bool unexpected(redisReply *reply, Err *err)
{
    freeReplyObject(reply);
    return err_set(err, ERR_CORRUPT, "queue.protocol", "Redis answers in an unexpected form");
}

static bool ask_integer(Queue *queue, const Slice *argv, size_t argc, int64_t *out, Err *err)
{
    redisReply *reply = NULL;
    if (!ask(queue, argv, argc, &reply, err))
        return false;
    if (reply->type != REDIS_REPLY_INTEGER)
        return unexpected(reply, err);
    *out = reply->integer;
    freeReplyObject(reply);
    return true;
}

static bool load(Queue *queue, Script script, Err *err)
{
    Slice argv[3] = {slice_of_text(TEXT("SCRIPT")), slice_of_text(TEXT("LOAD")),
                     scripts_text(script)};
    redisReply *reply = NULL;
    if (!ask(queue, argv, 3, &reply, err))
        return err_note(err, "loading the scripts: ");
    if (!slice_equal(redis_reply_bytes(reply), scripts_sha1(script)))
        return unexpected(reply, err);
    freeReplyObject(reply);
    return true;
}

static bool load_all(Queue *queue, Err *err)
{
    for (Script script = 0; script < SCRIPT_COUNT; script++)
        if (!load(queue, script, err))
            return false;
    return true;
}

/* argv[0] and argv[1] are filled in here. A server that forgot the scripts is given them again. */
static bool run(Queue *queue, Script script, Slice *argv, size_t argc, int64_t *out, Err *err)
{
    argv[0] = slice_of_text(TEXT("EVALSHA"));
    argv[1] = scripts_sha1(script);
    if (ask_integer(queue, argv, argc, out, err))
        return true;
    if (strcmp(err->cause, "queue.noscript") != 0)
        return false;
    *err = (Err){0};
    return load_all(queue, err) && ask_integer(queue, argv, argc, out, err);
}

static bool info(Queue *queue, Text section, redisReply **reply, Err *err)
{
    Slice argv[2] = {slice_of_text(TEXT("INFO")), slice_of_text(section)};
    if (!ask(queue, argv, 2, reply, err))
        return false;
    return (*reply)->type == REDIS_REPLY_STRING ? true : unexpected(*reply, err);
}

bool queue_check(Queue *queue, QueueStatus *status, Err *err)
{
    queue->here = queue->redis;
    *status = (QueueStatus){0};
    redisReply *reply = NULL;
    if (!info(queue, TEXT("server"), &reply, err))
        return false;
    Text version = redis_reply_field(text_of_slice(redis_reply_bytes(reply)), "redis_version");
    snprintf(status->version, sizeof status->version, "%.*s", TEXT_ARG(version));
    freeReplyObject(reply);
    if (!info(queue, TEXT("memory"), &reply, err))
        return false;
    Text memory = text_of_slice(redis_reply_bytes(reply));
    Text eviction = redis_reply_field(memory, "maxmemory_policy");
    Text used = redis_reply_field(memory, "used_memory");
    snprintf(status->eviction, sizeof status->eviction, "%.*s", TEXT_ARG(eviction));
    for (size_t i = 0; i < used.len && used.at[i] >= '0' && used.at[i] <= '9'; i++)
        status->used_memory = status->used_memory * 10 + (uint64_t)(used.at[i] - '0');
    freeReplyObject(reply);
    if (status->eviction[0] != '\0' && strcmp(status->eviction, "noeviction") != 0)
        return err_set(err, ERR_CONFLICT, "queue.eviction",
                       "Redis may evict tickets (maxmemory-policy %s); set it to noeviction",
                       status->eviction);
    return load_all(queue, err);
}

static Slice count_slice(char out[24], uint64_t value)
{
    int len = snprintf(out, 24, "%" PRIu64, value);
    return (Slice){(const uint8_t *)out, (size_t)len};
}

bool queue_push(Queue *queue, uint32_t pool, const Uuid *generation, bool urgent,
                const Ticket *tickets, size_t count, size_t *pushed, bool *lost, Err *err)
{
    enum { FIXED = 8 };
    *pushed = 0;
    *lost = false;
    if (count == 0)
        return true;
    if (count > QUEUE_PUSH_MOST)
        return err_set(err, ERR_BUG, "queue.push", "%zu tickets in one push", count);
    if (!go_to(queue, pool, err))
        return false;
    KeysName ready = keys_ready(pool), inq = keys_inq(pool), name = keys_generation(pool);
    char id[UUID_TEXT];
    uuid_text(generation, id);
    Slice argv[FIXED + 3 * QUEUE_PUSH_MOST] = {
        [2] = slice_of_text(TEXT("3")),   [3] = keys_slice(&ready),
        [4] = keys_slice(&inq),           [5] = keys_slice(&name),
        [6] = slice_of_text(text_of(id)), [7] = slice_of_text(urgent ? TEXT("R") : TEXT("L")),
    };
    char numbers[QUEUE_PUSH_MOST][2][24];
    TicketBytes bytes[QUEUE_PUSH_MOST];
    for (size_t i = 0; i < count; i++) {
        ticket_pack(&tickets[i], &bytes[i]);
        argv[FIXED + 3 * i] = count_slice(numbers[i][0], tickets[i].job);
        argv[FIXED + 3 * i + 1] = count_slice(numbers[i][1], tickets[i].dispatch);
        argv[FIXED + 3 * i + 2] = (Slice){bytes[i].at, bytes[i].len};
    }
    int64_t answer = 0;
    if (!run(queue, SCRIPT_PUSH, argv, FIXED + 3 * count, &answer, err)) {
        *lost = overwritten(err);
        return *lost;
    }
    *lost = answer < 0;
    *pushed = answer < 0 ? 0 : (size_t)answer;
    return true;
}

bool queue_generation(Queue *queue, uint32_t pool, Uuid *out, bool *present, Err *err)
{
    KeysName name = keys_generation(pool);
    Slice argv[2] = {slice_of_text(TEXT("GET")), keys_slice(&name)};
    redisReply *reply = NULL;
    *present = false;
    if (!go_to(queue, pool, err))
        return false;
    if (!ask(queue, argv, 2, &reply, err))
        return overwritten(err);
    /* What is no uuid was not written by us: the same as none. */
    Err ignored = {0};
    *present = reply->type == REDIS_REPLY_STRING &&
               uuid_parse(text_of_slice(redis_reply_bytes(reply)), out, &ignored);
    freeReplyObject(reply);
    return true;
}

bool queue_generation_begin(Queue *queue, uint32_t pool, const Uuid *generation, Err *err)
{
    KeysName inq = keys_inq(pool), ready = keys_ready(pool), name = keys_generation(pool);
    char id[UUID_TEXT];
    uuid_text(generation, id);
    Slice forget[3] = {slice_of_text(TEXT("DEL")), keys_slice(&inq), keys_slice(&ready)};
    Slice set[3] = {slice_of_text(TEXT("SET")), keys_slice(&name), slice_of_text(text_of(id))};
    int64_t removed = 0;
    redisReply *reply = NULL;
    /* In this order: a push under the new generation never meets the old memory. */
    if (!go_to(queue, pool, err) || !ask_integer(queue, forget, 3, &removed, err) ||
        !ask(queue, set, 3, &reply, err))
        return false;
    freeReplyObject(reply);
    return true;
}

bool queue_depth(Queue *queue, uint32_t pool, uint64_t *out, Err *err)
{
    KeysName ready = keys_ready(pool);
    Slice argv[2] = {slice_of_text(TEXT("LLEN")), keys_slice(&ready)};
    int64_t depth = 0;
    if (!go_to(queue, pool, err) || !ask_integer(queue, argv, 2, &depth, err))
        return false;
    *out = (uint64_t)depth;
    return true;
}

static bool return_orphans(Queue *queue, uint32_t pool, Text worker, QueueOrphans *out, Err *err)
{
    Uuid id;
    Err ignored = {0};
    if (!uuid_parse(worker, &id, &ignored)) /* not written by us */
        return true;
    KeysName alive = keys_alive(pool, &id), claimed = keys_claimed(pool, &id),
             ready = keys_ready(pool), workers = keys_workers(pool);
    bool forget = gone_for(&queue->gone, pool, &id, now_ms(), queue->forget_ms);
    Slice argv[10] = {[2] = slice_of_text(TEXT("4")),
                      [3] = keys_slice(&alive),
                      [4] = keys_slice(&claimed),
                      [5] = keys_slice(&ready),
                      [6] = keys_slice(&workers),
                      [7] = slice_of_text(worker),
                      [8] = slice_of_text(TEXT(ORPHANS_A_CALL)),
                      [9] = slice_of_text(forget ? TEXT("1") : TEXT("0"))};
    int64_t moved = 0;
    if (!run(queue, SCRIPT_ORPHAN, argv, 10, &moved, err))
        return false;
    if (moved < 0 || (moved == 0 && forget))
        gone_drop(&queue->gone, pool, &id);
    else
        gone_seen(&queue->gone, pool, &id, moved == 0, now_ms());
    out->workers_alive += moved < 0;
    out->workers_gone += moved >= 0;
    out->tickets_returned += moved < 0 ? 0 : (size_t)moved;
    return true;
}

bool queue_orphans_return(Queue *queue, uint32_t pool, QueueOrphans *out, Err *err)
{
    *out = (QueueOrphans){0};
    KeysName workers = keys_workers(pool);
    Slice argv[2] = {slice_of_text(TEXT("SMEMBERS")), keys_slice(&workers)};
    redisReply *reply = NULL;
    if (!go_to(queue, pool, err) || !ask(queue, argv, 2, &reply, err))
        return false;
    if (reply->type != REDIS_REPLY_ARRAY)
        return unexpected(reply, err);
    bool ok = true;
    for (size_t i = 0; ok && i < reply->elements; i++) {
        Text worker = text_of_slice(redis_reply_bytes(reply->element[i]));
        ok = return_orphans(queue, pool, worker, out, err);
    }
    freeReplyObject(reply);
    return ok;
}

/* One page of HSCAN; *cursor is "0" again at the end. */
static bool scan_page(Queue *queue, uint32_t pool, char cursor[REDIS_REPLY_CURSOR],
                      QueueVisit *visit, void *ctx, bool *more, Err *err)
{
    KeysName inq = keys_inq(pool);
    Slice argv[5] = {slice_of_text(TEXT("HSCAN")), keys_slice(&inq), slice_of_text(text_of(cursor)),
                     slice_of_text(TEXT("COUNT")), slice_of_text(TEXT("500"))};
    redisReply *reply = NULL;
    if (!ask(queue, argv, 5, &reply, err))
        return false;
    const redisReply *pairs;
    if (!redis_reply_page(reply, cursor, &pairs))
        return unexpected(reply, err);
    *more = true;
    for (size_t i = 0; *more && i + 1 < pairs->elements; i += 2) {
        uint64_t job = 0, dispatch = 0;
        if (redis_reply_number(pairs->element[i], &job) &&
            redis_reply_number(pairs->element[i + 1], &dispatch))
            *more = visit(ctx, job, dispatch);
    }
    *more = *more && strcmp(cursor, "0") != 0;
    freeReplyObject(reply);
    return true;
}

bool queue_pushed(Queue *queue, uint32_t pool, QueueVisit *visit, void *ctx, Err *err)
{
    char cursor[REDIS_REPLY_CURSOR] = "0";
    bool more = true;
    for (unsigned page = 0; more && page < PAGES_MOST; page++)
        if (!go_to(queue, pool, err) || !scan_page(queue, pool, cursor, visit, ctx, &more, err))
            return false;
    return true;
}

bool queue_forget(Queue *queue, uint32_t pool, uint64_t job, uint64_t dispatch, Err *err)
{
    /* An ack of a ticket that nobody claimed: it forgets only the same dispatch. */
    Uuid nobody = {{0}};
    KeysName claimed = keys_claimed(pool, &nobody), inq = keys_inq(pool);
    char numbers[2][24];
    Slice argv[8] = {[2] = slice_of_text(TEXT("2")),
                     [3] = keys_slice(&claimed),
                     [4] = keys_slice(&inq),
                     [5] = slice_of_text(TEXT("-")),
                     [6] = count_slice(numbers[0], job),
                     [7] = count_slice(numbers[1], dispatch)};
    int64_t removed = 0;
    return go_to(queue, pool, err) && run(queue, SCRIPT_ACK, argv, 8, &removed, err);
}
