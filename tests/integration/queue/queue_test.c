/* SPDX-License-Identifier: Apache-2.0
 * The scheduler's side of the queue against real servers: plain, unix socket, TLS, sentinel. */
#include "common/queue/queue.h"

#include "common/base/clock.h"
#include "common/base/rand.h"
#include "tests/harness/redis.h"

#include <hiredis/hiredis.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <time.h>

#include <cmocka.h>

#define MUST(call)                                                                                 \
    do {                                                                                           \
        Err err = {0};                                                                             \
        if (!(call))                                                                               \
            fail_msg("%s: %s: %s", #call, err.cause, err.text);                                    \
    } while (0)

static Queue *opened(const char *url, const char *password, const char *ca, int64_t timeout_ms)
{
    Queue *queue = NULL;
    QueueParams params = {.url = text_of(url),
                          .password = slice_of_text(text_of(password)),
                          .ca_file = ca,
                          .timeout_ms = timeout_ms};
    MUST(queue_open(&queue, &params, &err));
    return queue;
}

/* Runs one command past our client; integers and lengths come back, -1 for nil and errors. */
static long long plain(const RedisServer *server, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    redisContext *context = redisConnect("127.0.0.1", redis_server_port(server));
    redisReply *reply = redisvCommand(context, format, args);
    va_end(args);
    long long out = -1;
    if (reply != NULL && reply->type == REDIS_REPLY_INTEGER)
        out = reply->integer;
    else if (reply != NULL && reply->type == REDIS_REPLY_ARRAY)
        out = (long long)reply->elements;
    else if (reply != NULL && (reply->type == REDIS_REPLY_STRING))
        out = (long long)reply->len;
    if (reply != NULL)
        freeReplyObject(reply);
    redisFree(context);
    return out;
}

static const Ticket TICKETS[] = {{1, 1, "backup"}, {2, 1, "restore"}, {3, 9, "verify"}};

static void a_push_is_done_once(void **state)
{
    RedisServer *server = redis_server_start(NULL);
    Queue *queue = opened(redis_server_url(server), NULL, NULL, 0);
    Uuid generation = rand_uuid(), read;
    QueueStatus status;
    size_t pushed = 0;
    uint64_t depth = 0;
    bool lost = false, present = true;
    (void)state;
    MUST(queue_check(queue, &status, &err));
    assert_string_equal(status.eviction, "noeviction");
    assert_int_not_equal(status.version[0], 0);
    MUST(queue_generation(queue, 7, &read, &present, &err));
    assert_false(present);
    MUST(queue_push(queue, 7, &generation, false, TICKETS, 3, &pushed, &lost, &err));
    assert_true(lost);
    MUST(queue_generation_begin(queue, 7, &generation, &err));
    MUST(queue_generation(queue, 7, &read, &present, &err));
    assert_true(present && uuid_equal(&read, &generation));
    MUST(queue_push(queue, 7, &generation, false, TICKETS, 3, &pushed, &lost, &err));
    assert_false(lost);
    assert_int_equal(pushed, 3);
    MUST(queue_push(queue, 7, &generation, true, TICKETS, 2, &pushed, &lost, &err));
    assert_int_equal(pushed, 0);
    MUST(queue_depth(queue, 7, &depth, &err));
    assert_int_equal(depth, 3);
    Ticket newer = {1, 2, "backup"};
    MUST(queue_push(queue, 7, &generation, true, &newer, 1, &pushed, &lost, &err));
    assert_int_equal(pushed, 1);
    queue_close(queue);
    redis_server_stop(server);
}

static bool sum(void *ctx, uint64_t job, uint64_t dispatch)
{
    *(uint64_t *)ctx += job * 100 + dispatch;
    return true;
}

static void what_is_pushed_is_remembered_until_it_is_forgotten(void **state)
{
    RedisServer *server = redis_server_start(NULL);
    Queue *queue = opened(redis_server_url(server), NULL, NULL, 0);
    Uuid generation = rand_uuid();
    size_t pushed = 0;
    bool lost = false;
    uint64_t total = 0;
    (void)state;
    MUST(queue_generation_begin(queue, 7, &generation, &err));
    MUST(queue_push(queue, 7, &generation, false, TICKETS, 3, &pushed, &lost, &err));
    plain(server, "HSET hf:{p7}:inq garbage 1 5 more");
    MUST(queue_pushed(queue, 7, sum, &total, &err));
    assert_int_equal(total, 101 + 201 + 309);
    MUST(queue_forget(queue, 7, 3, 8, &err)); /* another dispatch: stays */
    MUST(queue_forget(queue, 7, 2, 1, &err));
    total = 0;
    MUST(queue_pushed(queue, 7, sum, &total, &err));
    assert_int_equal(total, 101 + 309);
    queue_close(queue);
    redis_server_stop(server);
}

static void scripts_that_redis_forgot_are_loaded_again(void **state)
{
    RedisServer *server = redis_server_start(NULL);
    Queue *queue = opened(redis_server_url(server), NULL, NULL, 0);
    Uuid generation = rand_uuid();
    size_t pushed = 0;
    bool lost = false;
    (void)state;
    MUST(queue_generation_begin(queue, 7, &generation, &err));
    MUST(queue_push(queue, 7, &generation, false, TICKETS, 1, &pushed, &lost, &err));
    plain(server, "SCRIPT FLUSH");
    MUST(queue_push(queue, 7, &generation, false, TICKETS + 1, 1, &pushed, &lost, &err));
    assert_int_equal(pushed, 1);
    queue_close(queue);
    redis_server_stop(server);
}

static void an_evicting_server_is_refused(void **state)
{
    RedisServerParams params = {.options = {"--maxmemory-policy", "allkeys-lru"}};
    RedisServer *server = redis_server_start(&params);
    Queue *queue = opened(redis_server_url(server), NULL, NULL, 0);
    QueueStatus status;
    Err why = {0};
    (void)state;
    assert_false(queue_check(queue, &status, &why));
    assert_string_equal(why.cause, "queue.eviction");
    queue_close(queue);
    redis_server_stop(server);
}

static void tickets_of_a_dead_worker_come_back_and_of_a_living_one_do_not(void **state)
{
    RedisServer *server = redis_server_start(NULL);
    Queue *queue = opened(redis_server_url(server), NULL, NULL, 0);
    char dead[UUID_TEXT], living[UUID_TEXT];
    Uuid ids[2] = {rand_uuid(), rand_uuid()};
    QueueOrphans orphans;
    (void)state;
    uuid_text(&ids[0], dead);
    uuid_text(&ids[1], living);
    plain(server, "SADD hf:{p7}:workers %s %s nonsense", dead, living);
    plain(server, "LPUSH hf:{p7}:claimed:%s a b", dead);
    plain(server, "LPUSH hf:{p7}:claimed:%s c", living);
    plain(server, "SET hf:{p7}:w:%s 1", living);
    MUST(queue_orphans_return(queue, 7, &orphans, &err));
    assert_int_equal(orphans.tickets_returned, 2);
    assert_int_equal(orphans.workers_gone, 1);
    assert_int_equal(orphans.workers_alive, 1);
    assert_int_equal(plain(server, "LLEN hf:{p7}:ready"), 2);
    assert_int_equal(plain(server, "LLEN hf:{p7}:claimed:%s", living), 1);
    queue_close(queue);
    redis_server_stop(server);
}

/* Redis moves a ticket for a client that it still believes in, after its worker was found dead. */
static void what_a_dead_worker_is_given_late_comes_back_too(void **state)
{
    RedisServer *server = redis_server_start(NULL);
    Queue *queue = NULL;
    char dead[UUID_TEXT];
    Uuid id = rand_uuid();
    QueueOrphans orphans;
    QueueParams params = {.url = text_of(redis_server_url(server)), .forget_ms = 500};
    (void)state;
    MUST(queue_open(&queue, &params, &err));
    uuid_text(&id, dead);
    plain(server, "SADD hf:{p7}:workers %s", dead);
    MUST(queue_orphans_return(queue, 7, &orphans, &err));
    assert_int_equal(orphans.tickets_returned, 0);
    plain(server, "LPUSH hf:{p7}:claimed:%s late", dead);
    MUST(queue_orphans_return(queue, 7, &orphans, &err));
    assert_int_equal(orphans.tickets_returned, 1);
    assert_int_equal(plain(server, "SISMEMBER hf:{p7}:workers %s", dead), 1);
    nanosleep(&(struct timespec){.tv_nsec = 600000000}, NULL);
    MUST(queue_orphans_return(queue, 7, &orphans, &err));
    assert_int_equal(plain(server, "SISMEMBER hf:{p7}:workers %s", dead), 0);
    queue_close(queue);
    redis_server_stop(server);
}

static void a_wrong_password_is_named_at_once(void **state)
{
    RedisServerParams params = {.password = "right"};
    RedisServer *server = redis_server_start(&params);
    Queue *queue = opened(redis_server_url(server), "right", NULL, 0);
    uint64_t depth = 1;
    (void)state;
    MUST(queue_depth(queue, 7, &depth, &err));
    queue_close(queue);
    queue = opened(redis_server_url(server), "wrong", NULL, 0);
    Err why = {0};
    assert_false(queue_depth(queue, 7, &depth, &why));
    assert_int_equal(why.code, ERR_DENIED);
    assert_null(strstr(why.text, "wrong "));
    queue_close(queue);
    redis_server_stop(server);
}

static void the_unix_socket_serves_too(void **state)
{
    RedisServer *server = redis_server_start(NULL);
    Queue *queue = opened(redis_server_socket(server), NULL, NULL, 0);
    uint64_t depth = 1;
    (void)state;
    MUST(queue_depth(queue, 7, &depth, &err));
    assert_int_equal(depth, 0);
    queue_close(queue);
    redis_server_stop(server);
}

static void tls_verifies_chain_and_host_name(void **state)
{
    RedisServerParams params = {.tls = true};
    RedisServer *server = redis_server_start(&params);
    uint64_t depth = 1;
    char url[64];
    Err why = {0};
    (void)state;
    Queue *queue = opened(redis_server_url(server), NULL, redis_server_ca(server), 0);
    MUST(queue_depth(queue, 7, &depth, &err));
    queue_close(queue);
    snprintf(url, sizeof url, "rediss://127.0.0.1:%u", redis_server_port(server));
    queue = opened(url, NULL, redis_server_ca(server), 0);
    MUST(queue_depth(queue, 7, &depth, &err));
    queue_close(queue);
    /* The same server under a name that its certificate does not carry, and an unknown CA. */
    snprintf(url, sizeof url, "rediss://127.0.0.2:%u", redis_server_port(server));
    queue = opened(url, NULL, redis_server_ca(server), 500);
    assert_false(queue_depth(queue, 7, &depth, &why));
    assert_string_equal(why.cause, "queue.tls");
    why = (Err){0};
    queue_close(queue);
    queue = opened(redis_server_url(server), NULL, NULL, 500);
    assert_false(queue_depth(queue, 7, &depth, &why));
    assert_string_equal(why.cause, "queue.tls");
    queue_close(queue);
    redis_server_stop(server);
}

static void a_stopped_server_is_a_timeout_and_comes_back(void **state)
{
    RedisServer *server = redis_server_start(NULL);
    Queue *queue = opened(redis_server_url(server), NULL, NULL, 300);
    uint64_t depth = 1;
    Err why = {0};
    (void)state;
    MUST(queue_depth(queue, 7, &depth, &err));
    kill(redis_server_pid(server), SIGSTOP);
    int64_t before = clock_mono_ns();
    assert_false(queue_depth(queue, 7, &depth, &why));
    assert_int_equal(why.code, ERR_TIMEOUT);
    assert_true(clock_mono_ns() - before < 2000000000);
    kill(redis_server_pid(server), SIGCONT);
    queue_close(queue);
    queue = opened(redis_server_url(server), NULL, NULL, 5000);
    MUST(queue_depth(queue, 7, &depth, &err));
    redis_server_kill(server);
    redis_server_again(server);
    MUST(queue_depth(queue, 7, &depth, &err));
    queue_close(queue);
    redis_server_stop(server);
}

static void sentinels_lead_to_the_new_primary(void **state)
{
    RedisServer *primary = redis_server_start(NULL);
    RedisServer *replica = redis_server_replica(primary);
    RedisServer *sentinel = redis_server_sentinel(primary);
    Uuid generation = rand_uuid();
    bool done = false;
    char url[96];
    (void)state;
    snprintf(url, sizeof url, "redis+sentinel://127.0.0.1:1,127.0.0.1:%u/main",
             redis_server_port(sentinel));
    Queue *queue = opened(url, NULL, NULL, 20000);
    MUST(queue_generation_begin(queue, 7, &generation, &err));
    /* A failover needs a replica that the sentinel knows and that has the data. */
    for (int tries = 0; tries < 1000; tries++) {
        redisContext *context = redisConnect("127.0.0.1", redis_server_port(sentinel));
        redisReply *reply = redisCommand(context, "SENTINEL replicas main");
        done = reply != NULL && reply->type == REDIS_REPLY_ARRAY && reply->elements == 1;
        freeReplyObject(reply);
        redisFree(context);
        if (done && plain(replica, "GET hf:{p7}:generation") == 36)
            break;
        struct timespec pause = {.tv_nsec = 20000000};
        nanosleep(&pause, NULL);
    }
    redis_server_kill(primary);
    MUST(queue_generation_begin(queue, 8, &generation, &err));
    assert_int_equal(plain(replica, "GET hf:{p8}:generation"), 36);
    queue_close(queue);
    redis_server_stop(sentinel);
    redis_server_stop(replica);
    redis_server_stop(primary);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_push_is_done_once),
        cmocka_unit_test(what_is_pushed_is_remembered_until_it_is_forgotten),
        cmocka_unit_test(scripts_that_redis_forgot_are_loaded_again),
        cmocka_unit_test(an_evicting_server_is_refused),
        cmocka_unit_test(tickets_of_a_dead_worker_come_back_and_of_a_living_one_do_not),
        cmocka_unit_test(what_a_dead_worker_is_given_late_comes_back_too),
        cmocka_unit_test(a_wrong_password_is_named_at_once),
        cmocka_unit_test(the_unix_socket_serves_too),
        cmocka_unit_test(tls_verifies_chain_and_host_name),
        cmocka_unit_test(a_stopped_server_is_a_timeout_and_comes_back),
        cmocka_unit_test(sentinels_lead_to_the_new_primary),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
