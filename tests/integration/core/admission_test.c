/* SPDX-License-Identifier: Apache-2.0
 * Who may start, who has to wait for what, and what is said of it: limits, shares of a rate, owners
 * in turn, emergencies, and what is missing where. A real catalogue, a real Redis, the scheduler's
 * own dispatcher; what workers would take is taken from Redis by hand, in their order. */
#include "common/base/clock.h"
#include "common/base/json.h"
#include "common/base/rand.h"
#include "common/catalog/catalog_enroll.h"
#include "common/catalog/catalog_policy.h"
#include "protocol/ticket.h"
#include "scheduler/core/dispatch.h"
#include "tests/harness/fleet.h"
#include "tests/harness/redis.h"

#include <hiredis/hiredis.h>
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { SLOTS = 4 }; /* of a worker of the harness */

typedef struct Plant {
    Fleet *fleet;
    RedisServer *redis;
    Queue *queue;
    FleetWorker worker;
} Plant;

#define OK(call)                                                                                   \
    do {                                                                                           \
        Err err = {0};                                                                             \
        if (!(call))                                                                               \
            fail_msg("%s: %s", err.cause, err.text);                                               \
    } while (0)

/* `count` sources s1, s2, …, each with `extra`; top: more members of the document. */
static void apply(const Plant *plant, unsigned count, const char *extra, const char *store,
                  const char *top)
{
    scoped(buf_free) Buf document = {0};
    PolicyApplied applied;
    buf_printf(&document,
               "{\"fleet\":\"test\",\"pools\":{\"fra\":{}},\"key_sets\":[\"keys\"],\"stores\":"
               "{\"nas\":{\"type\":\"local\",\"path\":\"/srv/b\"%s}}%s,\"sources\":{",
               store, top);
    for (unsigned i = 1; i <= count; i++)
        buf_printf(&document,
                   "%s\"s%u\":{\"type\":\"files\",\"policy\":\"gold\",\"pool\":\"fra\",\"store\":"
                   "\"nas\",\"key_set\":\"keys\",\"config\":{\"paths\":[\"/srv/%u\"]},"
                   "\"schedules\":{},\"retry\":{\"attempts\":1}%s}",
                   i == 1 ? "" : ",", i, i, extra);
    buf_printf(&document, "}}");
    OK(catalog_policy_apply(plant->fleet->scheduler, buf_text(&document), (Text){0}, TEXT("test"),
                            &applied, &err));
}

static int set_up(void **state)
{
    Plant *plant = calloc(1, sizeof *plant);
    QueueStatus status;
    plant->fleet = fleet_start();
    plant->redis = redis_server_start(&(RedisServerParams){.append_only = false});
    plant->fleet->history.redis = plant->redis;
    fleet_do(plant->fleet, "UPDATE setting SET value = 86400 WHERE name IN ('liveness_s', "
                           "'requeue_s', 'lease_s')");
    fleet_do(plant->fleet, "UPDATE setting SET value = 0 WHERE name IN ('defer_min_s', "
                           "'defer_max_s', 'recall_s')");
    plant->worker = fleet_worker(plant->fleet, "w1", true);
    QueueParams params = {.url = text_of(redis_server_url(plant->redis))};
    OK(queue_open(&plant->queue, &params, &err));
    OK(queue_check(plant->queue, &status, &err));
    *state = plant;
    return 0;
}

static int tear_down(void **state)
{
    Plant *plant = *state;
    queue_close(plant->queue);
    fleet_worker_close(&plant->worker);
    fleet_stop(plant->fleet);
    redis_server_stop(plant->redis);
    free(plant);
    return 0;
}

static int64_t count(const Plant *plant, const char *sql)
{
    return fleet_count(plant->fleet, sql);
}

static uint64_t ask(const Plant *plant, const char *source, bool emergency)
{
    JobCreated created = {0};
    JobRequest request = {.kind = TEXT("backup"),
                          .trigger = emergency ? TEXT("emergency") : TEXT("manual"),
                          .source = text_of(source),
                          .priority = emergency ? JOB_PRIORITY_EMERGENCY : 0,
                          .actor = TEXT("test")};
    OK(catalog_job_create(plant->fleet->scheduler, &request, &created, &err));
    return created.job;
}

static void ask_for_each(const Plant *plant, unsigned from, unsigned to)
{
    char name[16];
    for (unsigned i = from; i <= to; i++) {
        snprintf(name, sizeof name, "s%u", i);
        (void)ask(plant, name, false);
    }
}

static void dispatch(const Plant *plant)
{
    uint64_t pushed;
    OK(dispatch_due(plant->fleet->scheduler, plant->queue, &pushed, &err));
}

/* What a worker that is free takes next; job 0: the list is empty. */
static TicketRow take(const Plant *plant)
{
    Ticket ticket = {0};
    redisContext *c = redisConnect("127.0.0.1", redis_server_port(plant->redis));
    redisReply *reply = redisCommand(
        c, "RPOP hf:{p%u}:ready", (unsigned)count(plant, "SELECT no FROM pool WHERE name = 'fra'"));
    if (reply->type == REDIS_REPLY_STRING) {
        Slice element = {(const uint8_t *)reply->str, reply->len};
        OK(ticket_unpack(element, &ticket, &err));
    }
    freeReplyObject(reply);
    redisFree(c);
    return (TicketRow){.job = ticket.job, .dispatch = ticket.dispatch};
}

static ClaimStatus claim(const Plant *plant, TicketRow ticket, Fence *fence, Buf *order)
{
    ClaimAnswer answer;
    *fence = (Fence){.job = ticket.job, .claim = rand_uuid()};
    OK(catalog_job_claim(plant->worker.c, &plant->worker.instance, ticket.job, ticket.dispatch,
                         &fence->claim, &answer, &err));
    fence->attempt = answer.attempt;
    if (order != NULL)
        buf_add_text(order, buf_text(&answer.order));
    ClaimStatus status = answer.status;
    catalog_job_claim_free(&answer);
    return status;
}

static Fence start(const Plant *plant)
{
    Fence fence;
    ClaimStatus status;
    do {
        TicketRow ticket = take(plant);
        assert_int_not_equal(ticket.job, 0);
        status = claim(plant, ticket, &fence, NULL);
    } while (status == CLAIM_STALE); /* its ticket was taken back */
    assert_int_equal(status, CLAIM_GRANTED);
    return fence;
}

static void end(const Plant *plant, const Fence *fence)
{
    char state[16];
    bool fenced;
    JobVerdictRow verdict = {.outcome = OUTCOME_FAILED, .cause = TEXT("test.over")};
    OK(catalog_job_finish(plant->worker.c, fence, &verdict, state, &fenced, &err));
    assert_false(fenced);
}

static void decided(const Plant *plant, uint64_t job, char out[512])
{
    char sql[256];
    snprintf(sql, sizeof sql,
             "SELECT verdict || ' ' || code || ' ' || text FROM decision WHERE job = %" PRIu64
             " ORDER BY last_at DESC, id DESC LIMIT 1",
             job);
    fleet_ask(plant->fleet, sql, out);
}

/* --- limits ---------------------------------------------------------------------------------- */

static void a_host_that_is_full_says_who_is_there_since_when(void **state)
{
    Plant *plant = *state;
    char first[JOB_ID_TEXT], second[JOB_ID_TEXT], text[512], wanted[128], measured[512];
    apply(plant, 4, ",\"reads\":\"db1\",\"per_host\":2", "", "");
    fleet_do(plant->fleet, "UPDATE source SET scopes = '{}' WHERE name = 's4'");
    ask_for_each(plant, 1, 3);
    dispatch(plant);
    Fence one = start(plant), two = start(plant);
    assert_int_equal(take(plant).job, 0); /* the third got no ticket that would be sent back */
    ask_for_each(plant, 4, 4);
    dispatch(plant);
    Fence other = start(plant); /* what reads another host goes */
    ids_job_text(one.job, first);
    ids_job_text(two.job, second);
    decided(plant, two.job + 1, text);
    snprintf(wanted, sizeof wanted, "deferred limit.full 2 of 2 jobs of host db1 run since ");
    assert_memory_equal(text, wanted, strlen(wanted));
    snprintf(wanted, sizeof wanted, "Z: %s, %s", first, second);
    assert_non_null(strstr(text, wanted));
    fleet_ask(plant->fleet,
              "SELECT measured ->> 'scope' || (measured ->> 'running') || (measured ->> 'limit') "
              "FROM decision WHERE code = 'limit.full'",
              measured);
    assert_string_equal(measured, "host:db122");
    end(plant, &one);
    dispatch(plant);
    Fence third = start(plant);
    assert_int_equal(count(plant, "SELECT count(*) FROM limit_slot WHERE scope = 'host:db1' AND "
                                  "job IS NOT NULL"),
                     2);
    end(plant, &two);
    end(plant, &other);
    end(plant, &third);
}

/* A ticket that got out although the limit is full by now: the claim says the same. */
static void a_claim_that_finds_a_full_limit_is_put_off_with_what_was_measured(void **state)
{
    Plant *plant = *state;
    Fence fence;
    char text[512];
    apply(plant, 2, "", "", "");
    ask_for_each(plant, 1, 2);
    dispatch(plant);
    fleet_do(plant->fleet, "SELECT limit_resize('pool:fra', 1)");
    Fence one = start(plant);
    TicketRow late = take(plant);
    assert_int_equal(claim(plant, late, &fence, NULL), CLAIM_FULL);
    decided(plant, late.job, text);
    assert_non_null(strstr(text, "1 of 1 jobs of pool fra run since "));
    end(plant, &one);
}

static void limits_leave_with_the_policy_that_set_them(void **state)
{
    Plant *plant = *state;
    apply(plant, 3, ",\"labels\":{\"site\":\"fra\"},\"reads\":\"db1\",\"per_host\":1",
          ",\"max_uploads\":2",
          ",\"budgets\":{\"uplink\":{\"labels\":{\"site\":\"fra\"},\"concurrent\":2},\"san\":"
          "{\"labels\":{\"san\":\"1\"},\"concurrent\":2}}");
    assert_int_equal(count(plant, "SELECT cardinality(scopes) FROM source WHERE name = 's1'"), 3);
    ask_for_each(plant, 1, 1);
    dispatch(plant);
    Fence one = start(plant);
    assert_int_equal(count(plant, "SELECT count(*) FROM limit_slot WHERE job IS NOT NULL"), 3);
    apply(plant, 3, "", "", "");
    assert_int_equal(count(plant, "SELECT count(*) FROM limit_slot"), 0);
    assert_int_equal(count(plant, "SELECT sum(cardinality(scopes)) FROM source"), 0);
    end(plant, &one);
    ask_for_each(plant, 1, 3);
    dispatch(plant);
    for (int i = 0; i < 3; i++)
        one = start(plant);
    assert_int_equal(take(plant).job, 0);
}

/* --- rates ----------------------------------------------------------------------------------- */

static int64_t rate_of_next(const Plant *plant)
{
    Fence fence;
    scoped(buf_free) Buf order = {0};
    scoped(json_release) json_t *json = NULL;
    TicketRow ticket = take(plant);
    if (ticket.job == 0)
        return -1;
    assert_int_equal(claim(plant, ticket, &fence, &order), CLAIM_GRANTED);
    OK(json_parse(buf_text(&order), &json, &err));
    return json_integer_value(json_object_get(json_object_get(json, "policy"), "rate"));
}

static void shares_of_a_rate_never_exceed_it(void **state)
{
    Plant *plant = *state;
    int64_t sum = 0, runs = 0;
    apply(plant, 6, ",\"rate\":1000,\"labels\":{\"site\":\"fra\"}", "",
          ",\"budgets\":{\"uplink\":{\"labels\":{\"site\":\"fra\"},\"concurrent\":3,\"rate\":1000}"
          "}");
    ask_for_each(plant, 1, 6);
    dispatch(plant);
    for (int64_t rate = rate_of_next(plant); rate >= 0; rate = rate_of_next(plant)) {
        assert_int_equal(rate, 333);
        sum += rate;
        runs++;
    }
    assert_int_equal(runs, 3);
    assert_in_range(sum, 900, 1000);
}

static void a_rate_without_a_number_of_runs_is_cut_in_eight(void **state)
{
    Plant *plant = *state;
    int runs = 0;
    apply(plant, 12, "", ",\"max_rate\":8000", "");
    ask_for_each(plant, 1, 12);
    dispatch(plant);
    for (int64_t rate = rate_of_next(plant); rate >= 0; rate = rate_of_next(plant), runs++)
        assert_int_equal(rate, 1000);
    assert_int_equal(runs, 8);
}

static void a_policy_s_own_rate_holds_where_it_is_the_least(void **state)
{
    Plant *plant = *state;
    apply(plant, 1, ",\"rate\":50", ",\"max_rate\":8000", "");
    ask_for_each(plant, 1, 1);
    dispatch(plant);
    assert_int_equal(rate_of_next(plant), 50);
}

/* --- owners ---------------------------------------------------------------------------------- */

static unsigned owner_of(const Plant *plant, uint64_t job)
{
    char sql[128];
    snprintf(sql, sizeof sql,
             "SELECT owner::int FROM source s JOIN job j ON j.source = s.no WHERE j.id = %" PRIu64,
             job);
    return (unsigned)count(plant, sql);
}

/* Runs `most` jobs, as many at once as the worker has slots; done[owner] counts them. */
static void run_some(const Plant *plant, unsigned most, unsigned *done)
{
    Fence running[SLOTS];
    for (unsigned i = 0; i < most; i++) {
        if (i >= SLOTS)
            end(plant, &running[i % SLOTS]);
        dispatch(plant);
        running[i % SLOTS] = start(plant);
        done[owner_of(plant, running[i % SLOTS].job)]++;
    }
    for (unsigned i = 0; i < SLOTS && i < most; i++)
        end(plant, &running[i]);
}

/* Owner 0 has twenty times what the others have, and was there first. */
static void ten_owners_get_the_same_whoever_floods(void **state)
{
    enum { OWNERS = 10, EACH = 6, FLOOD = 120 };
    Plant *plant = *state;
    unsigned done[OWNERS] = {0};
    apply(plant, FLOOD + (OWNERS - 1) * EACH, "", "", "");
    fleet_do(plant->fleet, "UPDATE source SET owner = CASE WHEN substr(name, 2)::int <= 120 THEN 0 "
                           "ELSE 1 + (substr(name, 2)::int - 121) / 6 END");
    ask_for_each(plant, 1, FLOOD);
    dispatch(plant);
    assert_int_equal(count(plant, "SELECT count(*) FROM job WHERE state = 'queued'"), FLOOD);
    ask_for_each(plant, FLOOD + 1, FLOOD + (OWNERS - 1) * EACH);
    fleet_do(plant->fleet, "UPDATE job SET run_at = run_at - interval '9 hours' WHERE id <= 120");
    run_some(plant, OWNERS * 3, done);
    for (unsigned owner = 1; owner < OWNERS; owner++)
        assert_in_range(done[owner], 2, 4);
    assert_in_range(done[0], 0, 6);
    run_some(plant, OWNERS * 3, done);
    for (unsigned owner = 1; owner < OWNERS; owner++)
        assert_in_range(done[owner], 5, 6);
}

static void owners_that_flood_together_take_turns(void **state)
{
    enum { OWNERS = 10, EACH = 12 };
    Plant *plant = *state;
    unsigned done[OWNERS] = {0};
    apply(plant, OWNERS * EACH, "", "", "");
    fleet_do(plant->fleet, "UPDATE source SET owner = (substr(name, 2)::int - 1) / 12");
    fleet_do(plant->fleet, "UPDATE pool SET window_size = 20");
    ask_for_each(plant, 1, OWNERS * EACH); /* all of the first owner's, then the second's… */
    for (unsigned round = 1; round <= 4; round++) {
        run_some(plant, OWNERS * 2, done);
        for (unsigned owner = 0; owner < OWNERS; owner++)
            assert_in_range(done[owner], 2 * round - 2, 2 * round + 2);
    }
}

/* --- emergencies ----------------------------------------------------------------------------- */

static void an_emergency_goes_before_all_past_window_and_limits(void **state)
{
    Plant *plant = *state;
    char words[512];
    apply(plant, 8, ",\"reads\":\"db1\",\"per_host\":1,\"concurrent\":1", ",\"max_uploads\":1", "");
    fleet_do(plant->fleet, "SELECT limit_resize('pool:fra', 1)");
    fleet_do(plant->fleet, "UPDATE pool SET window_size = 1");
    ask_for_each(plant, 1, 6);
    dispatch(plant);
    Fence one = start(plant);
    dispatch(plant);
    uint64_t urgent = ask(plant, "s8", true);
    dispatch(plant);
    TicketRow ticket = take(plant);
    assert_int_equal(ticket.job, urgent);
    Fence fence;
    assert_int_equal(claim(plant, ticket, &fence, NULL), CLAIM_GRANTED);
    assert_int_equal(count(plant, "SELECT count(*) FROM limit_slot WHERE job IS NOT NULL"), 4);
    fleet_ask(plant->fleet, "SELECT string_agg(DISTINCT job::text, ',') FROM limit_slot", words);
    assert_int_equal(strtoull(words, NULL, 10), one.job);
    /* One of a source that runs waits all the same: a fence is not a limit. */
    uint64_t again = ask(plant, "s8", true);
    dispatch(plant);
    assert_int_equal(take(plant).job, 0);
    decided(plant, again, words);
    assert_non_null(strstr(words, "deferred lane.busy"));
    assert_non_null(strstr(words, "it runs since"));
    end(plant, &fence);
    dispatch(plant);
    assert_int_equal(take(plant).job, again);
    end(plant, &one);
}

/* Its source's own job has a ticket already: the emergency does not stand behind it. */
static void an_emergency_does_not_wait_for_its_source_s_ticket(void **state)
{
    Plant *plant = *state;
    Fence fence;
    apply(plant, 3, "", "", "");
    ask_for_each(plant, 1, 3);
    dispatch(plant);
    uint64_t urgent = ask(plant, "s1", true);
    dispatch(plant);
    TicketRow ticket = take(plant);
    assert_int_equal(ticket.job, urgent);
    assert_int_equal(claim(plant, ticket, &fence, NULL), CLAIM_GRANTED);
    assert_int_equal(claim(plant, take(plant), &fence, NULL), CLAIM_BUSY); /* s1's own, put off */
}

static void tickets_of_a_long_queue_go_out_by_the_quarter_of_the_window(void **state)
{
    Plant *plant = *state;
    Fence fences[3];
    apply(plant, 20, "", "", "");
    fleet_do(plant->fleet, "UPDATE pool SET window_size = 12 WHERE name = 'fra'");
    ask_for_each(plant, 1, 20);
    dispatch(plant);
    assert_int_equal(count(plant, "SELECT count(*) FROM job WHERE state = 'queued'"), 12);
    for (size_t i = 0; i < 3; i++) {
        fences[i] = start(plant);
        dispatch(plant);
        assert_int_equal(count(plant, "SELECT count(*) FROM job WHERE state = 'queued'"),
                         i < 2 ? 11 - (int)i : 12);
    }
    /* The last of the queue wait for no quarter. */
    fleet_do(plant->fleet, "UPDATE job SET state = 'cancelled', finished_at = clock_timestamp() "
                           "WHERE state = 'pending' AND id > (SELECT min(id) FROM job WHERE state "
                           "= 'pending')");
    end(plant, &fences[0]);
    fences[0] = start(plant);
    dispatch(plant);
    assert_int_equal(count(plant, "SELECT count(*) FROM job WHERE state = 'pending'"), 0);
}

/* --- what is missing where ------------------------------------------------------------------- */

/* Enrolled as `name` in `pool`, says hello with these facts. */
static Catalog *worker_with(const Plant *plant, const char *name, const char *pool,
                            const char *facts)
{
    Text pools = text_of(pool);
    WorkerWelcome welcome;
    OK(catalog_enroll(
        plant->fleet->admin,
        &(EnrollParams){
            .name = text_of(name), .host = text_of(name), .pools = &pools, .pool_count = 1},
        &err));
    Catalog *c = fleet_connect(plant->fleet, name);
    WorkerHello hello = {.instance = rand_uuid(),
                         .name = text_of(name),
                         .host = text_of(name),
                         .version = TEXT("test"),
                         .slots = 1,
                         .clock_ns = clock_wall_ns(),
                         .facts = text_of(facts)};
    OK(catalog_worker_hello(c, &hello, &welcome, &err));
    catalog_worker_welcome_free(&welcome);
    return c;
}

static void of_each_worker_it_is_said_what_it_lacks(void **state)
{
    static const char *const workers[][3] = {
        {"w2", "fra", "{\"engines\":[\"files\"],\"roles\":[\"write\"]}"},
        {"w3", "fra",
         "{\"engines\":[\"postgresql\"],\"roles\":[\"write\"],\"tools\":{\"pg_dump\":[\"13.4\","
         "\"15.9\"]}}"},
        {"w4", "fra", "{\"engines\":[\"postgresql\"],\"roles\":[]}"},
        {"w5", "fra", "{\"engines\":[\"postgresql\"],\"roles\":[\"write\"],\"orders\":[2,3]}"},
        {"w6", "fra", "{\"engines\":[\"postgresql\"],\"roles\":[\"write\"],\"stores\":[\"s3\"]}"},
        {"w7", "edge", "{\"engines\":[\"postgresql\"],\"roles\":[\"write\"]}"},
    };
    static const char *const said[] = {
        "held no_worker no capable worker: ",
        "w2 lacks engine postgresql",
        "w3 lacks pg_dump 17 or newer (it has 13.4, 15.9)",
        "w4 lacks writer key of keys",
        "w5 lacks order version 1 (it reads [2, 3])",
        "w6 lacks store nas",
        "w7 does not serve pool fra",
        "w1 drains",
    };
    Plant *plant = *state;
    Catalog *more[6];
    char text[512], full[512];
    apply(plant, 2, "", "", "");
    fleet_do(plant->fleet, "UPDATE source SET type = 'postgresql', server_major = 17");
    fleet_do(plant->fleet, "UPDATE worker SET drain = true");
    for (size_t i = 0; i < 6; i++)
        more[i] = worker_with(plant, workers[i][0], workers[i][1], workers[i][2]);
    uint64_t job = ask(plant, "s1", false);
    dispatch(plant);
    assert_int_equal(take(plant).job, 0);
    decided(plant, job, text);
    for (size_t i = 0; i < sizeof said / sizeof said[0]; i++)
        if (strstr(text, said[i]) == NULL)
            fail_msg("'%s' does not say '%s'", text, said[i]);
    fleet_ask(plant->fleet, "SELECT source_nobody(s) FROM source s WHERE name = 's2'", full);
    assert_non_null(strstr(text, full)); /* known before it is due */
    fleet_do(plant->fleet, "UPDATE source SET server_major = 15 WHERE name = 's1'");
    fleet_do(plant->fleet, "UPDATE source SET spec='{\"config\":{\"method\":\"wal\"}}' WHERE no=2");
    assert_true(count(plant, "SELECT count(*) FROM source s WHERE source_nobody(s) IS NULL") == 2);
    dispatch(plant);
    assert_int_equal(take(plant).job, job);
    for (size_t i = 0; i < 6; i++)
        catalog_close(more[i]);
}

/* Of many that cannot go each is told why, not always the first of them. */
static void each_of_many_that_wait_is_told_why(void **state)
{
    enum { MANY = 450 };
    Plant *plant = *state;
    apply(plant, MANY, "", "", "");
    fleet_do(plant->fleet, "UPDATE worker SET drain = true");
    ask_for_each(plant, 1, MANY);
    for (int pass = 1; pass <= 3; pass++) {
        dispatch(plant);
        assert_int_equal(count(plant, "SELECT count(*) FROM decision WHERE code = 'no_worker'"),
                         pass < 3 ? 200 * pass : MANY);
    }
    fleet_do(plant->fleet, "UPDATE decision SET last_at = last_at - interval '1 minute'");
    for (int pass = 1; pass <= 3; pass++)
        dispatch(plant);
    assert_int_equal(count(plant, "SELECT count(*) FROM decision WHERE count = 2"), MANY);
}

/* A window that is full lets what is urgent through, and an eighth of its size of that. */
static void what_is_urgent_does_not_wait_for_the_window(void **state)
{
    Plant *plant = *state;
    JobCreated created;
    apply(plant, 30, "", "", "");
    fleet_do(plant->fleet, "UPDATE pool SET window_size = 16");
    ask_for_each(plant, 1, 30);
    dispatch(plant);
    assert_int_equal(count(plant, "SELECT count(*) FROM job WHERE state = 'queued'"), 16);
    for (int i = 0; i < 5; i++) {
        JobRequest request = {.kind = TEXT("probe"),
                              .source = TEXT("s1"),
                              .params = TEXT("{\"probe\":\"source_test\"}"),
                              .actor = TEXT("test")};
        OK(catalog_job_create(plant->fleet->scheduler, &request, &created, &err));
    }
    dispatch(plant);
    dispatch(plant);
    assert_int_equal(count(plant, "SELECT count(*) FROM job WHERE state = 'queued'"), 18);
    assert_int_equal(take(plant).job, created.job - 3); /* the newest of the two that came */
}

#define CASE(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        CASE(a_host_that_is_full_says_who_is_there_since_when),
        CASE(a_claim_that_finds_a_full_limit_is_put_off_with_what_was_measured),
        CASE(limits_leave_with_the_policy_that_set_them),
        CASE(shares_of_a_rate_never_exceed_it),
        CASE(a_rate_without_a_number_of_runs_is_cut_in_eight),
        CASE(a_policy_s_own_rate_holds_where_it_is_the_least),
        CASE(ten_owners_get_the_same_whoever_floods),
        CASE(owners_that_flood_together_take_turns),
        CASE(an_emergency_goes_before_all_past_window_and_limits),
        CASE(an_emergency_does_not_wait_for_its_source_s_ticket),
        CASE(tickets_of_a_long_queue_go_out_by_the_quarter_of_the_window),
        CASE(of_each_worker_it_is_said_what_it_lacks),
        CASE(each_of_many_that_wait_is_told_why),
        CASE(what_is_urgent_does_not_wait_for_the_window),
    };
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
