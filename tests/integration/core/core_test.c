/* SPDX-License-Identifier: Apache-2.0
 * The scheduler's core over a real catalogue and a real Redis: slots, tickets, leaders, and what
 * becomes of them when a server or a leader goes away. Each test ends in what the tables and the
 * lists hold, not in what a core says of itself. */
#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/rand.h"
#include "scheduler/core/core.h"
#include "scheduler/core/dispatch.h"
#include "tests/harness/fleet.h"
#include "tests/harness/redis.h"

#include <hiredis/hiredis.h>
#include <inttypes.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

enum { SOURCES = 20, SLOTS = 60, LEADERS = 3 };

typedef struct Plant {
    Fleet *fleet;
    RedisServer *redis;
    FleetWorker worker; /* alive and fit for everything: else nothing is dispatched */
    uint32_t pool;
    char conninfo[256];
    Core *cores[LEADERS];
    unsigned count;
} Plant;

static void nap(int ms)
{
    nanosleep(&(struct timespec){.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000L}, NULL);
}

/* The worker that keeps the pool fit never beats: it is made immortal instead. Nothing is due by
 * itself. */
static int set_up(void **state)
{
    Plant *plant = calloc(1, sizeof *plant);
    plant->fleet = fleet_start();
    plant->redis = redis_server_start(&(RedisServerParams){.append_only = false});
    plant->fleet->history.redis = plant->redis;
    fleet_policy(plant->fleet, SOURCES, "");
    fleet_do(plant->fleet, "UPDATE schedule SET at = '0 0 1 1 *'");
    plant->worker = fleet_worker(plant->fleet, "w1", true);
    fleet_do(plant->fleet, "UPDATE setting SET value = 86400 WHERE name = 'liveness_s'");
    plant->pool = (uint32_t)fleet_count(plant->fleet, "SELECT no FROM pool WHERE name = 'fra'");
    fleet_conninfo(plant->fleet, "holdfast_scheduler", plant->conninfo);
    *state = plant;
    return 0;
}

static void stop_cores(Plant *plant)
{
    while (plant->count > 0)
        core_stop(plant->cores[--plant->count]);
}

static int tear_down(void **state)
{
    Plant *plant = *state;
    stop_cores(plant);
    fleet_worker_close(&plant->worker);
    fleet_stop(plant->fleet);
    redis_server_stop(plant->redis);
    free(plant);
    return 0;
}

static Core *start_core(Plant *plant, bool force)
{
    Err err = {0};
    CoreParams params = {
        .catalog = {.conninfo = plant->conninfo},
        .queue = {.url = text_of(redis_server_url(plant->redis)), .timeout_ms = 1000},
        .host = "test",
        .force_leader = force,
        .tick_ms = 20};
    Core **core = &plant->cores[plant->count++];
    if (!core_start(core, &params, &err))
        fail_msg("%s: %s", err.cause, err.text);
    return *core;
}

static int64_t count(const Plant *plant, const char *sql)
{
    return fleet_count(plant->fleet, sql);
}

/* Until the SQL count is what is wanted; how long that took, in ms. */
static int64_t until(const Plant *plant, const char *sql, int64_t wanted)
{
    int64_t from = clock_mono_ns(), have = 0;
    for (int tries = 0; tries < 600; tries++) {
        have = count(plant, sql);
        if (have == wanted)
            return (clock_mono_ns() - from) / 1000000;
        nap(50);
    }
    fail_msg("%s: %" PRId64 ", not %" PRId64, sql, have, wanted);
    return 0;
}

/* --- what Redis holds, seen by somebody else ------------------------------------------------- */

static redisReply *ask_redis(const Plant *plant, const char *command, uint32_t pool)
{
    redisContext *c = redisConnect("127.0.0.1", redis_server_port(plant->redis));
    redisReply *reply = NULL;
    if (c != NULL && c->err == 0)
        reply = redisCommand(c, command, pool);
    redisFree(c);
    return reply;
}

static int64_t listed(const Plant *plant)
{
    redisReply *reply = ask_redis(plant, "LLEN hf:{p%u}:ready", plant->pool);
    int64_t length = reply != NULL && reply->type == REDIS_REPLY_INTEGER ? reply->integer : -1;
    freeReplyObject(reply);
    return length;
}

/* No ticket stands twice in the list. */
static void assert_tickets_once(const Plant *plant)
{
    redisReply *reply = ask_redis(plant, "LRANGE hf:{p%u}:ready 0 -1", plant->pool);
    assert_non_null(reply);
    for (size_t i = 0; i < reply->elements; i++)
        for (size_t j = i + 1; j < reply->elements; j++)
            assert_false(reply->element[i]->len == reply->element[j]->len &&
                         memcmp(reply->element[i]->str, reply->element[j]->str,
                                reply->element[i]->len) == 0);
    freeReplyObject(reply);
}

static int64_t until_listed(const Plant *plant, int64_t wanted)
{
    int64_t from = clock_mono_ns(), have = 0;
    for (int tries = 0; tries < 600; tries++) {
        have = listed(plant);
        if (have == wanted)
            return (clock_mono_ns() - from) / 1000000;
        nap(50);
    }
    fail_msg("%" PRId64 " tickets are listed, not %" PRId64, have, wanted);
    return 0;
}

/* --- slots ----------------------------------------------------------------------------------- */

/* Before a core starts, which reads rules once a policy version. */
static void by_the_minute(const Plant *plant)
{
    fleet_do(plant->fleet, "UPDATE schedule SET at = '* * * * *', catch_up = true, "
                           "start_deadline_s = NULL, last_slot = clock_timestamp()");
}

/* Every schedule ran an hour ago for the last time: SLOTS slots are due now. What ran before stands
 * for no slot any more, so that they are owed indeed. */
static void owe_slots(const Plant *plant, int64_t *first)
{
    char out[512];
    fleet_do(plant->fleet, "UPDATE job SET state = 'cancelled', finished_at = clock_timestamp() "
                           "WHERE state IN ('pending', 'queued')");
    fleet_do(plant->fleet, "UPDATE job SET schedule = NULL, slot = NULL WHERE slot IS NOT NULL");
    fleet_ask(plant->fleet,
              "UPDATE schedule SET last_slot = date_trunc('minute', clock_timestamp()) - interval "
              "'60 minutes'; "
              "SELECT extract(epoch FROM date_trunc('minute', clock_timestamp()))::bigint",
              out);
    *first = strtoll(out, NULL, 10) - (SLOTS - 1) * 60;
}

static void three_leaders_make_one_job_a_slot(void **state)
{
    Plant *plant = *state;
    char sql[400];
    int64_t first = 0;
    by_the_minute(plant);
    for (int i = 0; i < LEADERS; i++)
        start_core(plant, true);
    for (int round = 0; round < 6; round++) {
        owe_slots(plant, &first);
        snprintf(sql, sizeof sql,
                 "SELECT count(*) FROM schedule WHERE last_slot >= to_timestamp(%" PRId64 ")",
                 first + (SLOTS - 1) * 60);
        until(plant, sql, SOURCES);
        /* Each of the slots owed: one row, the newest one of a source to be run, the others missed.
         * A minute may have begun meanwhile; its slots are somebody else's. */
        snprintf(sql, sizeof sql,
                 "SELECT count(DISTINCT (source, schedule, slot)) FROM job WHERE slot BETWEEN "
                 "to_timestamp(%" PRId64 ") AND to_timestamp(%" PRId64 ")",
                 first, first + (SLOTS - 1) * 60);
        assert_int_equal(count(plant, sql), SOURCES * SLOTS);
        snprintf(sql, sizeof sql,
                 "SELECT count(*) FROM job WHERE slot BETWEEN to_timestamp(%" PRId64
                 ") AND to_timestamp(%" PRId64 ")",
                 first, first + (SLOTS - 1) * 60);
        assert_int_equal(count(plant, sql), SOURCES * SLOTS);
        snprintf(sql, sizeof sql,
                 "SELECT count(*) FROM job WHERE state = 'missed' AND slot >= to_timestamp(%" PRId64
                 ")",
                 first);
        assert_int_equal(count(plant, sql), SOURCES * (SLOTS - 1));
    }
}

/* --- tickets --------------------------------------------------------------------------------- */

static void make_jobs(const Plant *plant, unsigned number)
{
    char source[16];
    JobCreated created;
    Err err = {0};
    for (unsigned i = 1; i <= number; i++) {
        snprintf(source, sizeof source, "s%u", i);
        JobRequest request = {.kind = TEXT("backup"),
                              .trigger = TEXT("manual"),
                              .source = text_of(source),
                              .actor = TEXT("test")};
        if (!catalog_job_create(plant->fleet->scheduler, &request, &created, &err))
            fail_msg("%s: %s", err.cause, err.text);
    }
}

static void a_job_becomes_one_ticket_whoever_leads(void **state)
{
    Plant *plant = *state;
    for (int i = 0; i < LEADERS; i++)
        start_core(plant, true);
    make_jobs(plant, SOURCES);
    until(plant, "SELECT count(*) FROM job WHERE state = 'queued'", SOURCES);
    until_listed(plant, SOURCES);
    nap(3000); /* several looks at what is out for too long: none is doubled by them */
    assert_int_equal(listed(plant), SOURCES);
    assert_tickets_once(plant);
}

static void tickets_of_an_emptied_redis_are_back_within_five_seconds(void **state)
{
    Plant *plant = *state;
    start_core(plant, true);
    make_jobs(plant, SOURCES);
    until_listed(plant, SOURCES);
    for (int round = 0; round < 5; round++) {
        freeReplyObject(ask_redis(plant, "FLUSHALL %.0u", 0));
        assert_in_range(until_listed(plant, SOURCES), 0, 5000);
        assert_tickets_once(plant);
    }
    assert_int_equal(count(plant, "SELECT count(*) FROM job WHERE state = 'queued'"), SOURCES);
}

static void a_redis_that_comes_back_empty_is_filled_again(void **state)
{
    Plant *plant = *state;
    CoreState seen;
    Core *core = start_core(plant, true);
    make_jobs(plant, SOURCES);
    until_listed(plant, SOURCES);
    redis_server_kill(plant->redis);
    for (int tries = 0; tries < 200; tries++) {
        core_state(core, &seen);
        if (!seen.redis_up)
            break;
        nap(50);
    }
    assert_false(seen.redis_up);
    assert_true(seen.catalogue_up);
    assert_true(strlen(seen.redis_error) > 0);
    redis_server_again(plant->redis);
    until_listed(plant, SOURCES);
    assert_tickets_once(plant);
}

/* A window that was rolled back, or another's server: the generation tells. */
static void tickets_under_a_foreign_generation_are_pushed_again(void **state)
{
    Plant *plant = *state;
    start_core(plant, true);
    make_jobs(plant, SOURCES);
    until_listed(plant, SOURCES);
    char first[512], now[512];
    fleet_ask(plant->fleet, "SELECT generation FROM pool WHERE name = 'fra'", first);
    freeReplyObject(ask_redis(plant, "SET hf:{p%u}:generation 0123456789abcdef", plant->pool));
    for (int tries = 0; tries < 200; tries++) {
        fleet_ask(plant->fleet, "SELECT generation FROM pool WHERE name = 'fra'", now);
        if (strcmp(first, now) != 0)
            break;
        nap(50);
    }
    assert_string_not_equal(first, now);
    nap(3000); /* whoever pushes twice has done so by now */
    until_listed(plant, SOURCES);
    assert_tickets_once(plant);
}

/* The repairing pass may be the first to see that Redis is empty: it begins a generation once. */
static void a_repair_that_finds_redis_empty_pushes_once(void **state)
{
    Plant *plant = *state;
    Queue *queue = NULL;
    QueueStatus status;
    uint64_t pushed = 0;
    Err err = {0};
    QueueParams params = {.url = text_of(redis_server_url(plant->redis))};
    make_jobs(plant, SOURCES);
    assert_true(queue_open(&queue, &params, &err));
    assert_true(queue_check(queue, &status, &err));
    assert_true(dispatch_due(plant->fleet->scheduler, queue, &pushed, &err));
    assert_int_equal(listed(plant), SOURCES);
    nap(400); /* out for longer than requeue_s */
    freeReplyObject(ask_redis(plant, "FLUSHALL %.0u", 0));
    assert_true(dispatch_repair(plant->fleet->scheduler, queue, &err));
    assert_int_equal(listed(plant), SOURCES);
    assert_tickets_once(plant);
    assert_int_equal(count(plant, "SELECT count(*) FROM job WHERE dispatch <> 1"), 0);
    queue_close(queue);
}

/* A stranger's value under one pool's names is written over; the other pools never wait for that.
 */
static void strange_values_under_our_names_are_written_over(void **state)
{
    static const char *const strange[] = {"LPUSH hf:{p%u}:generation x", "SET hf:{p%u}:inq x",
                                          "SET hf:{p%u}:ready x"};
    Plant *plant = *state;
    start_core(plant, true);
    until_listed(plant, 0);
    for (size_t i = 0; i < sizeof strange / sizeof strange[0]; i++) {
        fleet_do(plant->fleet, "UPDATE job SET state = 'cancelled', finished_at = "
                               "clock_timestamp() WHERE state IN ('pending', 'queued')");
        freeReplyObject(ask_redis(plant, "DEL hf:{p%u}:generation", plant->pool));
        freeReplyObject(ask_redis(plant, "DEL hf:{p%u}:inq", plant->pool));
        freeReplyObject(ask_redis(plant, "DEL hf:{p%u}:ready", plant->pool));
        freeReplyObject(ask_redis(plant, strange[i], plant->pool));
        make_jobs(plant, SOURCES);
        until_listed(plant, SOURCES);
        assert_tickets_once(plant);
    }
}

/* What Redis remembers of jobs that are over is forgotten, however much else it remembers. */
static void lost_acknowledgements_do_not_pile_up(void **state)
{
    enum { LOST = 2000 };
    Plant *plant = *state;
    start_core(plant, true);
    make_jobs(plant, SOURCES);
    until_listed(plant, SOURCES);
    for (int i = 0; i < LOST; i += 4) {
        char command[200];
        snprintf(command, sizeof command, "HSET hf:{p%%u}:inq %d 1 %d 1 %d 1 %d 1", 900000 + i,
                 900001 + i, 900002 + i, 900003 + i);
        freeReplyObject(ask_redis(plant, command, plant->pool));
    }
    int64_t left = 0;
    for (int tries = 0; tries < 600; tries++) {
        redisReply *reply = ask_redis(plant, "HLEN hf:{p%u}:inq", plant->pool);
        left = reply == NULL ? -1 : reply->integer;
        freeReplyObject(reply);
        if (left == SOURCES)
            break;
        nap(50);
    }
    assert_int_equal(left, SOURCES);
}

static void slots_are_fired_while_redis_is_away(void **state)
{
    Plant *plant = *state;
    int64_t first = 0;
    by_the_minute(plant);
    start_core(plant, true);
    redis_server_kill(plant->redis);
    owe_slots(plant, &first);
    until(plant, "SELECT count(*) FROM job WHERE state = 'pending'", SOURCES);
    redis_server_again(plant->redis);
    until_listed(plant, SOURCES);
}

static void a_catalogue_that_was_away_costs_no_slot(void **state)
{
    Plant *plant = *state;
    CoreState seen;
    int64_t first = 0;
    by_the_minute(plant);
    Core *core = start_core(plant, true);
    owe_slots(plant, &first);
    until_listed(plant, SOURCES);
    postgres_kill(plant->fleet->pg);
    for (int tries = 0; tries < 800; tries++) {
        core_state(core, &seen);
        if (!seen.catalogue_up)
            break;
        nap(50);
    }
    assert_false(seen.catalogue_up);
    postgres_again(plant->fleet->pg);
    owe_slots(plant, &first); /* the old ones are cancelled there, tickets and all */
    until(plant, "SELECT count(*) FROM job WHERE state = 'queued'", SOURCES);
    core_state(core, &seen);
    assert_true(seen.catalogue_up);
}

/* A schedule that the catalogue refuses keeps the slots of no other. */
static void one_schedule_that_fails_keeps_no_other_waiting(void **state)
{
    Plant *plant = *state;
    int64_t first = 0;
    fleet_do(plant->fleet,
             "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE "
             "EXCEPTION 'refused'; END $$; CREATE TRIGGER refuse BEFORE INSERT ON job FOR EACH ROW "
             "WHEN (NEW.source = (3)) EXECUTE FUNCTION refuse()");
    int64_t refused = count(plant, "SELECT count(*) FROM schedule WHERE source = 3");
    assert_int_equal(refused, 1);
    by_the_minute(plant);
    owe_slots(plant, &first);
    start_core(plant, true);
    until(plant, "SELECT count(*) FROM job WHERE state = 'queued'", SOURCES - 1);
}

/* Jobs that cannot go are no reason for those behind them to wait. */
static void jobs_that_nobody_can_do_hold_up_no_other(void **state)
{
    Plant *plant = *state;
    make_jobs(plant, SOURCES);
    fleet_do(plant->fleet, "UPDATE pool SET window_size = 5 WHERE name = 'fra'");
    /* 500 older ones of the first source, of which one can run. */
    fleet_do(plant->fleet, "INSERT INTO job OVERRIDING SYSTEM VALUE SELECT "
                           "(jsonb_populate_record(j, jsonb_build_object('id', 1000000 + "
                           "n, 'run_at', clock_timestamp() - interval '1 hour'))).* FROM job j, "
                           "generate_series(1, 500) n WHERE j.id = (SELECT min(id) FROM job)");
    start_core(plant, true);
    until_listed(plant, 5);
    assert_tickets_once(plant);
    assert_int_equal(count(plant, "SELECT count(DISTINCT source) FROM job WHERE state = 'queued'"),
                     5);
}

/* --- leaders --------------------------------------------------------------------------------- */

static void one_of_three_leads_and_another_takes_over_with_a_higher_term(void **state)
{
    Plant *plant = *state;
    CoreState seen[LEADERS];
    int leader = -1;
    for (int i = 0; i < LEADERS; i++)
        start_core(plant, false);
    for (int tries = 0; tries < 200 && leader < 0; tries++) {
        nap(50);
        for (int i = 0; i < LEADERS; i++) {
            core_state(plant->cores[i], &seen[i]);
            if (seen[i].leads)
                leader = i;
        }
    }
    assert_true(leader >= 0);
    nap(2500); /* everybody has asked meanwhile */
    int leaders = 0;
    for (int i = 0; i < LEADERS; i++) {
        core_state(plant->cores[i], &seen[i]);
        leaders += seen[i].leads;
    }
    assert_int_equal(leaders, 1);
    uint64_t term = seen[leader].term;
    core_stop(plant->cores[leader]);
    plant->cores[leader] = plant->cores[--plant->count];
    int next = -1;
    for (int tries = 0; tries < 200 && next < 0; tries++) {
        nap(50);
        for (unsigned i = 0; i < plant->count; i++) {
            core_state(plant->cores[i], &seen[i]);
            if (seen[i].leads)
                next = (int)i;
        }
    }
    assert_true(next >= 0);
    assert_true(seen[next].term > term);
    make_jobs(plant, 1);
    until_listed(plant, 1);
}

/* --- reaping --------------------------------------------------------------------------------- */

static void a_lost_attempt_becomes_a_ticket_again(void **state)
{
    Plant *plant = *state;
    start_core(plant, true);
    make_jobs(plant, 1);
    until_listed(plant, 1);
    TicketRow ticket = {
        .job = (uint64_t)count(plant, "SELECT max(id) FROM job"),
        .dispatch = (uint64_t)count(plant, "SELECT dispatch FROM job ORDER BY id DESC LIMIT 1")};
    fleet_claim(&plant->worker, ticket);
    freeReplyObject(ask_redis(plant, "DEL hf:{p%u}:ready", plant->pool)); /* taken, and dead */
    until(plant, "SELECT losses FROM job ORDER BY id DESC LIMIT 1", 1);
    until(plant, "SELECT count(*) FROM job WHERE state = 'queued' AND attempt = 1", 1);
    until_listed(plant, 1);
    assert_int_equal(count(plant, "SELECT count(*) FROM job_attempt WHERE outcome = 'lost'"), 1);
}

#define CASE(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        CASE(three_leaders_make_one_job_a_slot),
        CASE(a_job_becomes_one_ticket_whoever_leads),
        CASE(tickets_of_an_emptied_redis_are_back_within_five_seconds),
        CASE(a_redis_that_comes_back_empty_is_filled_again),
        CASE(tickets_under_a_foreign_generation_are_pushed_again),
        CASE(a_repair_that_finds_redis_empty_pushes_once),
        CASE(strange_values_under_our_names_are_written_over),
        CASE(lost_acknowledgements_do_not_pile_up),
        CASE(slots_are_fired_while_redis_is_away),
        CASE(a_catalogue_that_was_away_costs_no_slot),
        CASE(one_schedule_that_fails_keeps_no_other_waiting),
        CASE(jobs_that_nobody_can_do_hold_up_no_other),
        CASE(one_of_three_leads_and_another_takes_over_with_a_higher_term),
        CASE(a_lost_attempt_becomes_a_ticket_again),
    };
    log_open(getenv("HOLDFAST_TEST_VERBOSE") == NULL ? LOG_ERROR + 1 : LOG_DEBUG, LOG_LOGFMT, 2);
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
