/* SPDX-License-Identifier: Apache-2.0
 * The worker's side of the queue against a real server. */
#include "common/queue/taker.h"

#include "common/base/clock.h"
#include "common/base/rand.h"
#include "tests/harness/redis.h"

#include <event2/event.h>
#include <hiredis/hiredis.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

enum { KEEP = 64 };

typedef struct Fixture {
    RedisServer *server;
    struct event_base *base;
    Taker *taker;
    Uuid worker;
    char name[UUID_TEXT];
    TakerTicket *tickets[KEEP];
    size_t ticket_count;
    size_t dropped, lost, reached;
    int64_t liveness_ms; /* 0: short */
} Fixture;

static void on_ticket(void *ctx, TakerTicket *ticket)
{
    Fixture *f = ctx;
    assert_true(f->ticket_count < KEEP);
    f->tickets[f->ticket_count++] = ticket;
}

static void on_dropped(void *ctx, uint32_t pool, Slice element, const Err *err)
{
    Fixture *f = ctx;
    (void)pool, (void)element;
    assert_int_not_equal(err->code, ERR_NONE);
    f->dropped++;
}

static void on_state(void *ctx, uint32_t pool, const Err *err)
{
    Fixture *f = ctx;
    (void)pool;
    f->lost += err != NULL;
    f->reached += err == NULL;
}

static void open_taker_as(Fixture *f, const char *url, Text password, const uint32_t *pools,
                          size_t count)
{
    Err err = {0};
    TakerParams params = {.queue = {.url = text_of(url), .password = slice_of_text(password)},
                          .worker = f->worker,
                          .pools = pools,
                          .pool_count = count,
                          .liveness_ms = f->liveness_ms == 0 ? 600 : f->liveness_ms,
                          .block_ms = 200,
                          .ctx = f,
                          .on_ticket = on_ticket,
                          .on_dropped = on_dropped,
                          .on_state = on_state};
    if (!taker_open(&f->taker, f->base, &params, &err))
        fail_msg("%s", err.text);
}

static void open_taker(Fixture *f, const uint32_t *pools, size_t count)
{
    open_taker_as(f, redis_server_url(f->server), (Text){0}, pools, count);
}

static int begin(void **state)
{
    static Fixture f;
    static const uint32_t pool = 7;
    f = (Fixture){.server = redis_server_start(NULL), .worker = rand_uuid()};
    f.base = event_base_new();
    uuid_text(&f.worker, f.name);
    open_taker(&f, &pool, 1);
    *state = &f;
    return 0;
}

static int finish(void **state)
{
    Fixture *f = *state;
    taker_close(f->taker);
    event_base_free(f->base);
    redis_server_stop(f->server);
    return 0;
}

static void spin(Fixture *f, int64_t ms)
{
    struct timeval when = {.tv_sec = ms / 1000, .tv_usec = ms % 1000 * 1000};
    event_base_loopexit(f->base, &when);
    event_base_dispatch(f->base);
}

#define UNTIL(f, condition)                                                                        \
    do {                                                                                           \
        for (int tries = 0; !(condition); tries++) {                                               \
            if (tries == 500)                                                                      \
                fail_msg("never: %s", #condition);                                                 \
            spin(f, 10);                                                                           \
        }                                                                                          \
    } while (0)

static long long plain(Fixture *f, int argc, const char **argv, const size_t *lens)
{
    redisContext *context = redisConnect("127.0.0.1", redis_server_port(f->server));
    redisReply *reply = redisCommandArgv(context, argc, argv, lens);
    long long out = reply != NULL && reply->type == REDIS_REPLY_INTEGER ? reply->integer : -1;
    if (reply != NULL)
        freeReplyObject(reply);
    redisFree(context);
    return out;
}

/* How often the server was asked for a command, by INFO. */
static long calls(Fixture *f, const char *name)
{
    redisContext *context = redisConnect("127.0.0.1", redis_server_port(f->server));
    redisReply *reply = redisCommand(context, "INFO commandstats");
    const char *at = reply == NULL ? NULL : strstr(reply->str, name);
    long out = at == NULL ? 0 : strtol(at + strlen(name), NULL, 10);
    if (reply != NULL)
        freeReplyObject(reply);
    redisFree(context);
    return out;
}

static long long list_length(Fixture *f, const char *key)
{
    const char *argv[] = {"LLEN", key};
    return plain(f, 2, argv, NULL);
}

static long long claimed(Fixture *f)
{
    char key[80];
    snprintf(key, sizeof key, "hf:{p7}:claimed:%s", f->name);
    return list_length(f, key);
}

static void push_raw(Fixture *f, const char *key, const void *at, size_t len)
{
    const char *argv[] = {"LPUSH", key, at};
    size_t lens[] = {5, strlen(key), len};
    plain(f, 3, argv, lens);
}

/* As a scheduler does it, scripts loaded on the way. */
static void push(Fixture *f, uint32_t pool, const Ticket *tickets, size_t count)
{
    Err err = {0};
    Queue *queue = NULL;
    QueueParams params = {.url = text_of(redis_server_url(f->server))};
    QueueStatus status;
    Uuid generation = {{1}};
    bool present = false, lost = false;
    size_t pushed = 0;
    bool ok = queue_open(&queue, &params, &err) && queue_check(queue, &status, &err) &&
              queue_generation(queue, pool, &generation, &present, &err) &&
              (present || queue_generation_begin(queue, pool, &generation, &err)) &&
              queue_push(queue, pool, &generation, false, tickets, count, &pushed, &lost, &err);
    if (!ok)
        fail_msg("%s", err.text);
    assert_int_equal(pushed, count);
    queue_close(queue);
}

static void a_ticket_is_taken_held_and_acknowledged(void **state)
{
    Fixture *f = *state;
    Ticket ticket = {42, 3, "backup"};
    push(f, 7, &ticket, 1);
    spin(f, 300);
    assert_int_equal(f->ticket_count, 0); /* nobody wants one */
    taker_want(f->taker, 2);
    UNTIL(f, f->ticket_count == 1);
    assert_int_equal(taker_ticket(f->tickets[0])->job, 42);
    assert_int_equal(taker_ticket(f->tickets[0])->dispatch, 3);
    assert_string_equal(taker_ticket(f->tickets[0])->kind, "backup");
    assert_int_equal(taker_pool(f->tickets[0]), 7);
    assert_int_equal(taker_wanted(f->taker), 1);
    assert_int_equal(claimed(f), 1);
    taker_ack(f->taker, f->tickets[0]);
    UNTIL(f, taker_unconfirmed(f->taker) == 0);
    assert_int_equal(claimed(f), 0);
    const char *argv[] = {"HEXISTS", "hf:{p7}:inq", "42"};
    assert_int_equal(plain(f, 3, argv, NULL), 0);
}

static void garbage_is_dropped_and_counted_and_stops_nothing(void **state)
{
    Fixture *f = *state;
    static const struct {
        const char *at;
        size_t len;
    } garbage[] = {
        {"", 0},
        {"12:3", 4},
        {"\0\r\n$5", 5},
        {"\xdd\xff\xff\xff\xff", 5},
        {"\x81\xa1v\x01", 4},
        {"\x84\xa1v\x02\xa3job\x01\xa8"
         "dispatch\x01\xa4kind\xa1x",
         26},
    };
    Ticket ticket = {42, 3, "backup"};
    push(f, 7, &ticket, 1); /* first: a generation that begins clears the list */
    for (size_t i = 0; i < sizeof garbage / sizeof garbage[0]; i++)
        push_raw(f, "hf:{p7}:ready", garbage[i].at, garbage[i].len);
    taker_want(f->taker, 4);
    UNTIL(f, f->ticket_count == 1 && f->dropped == 6);
    assert_int_equal(taker_counts(f->taker).dropped, 6);
    UNTIL(f, taker_unconfirmed(f->taker) == 0);
    assert_int_equal(claimed(f), 1);
    assert_int_equal(list_length(f, "hf:{p7}:ready"), 0);
}

/* One is waited for, the others come with one answer, in the order in which they lay; without the
 * script for it each is waited for. */
static void what_lies_together_is_taken_together(void **state)
{
    Fixture *f = *state;
    Ticket tickets[20];
    for (uint64_t i = 0; i < 20; i++)
        tickets[i] = (Ticket){i + 1, 1, "backup"};
    push(f, 7, tickets, 20);
    taker_want(f->taker, 8);
    UNTIL(f, f->ticket_count == 8);
    assert_int_equal(claimed(f), 8);
    assert_int_equal(list_length(f, "hf:{p7}:ready"), 12);
    assert_int_equal(calls(f, "cmdstat_blmove:calls="), 1);
    const char *flush[] = {"SCRIPT", "FLUSH"};
    plain(f, 2, flush, NULL);
    taker_want(f->taker, 8);
    UNTIL(f, f->ticket_count == 16);
    assert_int_equal(calls(f, "cmdstat_blmove:calls="), 9);
    for (size_t i = 0; i < 16; i++)
        assert_int_equal(taker_ticket(f->tickets[i])->job, i + 1);
    spin(f, 50);
    assert_int_equal(claimed(f), 16);
}

static void what_was_taken_and_not_answered_is_found_on_connecting(void **state)
{
    Fixture *f = *state;
    TicketBytes bytes;
    Ticket ticket = {42, 3, "backup"};
    char key[80];
    ticket_pack(&ticket, &bytes);
    snprintf(key, sizeof key, "hf:{p7}:claimed:%s", f->name);
    push_raw(f, key, bytes.at, bytes.len);
    taker_want(f->taker, 1);
    UNTIL(f, f->ticket_count == 1);
    assert_int_equal(taker_ticket(f->tickets[0])->job, 42);
    /* Connecting again does not deliver it twice. */
    const char *argv[] = {"CLIENT", "KILL", "TYPE", "normal"};
    size_t before = f->reached;
    plain(f, 4, argv, NULL);
    UNTIL(f, f->reached > before);
    spin(f, 100);
    assert_int_equal(f->ticket_count, 1);
}

/* As when the server hears the BLMOVE of a connection that was given up behind the reading of the
 * list on the next one. */
static void what_a_lost_connection_took_late_is_found_while_connected(void **state)
{
    Fixture *f = *state;
    TicketBytes bytes;
    Ticket ticket = {43, 1, "backup"};
    char key[80];
    push(f, 7, &(Ticket){42, 1, "backup"}, 1);
    taker_want(f->taker, 3);
    UNTIL(f, f->ticket_count == 1);
    ticket_pack(&ticket, &bytes);
    snprintf(key, sizeof key, "hf:{p7}:claimed:%s", f->name);
    push_raw(f, key, bytes.at, bytes.len);
    UNTIL(f, f->ticket_count == 2);
    assert_int_equal(taker_ticket(f->tickets[1])->job, 43);
    spin(f, 1500); /* read several times meanwhile: both are known now */
    assert_int_equal(f->ticket_count, 2);
    taker_ack(f->taker, f->tickets[0]);
    taker_ack(f->taker, f->tickets[1]);
    UNTIL(f, claimed(f) == 0);
    assert_int_equal(f->reached, 1);
}

static void a_ticket_given_back_is_the_next_and_a_bounced_one_the_last(void **state)
{
    Fixture *f = *state;
    Ticket tickets[] = {{1, 1, "backup"}, {2, 1, "backup"}};
    push(f, 7, tickets, 2);
    taker_want(f->taker, 1);
    UNTIL(f, f->ticket_count == 1);
    assert_int_equal(taker_ticket(f->tickets[0])->job, 1);
    taker_giveback(f->taker, f->tickets[0]);
    UNTIL(f, taker_unconfirmed(f->taker) == 0);
    taker_want(f->taker, 1);
    UNTIL(f, f->ticket_count == 2);
    assert_int_equal(taker_ticket(f->tickets[1])->job, 1);
    int64_t before = clock_mono_ns();
    taker_bounce(f->taker, f->tickets[1]);
    taker_want(f->taker, 1);
    UNTIL(f, f->ticket_count == 3);
    assert_int_equal(taker_ticket(f->tickets[2])->job, 2);
    assert_true(clock_mono_ns() - before > 900000000); /* at most one bounce a second */
}

static void what_arrives_unwanted_is_given_back(void **state)
{
    Fixture *f = *state;
    taker_want(f->taker, 1);
    UNTIL(f, f->reached == 1);
    spin(f, 50); /* a BLMOVE waits */
    taker_want(f->taker, 0);
    Ticket ticket = {42, 3, "backup"};
    push(f, 7, &ticket, 1);
    spin(f, 300);
    assert_int_equal(f->ticket_count, 0);
    assert_int_equal(list_length(f, "hf:{p7}:ready"), 1);
    assert_int_equal(claimed(f), 0);
}

static void an_ack_waits_for_redis_and_for_its_scripts(void **state)
{
    Fixture *f = *state;
    Ticket ticket = {42, 3, "backup"};
    push(f, 7, &ticket, 1);
    taker_want(f->taker, 1);
    UNTIL(f, f->ticket_count == 1);
    const char *flush[] = {"SCRIPT", "FLUSH"};
    plain(f, 2, flush, NULL);
    taker_ack(f->taker, f->tickets[0]);
    spin(f, 300);
    assert_int_equal(taker_unconfirmed(f->taker), 1);
    Ticket other = {43, 1, "backup"};
    push(f, 7, &other, 1); /* a scheduler loads them */
    UNTIL(f, taker_unconfirmed(f->taker) == 0);
    assert_int_equal(claimed(f), 0);
}

static void a_restarted_or_emptied_server_is_registered_with_again(void **state)
{
    Fixture *f = *state;
    taker_want(f->taker, 1);
    UNTIL(f, f->reached == 1);
    redis_server_kill(f->server);
    UNTIL(f, f->lost > 0);
    redis_server_again(f->server);
    UNTIL(f, f->reached == 2);
    const char *member[] = {"SISMEMBER", "hf:{p7}:workers", f->name};
    UNTIL(f, plain(f, 3, member, NULL) == 1);
    const char *flush[] = {"FLUSHALL"};
    plain(f, 1, flush, NULL);
    UNTIL(f, plain(f, 3, member, NULL) == 1); /* by the refresh */
    Ticket ticket = {42, 3, "backup"};
    push(f, 7, &ticket, 1);
    UNTIL(f, f->ticket_count == 1);
}

/* Long before it says again by itself that it is alive. */
static void who_takes_from_an_emptied_server_can_be_found(void **state)
{
    Fixture *f = *state;
    static const uint32_t pool = 7;
    taker_close(f->taker);
    f->liveness_ms = 600000;
    f->reached = 0;
    open_taker(f, &pool, 1);
    taker_want(f->taker, 1);
    UNTIL(f, f->reached == 1);
    const char *flush[] = {"FLUSHALL"};
    plain(f, 1, flush, NULL);
    Ticket ticket = {42, 3, "backup"};
    push(f, 7, &ticket, 1);
    UNTIL(f, f->ticket_count == 1);
    const char *member[] = {"SISMEMBER", "hf:{p7}:workers", f->name};
    UNTIL(f, plain(f, 3, member, NULL) == 1);
}

static void a_stopped_server_is_noticed(void **state)
{
    Fixture *f = *state;
    taker_want(f->taker, 1);
    UNTIL(f, f->reached == 1);
    kill(redis_server_pid(f->server), SIGSTOP);
    for (int tries = 0; tries < 80 && f->lost == 0; tries++)
        spin(f, 100); /* 200 ms and the five seconds of grace */
    kill(redis_server_pid(f->server), SIGCONT);
    assert_true(f->lost > 0);
}

/* The rights that taker.h names are enough, and give no other pool. */
static void a_user_with_the_least_rights_serves_its_pool_alone(void **state)
{
    static const uint32_t pools[] = {7, 8};
    Fixture *f = *state;
    char url[96];
    const char *user[] = {"ACL",   "SETUSER",  "fra",     "on",      ">secret", "~hf:{p7}:*",
                          "+ping", "+select",  "+blmove", "+lrange", "+lrem",   "+sadd",
                          "+set",  "+evalsha", "+hget",   "+hdel",   "+lpush",  "+rpush"};
    plain(f, 18, user, NULL);
    taker_close(f->taker);
    f->reached = f->lost = 0;
    snprintf(url, sizeof url, "redis://fra@127.0.0.1:%u/0", redis_server_port(f->server));
    open_taker_as(f, url, TEXT("secret"), pools, 2);
    Ticket tickets[] = {{1, 1, "backup"}, {2, 1, "backup"}};
    push(f, 7, tickets, 2);
    push(f, 8, tickets, 1);
    taker_want(f->taker, 2);
    UNTIL(f, f->ticket_count == 2);
    taker_ack(f->taker, f->tickets[0]);
    taker_giveback(f->taker, f->tickets[1]);
    UNTIL(f, taker_unconfirmed(f->taker) == 0);
    assert_int_equal(list_length(f, "hf:{p7}:ready"), 1);
    assert_int_equal(list_length(f, "hf:{p8}:ready"), 1); /* refused, told, tried again later */
    assert_true(f->lost > 0);
    assert_int_equal(f->reached, 1);
}

#define CASE(test) cmocka_unit_test_setup_teardown(test, begin, finish)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(a_ticket_is_taken_held_and_acknowledged),
        CASE(garbage_is_dropped_and_counted_and_stops_nothing),
        CASE(what_lies_together_is_taken_together),
        CASE(what_was_taken_and_not_answered_is_found_on_connecting),
        CASE(what_a_lost_connection_took_late_is_found_while_connected),
        CASE(a_ticket_given_back_is_the_next_and_a_bounced_one_the_last),
        CASE(what_arrives_unwanted_is_given_back),
        CASE(an_ack_waits_for_redis_and_for_its_scripts),
        CASE(a_restarted_or_emptied_server_is_registered_with_again),
        CASE(who_takes_from_an_emptied_server_can_be_found),
        CASE(a_stopped_server_is_noticed),
        CASE(a_user_with_the_least_rights_serves_its_pool_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
