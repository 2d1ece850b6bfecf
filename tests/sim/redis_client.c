/* SPDX-License-Identifier: Apache-2.0
 * redis_client.c — common/queue/redis.h over a simulated network: the promises of redis.c (replies
 * in order, a deadline for each command, a late one ends the connection, which is opened again
 * after 50 ms doubling to 2 s) without its bytes. */
#include "common/queue/redis.h"

#include "common/base/mem.h"
#include "common/base/rand.h"
#include "common/queue/redis_reply.h"
#include "tests/sim/events.h"
#include "tests/sim/net.h"
#include "tests/sim/redis_client.h"
#include "tests/sim/redis_server.h"

static const int64_t BACKOFF_FIRST = 50 * VM_MS;
static const int64_t BACKOFF_MOST = 2 * VM_S;

typedef struct Packet {
    struct Packet *next;
    int64_t at;
    Slice *argv; /* towards the server */
    size_t argc;
    redisReply *reply; /* back */
} Packet;

typedef struct Queued {
    Packet *first, **end;
    int64_t last; /* instant of the newest: order is kept */
} Queued;

/* Both ends of one connection, and what is under way. It outlives its client. */
typedef struct Connection {
    struct Connection *next; /* of all */
    Redis *client;           /* NULL: closed, or its process is dead */
    Process *process;
    uint64_t incarnation;
    Queued to, from;
} Connection;

typedef struct Pending {
    struct Pending *next;
    RedisDone *done;
    void *ctx;
    int64_t deadline;
} Pending;

struct Redis {
    struct event_base *base;
    RedisParams params;
    Process *process;
    Connection *connection; /* NULL: waiting */
    bool ready, closed;
    Pending *first, **end;
    int64_t backoff;
    Err trouble;
    uint64_t era;          /* of connecting: what is meant for an older one is stale */
    int64_t watched_until; /* when the deadlines are looked at next */
};

static Connection *connections;

static void try_to_connect(void *ctx);
static void fail_pending(Redis *redis, const Err *err);

static Link *link_of(const Connection *connection)
{
    return &net_host(connection->process)->redis;
}

static void append(Queued *queue, Packet *packet, int64_t delay)
{
    packet->at = vm_now() + delay > queue->last ? vm_now() + delay : queue->last;
    queue->last = packet->at;
    *queue->end = packet;
    queue->end = &packet->next;
}

static Packet *take(Queued *queue)
{
    Packet *packet = queue->first;
    queue->first = packet->next;
    if (queue->first == NULL)
        queue->end = &queue->first;
    return packet;
}

/* --- the client's end ------------------------------------------------------------------------ */

/* A server beyond a cut link does not hear of it: what a BLMOVE still gets there is taken by the
 * dead until its time is over. */
static void hang_up(Connection *connection)
{
    connection->client = NULL;
    if (!link_of(connection)->cut_to)
        redis_server_leave(connection);
}

static void lose(Redis *redis, const Err *why)
{
    if (redis->closed || redis->connection == NULL)
        return;
    Err err = *why;
    hang_up(redis->connection);
    redis->connection = NULL;
    redis->ready = false;
    redis->era++;
    redis->trouble = err;
    fail_pending(redis, &err);
    if (redis->closed)
        return;
    int64_t wait = (int64_t)((double)redis->backoff * (0.5 + 0.5 * rand_unit()));
    redis->backoff = redis->backoff * 2 > BACKOFF_MOST ? BACKOFF_MOST : redis->backoff * 2;
    events_post(redis->base, vm_now() + wait, try_to_connect, redis);
    if (redis->params.on_lost != NULL)
        redis->params.on_lost(redis->params.ctx, &err);
}

static void fail_pending(Redis *redis, const Err *err)
{
    Pending *list = redis->first;
    redis->first = NULL;
    redis->end = &redis->first;
    while (list != NULL) {
        Pending *one = list;
        redisReply *none = NULL;
        list = one->next;
        one->done(one->ctx, &none, err);
        mem_free(one);
    }
}

static void broken(Redis *redis)
{
    Err err = {0};
    err_set(&err, ERR_UNREACHABLE, "queue.unreachable", "Redis closed the connection");
    lose(redis, &err);
}

/* Connections are broken one by one, as their clients notice. */
typedef struct Notice {
    Redis *redis;
    uint64_t era;
} Notice;

static void on_broken(void *ctx)
{
    Notice *notice = ctx;
    Redis *redis = notice->redis;
    if (!redis->closed && redis->era == notice->era)
        broken(redis);
    mem_free(notice);
}

static void notice_at(Redis *redis, int64_t when, VmCall *call);

/* One watch at a time, for the earliest deadline. */
static void on_deadline(void *ctx)
{
    Notice *notice = ctx;
    Redis *redis = notice->redis;
    bool current = !redis->closed && redis->era == notice->era;
    mem_free(notice);
    if (!current)
        return;
    int64_t earliest = VM_NEVER;
    for (const Pending *one = redis->first; one != NULL; one = one->next)
        if (one->deadline < earliest)
            earliest = one->deadline;
    redis->watched_until = earliest;
    if (earliest <= vm_now()) {
        Err err = {0};
        err_set(&err, ERR_TIMEOUT, "queue.timeout", "Redis did not answer in time");
        lose(redis, &err);
    } else if (earliest != VM_NEVER) {
        notice_at(redis, earliest, on_deadline);
    }
}

static void notice_at(Redis *redis, int64_t when, VmCall *call)
{
    Notice *notice = mem_new(Notice);
    *notice = (Notice){redis, redis->era};
    events_post(redis->base, when, call, notice);
}

static bool must_reconnect(const Err *err)
{
    return strcmp(err->cause, "queue.readonly") == 0 || strcmp(err->cause, "queue.loading") == 0;
}

/* One reply, in the loop of the client. */
static void on_reply(void *ctx)
{
    Connection *connection = ctx;
    Packet *packet = take(&connection->from);
    redisReply *reply = packet->reply;
    Redis *redis = connection->client;
    mem_free(packet);
    if (redis == NULL || redis->first == NULL) {
        freeReplyObject(reply);
        return;
    }
    Pending *one = redis->first;
    Err err = {0};
    redis->first = one->next;
    if (redis->first == NULL)
        redis->end = &redis->first;
    if (reply->type == REDIS_REPLY_ERROR) {
        (void)redis_reply_err(reply, &err);
        freeReplyObject(reply);
        reply = NULL;
    }
    one->done(one->ctx, &reply, &err);
    mem_free(one);
    if (reply != NULL)
        freeReplyObject(reply);
    if (must_reconnect(&err) && connection->client == redis)
        lose(redis, &err);
}

/* --- the network ----------------------------------------------------------------------------- */

/* The first reply under way reaches the client's host. A cut link holds it. */
static void arrive(void *ctx)
{
    Connection *connection = ctx;
    if (connection->client == NULL || !vm_alive(connection->process))
        return;
    if (link_of(connection)->cut_from)
        vm_at(vm_now() + 50 * VM_MS, arrive, connection);
    else
        events_post(connection->client->base, vm_now(), on_reply, connection);
}

static void send_reply(void *ctx, redisReply *reply)
{
    Connection *connection = ctx;
    Packet *packet = mem_new(Packet);
    packet->reply = reply;
    append(&connection->from, packet, net_delay(link_of(connection)));
    vm_at(packet->at, arrive, connection);
}

static void free_request(Packet *packet)
{
    for (size_t i = 0; i < packet->argc; i++)
        mem_free((void *)(uintptr_t)packet->argv[i].at);
    mem_free(packet->argv);
    mem_free(packet);
}

/* A request reaches the server, whether its sender still lives or not. */
static void serve(void *ctx)
{
    Connection *connection = ctx;
    const Link *link = link_of(connection);
    if (link->cut_to) {
        vm_at(vm_now() + 50 * VM_MS, serve, connection);
        return;
    }
    Packet *packet = take(&connection->to);
    bool gone = !redis_server_is_up() || connection->incarnation != redis_server_incarnation();
    bool reset = vm_chance(link->drops);
    bool lost_answer = vm_chance(link->drops);
    if (!gone && !reset) {
        redisReply *reply = redis_server_run(packet->argv, packet->argc, connection, send_reply);
        if (reply != NULL && !lost_answer)
            send_reply(connection, reply);
        else if (reply != NULL)
            freeReplyObject(reply);
    }
    /* One that waits in BLMOVE on behalf of the dead must not take what the living could. */
    if (!vm_alive(connection->process) || connection->client == NULL)
        redis_server_leave(connection);
    if ((gone || reset || lost_answer) && connection->client != NULL &&
        vm_alive(connection->process))
        notice_at(connection->client, vm_now() + net_delay(link), on_broken);
    free_request(packet);
}

/* --- redis.h --------------------------------------------------------------------------------- */

static void connected(void *ctx)
{
    Notice *notice = ctx;
    Redis *redis = notice->redis;
    bool stale = redis->closed || redis->era != notice->era;
    mem_free(notice);
    if (stale)
        return;
    if (!redis_server_is_up() || redis->connection->incarnation != redis_server_incarnation()) {
        broken(redis);
        return;
    }
    redis->ready = true;
    redis->watched_until = VM_NEVER;
    redis->backoff = BACKOFF_FIRST;
    redis->trouble = (Err){0};
    if (redis->params.on_ready != NULL)
        redis->params.on_ready(redis->params.ctx);
}

static void try_to_connect(void *ctx)
{
    Redis *redis = ctx;
    const Link *link = &net_host(redis->process)->redis;
    if (redis->closed || redis->connection != NULL)
        return;
    Connection *connection = mem_new(Connection);
    *connection = (Connection){.client = redis,
                               .process = redis->process,
                               .incarnation = redis_server_incarnation(),
                               .next = connections};
    connections = connection;
    connection->to.end = &connection->to.first;
    connection->from.end = &connection->from.first;
    redis->connection = connection;
    if (link->cut_to || link->cut_from)
        notice_at(redis, vm_now() + 5 * VM_S, on_broken);
    else
        notice_at(redis, vm_now() + 2 * net_delay(link), connected);
}

bool redis_open(Redis **out, struct event_base *base, const RedisParams *params, Err *err)
{
    (void)err;
    Redis *redis = mem_new(Redis);
    *redis = (Redis){
        .base = base, .params = *params, .process = vm_current_process(), .backoff = BACKOFF_FIRST};
    redis->end = &redis->first;
    err_set(&redis->trouble, ERR_UNREACHABLE, "queue.unreachable", "not connected to Redis yet");
    events_post(base, vm_now(), try_to_connect, redis);
    *out = redis;
    return true;
}

bool redis_ready(const Redis *redis)
{
    return redis->ready && !redis->closed;
}

static void dead_server(Redis *redis)
{
    if (redis->connection->incarnation != redis_server_incarnation())
        notice_at(redis, vm_now() + VM_MS, on_broken);
}

bool redis_command(Redis *redis, const Slice *argv, size_t argc, int64_t timeout_ms,
                   RedisDone *done, void *ctx, Err *err)
{
    if (!redis_ready(redis)) {
        *err = redis->trouble;
        return err->code != ERR_NONE
                   ? false
                   : err_set(err, ERR_UNREACHABLE, "queue.unreachable", "not connected to Redis");
    }
    Packet *packet = mem_new(Packet);
    packet->argv = mem_array(Slice, argc);
    packet->argc = argc;
    for (size_t i = 0; i < argc; i++)
        packet->argv[i] = (Slice){(uint8_t *)mem_text(text_of_slice(argv[i])), argv[i].len};
    append(&redis->connection->to, packet, net_delay(link_of(redis->connection)));
    vm_at(packet->at, serve, redis->connection);
    Pending *one = mem_new(Pending);
    *one = (Pending){.done = done, .ctx = ctx, .deadline = vm_now() + timeout_ms * VM_MS};
    *redis->end = one;
    redis->end = &one->next;
    if (one->deadline < redis->watched_until) {
        redis->watched_until = one->deadline;
        notice_at(redis, one->deadline, on_deadline);
    }
    dead_server(redis);
    return true;
}

void redis_reconnect(Redis *redis)
{
    broken(redis);
}

/* The struct stays: notices under way may still name it. */
void redis_close(Redis *redis)
{
    if (redis == NULL || redis->closed)
        return;
    Err err = {0};
    err_set(&err, ERR_CANCELLED, "queue.closed", "the connection to Redis was closed");
    redis->closed = true;
    redis->ready = false;
    if (redis->connection != NULL)
        hang_up(redis->connection);
    fail_pending(redis, &err);
}

/* --- what the world does to connections ------------------------------------------------------ */

void redis_client_begin(void)
{
    while (connections != NULL) {
        Connection *one = connections;
        connections = one->next;
        mem_free(one);
    }
}

void redis_client_killed(const Process *process)
{
    for (Connection *one = connections; one != NULL; one = one->next)
        if (one->process == process && one->client != NULL)
            hang_up(one);
}

void redis_client_server_gone(void)
{
    for (Connection *one = connections; one != NULL; one = one->next)
        if (one->client != NULL && vm_alive(one->process) && !link_of(one)->cut_from &&
            one->incarnation != redis_server_incarnation())
            notice_at(one->client, vm_now() + net_delay(link_of(one)), on_broken);
}
