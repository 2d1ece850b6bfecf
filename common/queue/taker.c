/* SPDX-License-Identifier: Apache-2.0 */
#include "common/queue/taker.h"

#include "common/base/buf.h"
#include "common/base/mem.h"
#include "common/queue/keys.h"
#include "common/queue/queue_params.h"
#include "common/queue/redis_reply.h"
#include "common/queue/scripts.h"

#include <event2/event.h>
#include <inttypes.h>
#include <stdio.h>

static const int64_t LIVENESS_MS = 30000;
static const int64_t BLOCK_MS = 2000;
static const int64_t COMMAND_MS = 5000;
/* What a BLMOVE may take longer than Redis was told: a stopped server is noticed by it. */
static const int64_t BLOCK_GRACE_MS = 5000;
/* Tickets taken by one answer, besides the one that was waited for. */
enum { MORE_MOST = 32 };
/* After a refusal that only others can cure (ACL, scripts not loaded yet, memory), and a bounce. */
static const int64_t REST_MS = 1000;

typedef enum End { END_NONE, END_ACK, END_GIVEBACK, END_BOUNCE, END_DROP } End;

typedef struct Pool {
    Taker *taker;
    uint32_t number;
    Redis *redis;   /* for BLMOVE, which keeps what follows it waiting */
    Redis *command; /* for all else: the taker's, or in a cluster its own */
    struct event *rest;
    KeysName ready, claimed, inq, workers, alive;
    bool serving;    /* false: its tickets are somebody else's now */
    bool registered; /* on this connection: member of workers, alive, own list read */
    bool blocked;    /* a BLMOVE is under way, or a script that takes more */
    bool single;     /* this server knew no script that takes more; it is asked again later */
    bool resting;
    bool reread; /* the own list, before the next ticket is waited for */
} Pool;

struct TakerTicket {
    TakerTicket *next;
    Pool *pool;
    Buf raw; /* as it lies in the list: acks compare bytes */
    Ticket ticket;
    End end;
    bool sent; /* the end is under way */
    bool seen; /* while the own list is read */
};

struct Taker {
    TakerParams params;
    struct event_base *base;
    RedisParams redis; /* of every connection */
    char worker[UUID_TEXT];
    char liveness[24], block[24];
    Redis *command; /* NULL in a cluster, where each pool has one */
    struct event *refresh;
    struct event *retry;
    Pool pools[TAKER_POOLS_MOST];
    size_t pool_count;
    TakerTicket *first;
    unsigned wanted;
    TakerCounts counts;
};

static void take(Pool *pool);
static bool read_own_list(Pool *pool, RedisDone *done);
static void on_list_again(void *ctx, redisReply **reply, const Err *err);
static void say_alive(Pool *pool, Redis *redis);
static void send_end(TakerTicket *ticket);

static void set_timer(struct event *timer, int64_t ms)
{
    struct timeval when = {.tv_sec = (time_t)(ms / 1000),
                           .tv_usec = (suseconds_t)(ms % 1000 * 1000)};
    evtimer_add(timer, &when);
}

static void rest(Pool *pool)
{
    pool->resting = true;
    set_timer(pool->rest, REST_MS);
}

static void tell(Pool *pool, const Err *err)
{
    if (err != NULL && strcmp(err->cause, "queue.moved") == 0)
        return; /* the connection follows, and says what it finds */
    pool->taker->params.on_state(pool->taker->params.ctx, pool->number, err);
}

/* --- the ends of tickets -------------------------------------------------------------------- */

static void forget(Taker *taker, TakerTicket *ticket)
{
    TakerTicket **at = &taker->first;
    while (*at != ticket)
        at = &(*at)->next;
    *at = ticket->next;
    buf_free(&ticket->raw);
    mem_free(ticket);
}

static void on_ended(void *ctx, redisReply **reply, const Err *err)
{
    TakerTicket *ticket = ctx;
    Taker *taker = ticket->pool->taker;
    (void)reply;
    ticket->sent = false;
    if (err->code == ERR_NONE)
        forget(taker, ticket);
    else if (err->code != ERR_CANCELLED)
        set_timer(taker->retry, REST_MS);
}

static void send_script(TakerTicket *ticket, Script script, const KeysName *second, Slice first_arg,
                        Slice second_arg)
{
    Slice argv[8] = {slice_of_text(TEXT("EVALSHA")),
                     scripts_sha1(script),
                     slice_of_text(TEXT("2")),
                     keys_slice(&ticket->pool->claimed),
                     keys_slice(second),
                     buf_slice(&ticket->raw),
                     first_arg,
                     second_arg};
    Err err = {0};
    ticket->sent = redis_command(ticket->pool->command, argv, second_arg.len == 0 ? 7 : 8,
                                 COMMAND_MS, on_ended, ticket, &err);
}

/* Nothing is lost when the connection is not there: on_command_ready sends what is left. */
static void send_end(TakerTicket *ticket)
{
    Pool *pool = ticket->pool;
    char job[24], dispatch[24];
    Err err = {0};
    if (ticket->sent || ticket->end == END_NONE)
        return;
    if (ticket->end == END_ACK) {
        snprintf(job, sizeof job, "%" PRIu64, ticket->ticket.job);
        snprintf(dispatch, sizeof dispatch, "%" PRIu64, ticket->ticket.dispatch);
        send_script(ticket, SCRIPT_ACK, &pool->inq, slice_of_text(text_of(job)),
                    slice_of_text(text_of(dispatch)));
    } else if (ticket->end == END_DROP) {
        Slice argv[4] = {slice_of_text(TEXT("LREM")), keys_slice(&pool->claimed),
                         slice_of_text(TEXT("1")), buf_slice(&ticket->raw)};
        ticket->sent = redis_command(pool->command, argv, 4, COMMAND_MS, on_ended, ticket, &err);
    } else {
        Text side = ticket->end == END_BOUNCE ? TEXT("L") : TEXT("R");
        send_script(ticket, SCRIPT_GIVEBACK, &pool->ready, slice_of_text(side), (Slice){0});
    }
}

static void end_ticket(TakerTicket *ticket, End end, uint64_t *count)
{
    ticket->end = end;
    (*count)++;
    send_end(ticket);
}

void taker_ack(Taker *taker, TakerTicket *ticket)
{
    end_ticket(ticket, END_ACK, &taker->counts.acked);
}

void taker_giveback(Taker *taker, TakerTicket *ticket)
{
    end_ticket(ticket, END_GIVEBACK, &taker->counts.given_back);
}

void taker_bounce(Taker *taker, TakerTicket *ticket)
{
    rest(ticket->pool);
    end_ticket(ticket, END_BOUNCE, &taker->counts.bounced);
}

static void send_all(Taker *taker)
{
    for (TakerTicket *one = taker->first; one != NULL; one = one->next)
        send_end(one);
}

static void on_retry(evutil_socket_t fd, short what, void *ctx)
{
    (void)fd, (void)what;
    send_all(ctx);
}

/* --- taking --------------------------------------------------------------------------------- */

static void accept_element(Pool *pool, Slice element)
{
    Taker *taker = pool->taker;
    TakerTicket *ticket = mem_new(TakerTicket);
    ticket->pool = pool;
    ticket->seen = true;
    buf_add_slice(&ticket->raw, element);
    ticket->next = taker->first;
    taker->first = ticket;
    taker->counts.taken++;
    Err err = {0};
    if (!ticket_unpack(buf_slice(&ticket->raw), &ticket->ticket, &err)) {
        taker->params.on_dropped(taker->params.ctx, pool->number, element, &err);
        end_ticket(ticket, END_DROP, &taker->counts.dropped);
    } else if (taker->wanted == 0 || !pool->serving) {
        taker_giveback(taker, ticket);
    } else {
        taker->wanted--;
        taker->params.on_ticket(taker->params.ctx, ticket);
    }
}

/* Its answer is no news: what it could not take is waited for as before. */
static void on_more(void *ctx, redisReply **reply, const Err *err)
{
    Pool *pool = ctx;
    pool->blocked = false;
    if (err->code == ERR_CANCELLED)
        return;
    pool->single = err->code != ERR_NONE || (*reply)->type != REDIS_REPLY_ARRAY;
    for (size_t i = 0; !pool->single && i < (*reply)->elements; i++)
        accept_element(pool, redis_reply_bytes((*reply)->element[i]));
    take(pool);
}

/* Where one ticket lay there are often more, and each that is waited for alone costs a way to Redis
 * and back. False: nothing was asked. */
static bool take_more(Pool *pool)
{
    char most[24];
    unsigned wanted = pool->taker->wanted;
    Err err = {0};
    if (wanted == 0 || pool->single || !pool->serving || pool->resting)
        return false;
    snprintf(most, sizeof most, "%u", wanted < MORE_MOST ? wanted : (unsigned)MORE_MOST);
    Slice argv[6] = {slice_of_text(TEXT("EVALSHA")), scripts_sha1(SCRIPT_TAKE),
                     slice_of_text(TEXT("2")),       keys_slice(&pool->ready),
                     keys_slice(&pool->claimed),     slice_of_text(text_of(most))};
    pool->blocked = redis_command(pool->redis, argv, 6, COMMAND_MS, on_more, pool, &err);
    return pool->blocked;
}

static void on_taken(void *ctx, redisReply **reply, const Err *err)
{
    Pool *pool = ctx;
    pool->blocked = false;
    if (err->code == ERR_CANCELLED)
        return;
    if (err->code != ERR_NONE) {
        tell(pool, err);
        rest(pool);
        return;
    }
    if ((*reply)->type == REDIS_REPLY_STRING) {
        accept_element(pool, redis_reply_bytes(*reply));
        /* Who holds something can be found: a server that was emptied meanwhile has forgotten us,
         * and a claimed list that no set names is nobody's orphan. */
        say_alive(pool, pool->redis);
        if (take_more(pool))
            return;
    }
    take(pool);
}

static void take(Pool *pool)
{
    if (!pool->serving || !pool->registered || pool->blocked || pool->resting ||
        pool->taker->wanted == 0)
        return;
    if (pool->reread) {
        pool->reread = false;
        pool->blocked = read_own_list(pool, on_list_again);
        return;
    }
    Slice argv[6] = {slice_of_text(TEXT("BLMOVE")), keys_slice(&pool->ready),
                     keys_slice(&pool->claimed),    slice_of_text(TEXT("RIGHT")),
                     slice_of_text(TEXT("LEFT")),   slice_of_text(text_of(pool->taker->block))};
    int64_t block_ms = pool->taker->params.block_ms;
    Err err = {0};
    pool->blocked =
        redis_command(pool->redis, argv, 6, block_ms + BLOCK_GRACE_MS, on_taken, pool, &err);
}

static bool read_own_list(Pool *pool, RedisDone *done)
{
    Slice argv[4] = {slice_of_text(TEXT("LRANGE")), keys_slice(&pool->claimed),
                     slice_of_text(TEXT("0")), slice_of_text(TEXT("-1"))};
    Err err = {0};
    return redis_command(pool->redis, argv, 4, COMMAND_MS, done, pool, &err);
}

/* The own list as Redis has it: what we know stays ours, the rest was taken by a BLMOVE whose
 * answer was lost. */
static void recover(Pool *pool, const redisReply *list)
{
    for (TakerTicket *one = pool->taker->first; one != NULL; one = one->next)
        one->seen = false;
    for (size_t i = 0; i < list->elements; i++) {
        Slice element = redis_reply_bytes(list->element[i]);
        TakerTicket *one = pool->taker->first;
        while (one != NULL &&
               (one->seen || one->pool != pool || !slice_equal(buf_slice(&one->raw), element)))
            one = one->next;
        if (one != NULL)
            one->seen = true;
        else
            accept_element(pool, element);
    }
}

/* The BLMOVE of a connection that was given up may reach the server behind the reading of the own
 * list, and nobody hears its answer: so the list is read again from time to time. What was ended
 * meanwhile may come once more by that; its claim is refused. */
static void on_list_again(void *ctx, redisReply **reply, const Err *err)
{
    Pool *pool = ctx;
    pool->blocked = false;
    if (err->code == ERR_CANCELLED)
        return;
    if (err->code == ERR_NONE && (*reply)->type == REDIS_REPLY_ARRAY)
        recover(pool, *reply);
    take(pool);
}

static void on_own_list(void *ctx, redisReply **reply, const Err *err)
{
    Pool *pool = ctx;
    if (err->code == ERR_CANCELLED)
        return;
    if (err->code != ERR_NONE) {
        tell(pool, err);
        rest(pool);
        return;
    }
    tell(pool, NULL);
    pool->registered = true;
    if ((*reply)->type == REDIS_REPLY_ARRAY)
        recover(pool, *reply);
    take(pool);
}

/* A refusal here is one of the own list too, which follows on the same connection. */
static void on_nothing(void *ctx, redisReply **reply, const Err *err)
{
    (void)ctx, (void)reply, (void)err;
}

static void say_alive(Pool *pool, Redis *redis)
{
    Taker *taker = pool->taker;
    Slice worker = slice_of_text(text_of(taker->worker));
    Slice member[3] = {slice_of_text(TEXT("SADD")), keys_slice(&pool->workers), worker};
    Slice alive[5] = {slice_of_text(TEXT("SET")), keys_slice(&pool->alive),
                      slice_of_text(TEXT("1")), slice_of_text(TEXT("PX")),
                      slice_of_text(text_of(taker->liveness))};
    Err err = {0};
    /* Alive before member: who is found in the set and is not alive is given up for dead. */
    if (redis_command(redis, alive, 5, COMMAND_MS, on_nothing, pool, &err))
        (void)!redis_command(redis, member, 3, COMMAND_MS, on_nothing, pool, &err);
}

static void register_pool(Pool *pool)
{
    say_alive(pool, pool->redis);
    (void)!read_own_list(pool, on_own_list);
}

static void on_rested(evutil_socket_t fd, short what, void *ctx)
{
    Pool *pool = ctx;
    (void)fd, (void)what;
    pool->resting = false;
    if (pool->registered)
        take(pool);
    else if (redis_ready(pool->redis))
        register_pool(pool);
}

static void on_pool_ready(void *ctx)
{
    Pool *pool = ctx;
    evtimer_del(pool->rest);
    pool->resting = false;
    register_pool(pool);
}

static void on_pool_lost(void *ctx, const Err *err)
{
    Pool *pool = ctx;
    pool->registered = false;
    pool->single = false;
    tell(pool, err);
}

static void on_refresh(evutil_socket_t fd, short what, void *ctx)
{
    Taker *taker = ctx;
    (void)fd, (void)what;
    for (size_t i = 0; i < taker->pool_count; i++) {
        taker->pools[i].single = false;
        taker->pools[i].reread = true;
        say_alive(&taker->pools[i], taker->pools[i].command);
    }
    set_timer(taker->refresh, taker->params.liveness_ms / 3);
}

static void on_command_ready(void *ctx)
{
    Taker *taker = ctx;
    on_refresh(-1, 0, taker);
    send_all(taker);
}

/* --- opening and closing -------------------------------------------------------------------- */

static bool open_command(Taker *taker, Redis **out, Err *err)
{
    RedisParams redis = taker->redis;
    redis.ctx = taker;
    redis.on_ready = on_command_ready;
    return redis_open(out, taker->base, &redis, err);
}

static bool open_pool(Taker *taker, Pool *pool, uint32_t number, Err *err)
{
    const Uuid *worker = &taker->params.worker;
    *pool = (Pool){.taker = taker,
                   .number = number,
                   .serving = true,
                   .ready = keys_ready(number),
                   .claimed = keys_claimed(number, worker),
                   .inq = keys_inq(number),
                   .workers = keys_workers(number),
                   .alive = keys_alive(number, worker)};
    RedisParams redis = taker->redis;
    redis.ctx = pool;
    redis.on_ready = on_pool_ready;
    redis.on_lost = on_pool_lost;
    pool->rest = evtimer_new(taker->base, on_rested, pool);
    pool->command = taker->command;
    return (pool->command != NULL || open_command(taker, &pool->command, err)) &&
           redis_open(&pool->redis, taker->base, &redis, err);
}

/* The pool of that number, serving; a new one when there is none. */
static bool serve(Taker *taker, uint32_t number, Err *err)
{
    for (size_t i = 0; i < taker->pool_count; i++)
        if (taker->pools[i].number == number) {
            taker->pools[i].serving = true;
            take(&taker->pools[i]);
            return true;
        }
    if (taker->pool_count == TAKER_POOLS_MOST)
        return err_set(err, ERR_INVALID, "queue.pools", "a worker serves at most %d pools",
                       (int)TAKER_POOLS_MOST);
    return open_pool(taker, &taker->pools[taker->pool_count++], number, err);
}

bool taker_serve(Taker *taker, const uint32_t *pools, size_t count, Err *err)
{
    for (size_t i = 0; i < taker->pool_count; i++)
        taker->pools[i].serving = false;
    for (size_t i = 0; i < count; i++)
        if (!serve(taker, pools[i], err))
            return false;
    return true;
}

bool taker_open(Taker **out, struct event_base *base, const TakerParams *params, Err *err)
{
    Taker *taker = mem_new(Taker);
    taker->params = *params;
    taker->base = base;
    if (taker->params.liveness_ms <= 0)
        taker->params.liveness_ms = LIVENESS_MS;
    if (taker->params.block_ms <= 0)
        taker->params.block_ms = BLOCK_MS;
    uuid_text(&params->worker, taker->worker);
    snprintf(taker->liveness, sizeof taker->liveness, "%" PRId64, taker->params.liveness_ms);
    snprintf(taker->block, sizeof taker->block, "%.3f", (double)taker->params.block_ms / 1000);
    taker->refresh = evtimer_new(base, on_refresh, taker);
    taker->retry = evtimer_new(base, on_retry, taker);
    bool ok = queue_params_redis(&params->queue, &taker->redis, err) &&
              (taker->redis.address.cluster || open_command(taker, &taker->command, err)) &&
              taker_serve(taker, params->pools, params->pool_count, err);
    if (ok)
        *out = taker;
    else
        taker_close(taker);
    return ok;
}

void taker_want(Taker *taker, unsigned count)
{
    taker->wanted = count;
    for (size_t i = 0; i < taker->pool_count; i++)
        take(&taker->pools[i]);
}

unsigned taker_wanted(const Taker *taker)
{
    return taker->wanted;
}

const Ticket *taker_ticket(const TakerTicket *ticket)
{
    return &ticket->ticket;
}

uint32_t taker_pool(const TakerTicket *ticket)
{
    return ticket->pool->number;
}

size_t taker_unconfirmed(const Taker *taker)
{
    size_t count = 0;
    for (const TakerTicket *one = taker->first; one != NULL; one = one->next)
        count += one->end != END_NONE;
    return count;
}

TakerCounts taker_counts(const Taker *taker)
{
    return taker->counts;
}

void taker_close(Taker *taker)
{
    if (taker == NULL)
        return;
    for (size_t i = 0; i < taker->pool_count; i++) {
        redis_close(taker->pools[i].redis);
        if (taker->pools[i].command != taker->command)
            redis_close(taker->pools[i].command);
        if (taker->pools[i].rest != NULL)
            event_free(taker->pools[i].rest);
    }
    redis_close(taker->command);
    if (taker->refresh != NULL)
        event_free(taker->refresh);
    if (taker->retry != NULL)
        event_free(taker->retry);
    while (taker->first != NULL)
        forget(taker, taker->first);
    redis_address_free(&taker->redis.address);
    mem_free(taker);
}
