/* SPDX-License-Identifier: Apache-2.0
 * What becomes of jobs when the queue lies, forgets or dies, and when a worker dies at any marked
 * point between taking a ticket and acknowledging it. */
#include "tests/integration/agent/actor.h"

#include <hiredis/hiredis.h>

static Crew *crew;

static void redis(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    redisContext *context = redisConnect("127.0.0.1", redis_server_port(crew->redis));
    redisReply *reply = redisvCommand(context, format, args);
    va_end(args);
    if (reply != NULL)
        freeReplyObject(reply);
    redisFree(context);
}

static int64_t attempts(uint64_t job)
{
    char sql[128];
    snprintf(sql, sizeof sql, "SELECT count(*) FROM job_attempt WHERE job = %llu",
             (unsigned long long)job);
    return fleet_count(crew->fleet, sql);
}

static void garbage_in_the_list_stops_nothing(void **state)
{
    (void)state;
    pid_t w1 = crew_hire(crew, "w1", 100);
    for (int i = 0; i < 20; i++) {
        redis("RPUSH hf:{p%u}:ready %b", crew->pool, "\xdd\xff\xff\xff\xff", (size_t)5);
        redis("LPUSH hf:{p%u}:ready not-a-ticket-%d", crew->pool, i);
    }
    uint64_t job = crew_job(crew, "probe", "s1", "answer");
    crew_until(crew, job, "state = 'completed'");
    crew_end(w1, SIGTERM);
    fleet_settled(crew->fleet);
}

static void a_ticket_in_many_hands_is_one_attempt(void **state)
{
    (void)state;
    Err err = {0};
    TicketList list = {0};
    TicketBytes bytes;
    pid_t w1 = crew_hire(crew, "w1", 100);
    pid_t w2 = crew_hire(crew, "w2", 100);
    uint64_t job = crew_job(crew, "backup", "s1", "work");
    while (list.count == 0) { /* until a worker has said hello */
        catalog_tickets_free(&list);
        assert_true(catalog_dispatch_pick(crew->fleet->scheduler, crew->pool, 10, &list, &err));
        nap(20);
    }
    Ticket ticket = {.job = job, .dispatch = list.rows[0].dispatch, .kind = "backup"};
    catalog_tickets_free(&list);
    ticket_pack(&ticket, &bytes);
    for (int i = 0; i < 50; i++)
        redis("LPUSH hf:{p%u}:ready %b", crew->pool, bytes.at, bytes.len);
    crew->paused = true;
    crew_until(crew, job, "state = 'running'");
    uint64_t depth = 1;
    for (int tries = 0; tries < 200 && depth > 0; tries++) {
        assert_true(queue_depth(crew->queue, crew->pool, &depth, &err));
        nap(50);
    }
    assert_int_equal(depth, 0);
    assert_int_equal(attempts(job), 1);
    crew->paused = false;
    crew_end(w1, SIGTERM);
    crew_end(w2, SIGTERM);
}

static void emptying_redis_again_and_again_loses_no_job(void **state)
{
    (void)state;
    enum { JOBS = 12 };
    uint64_t jobs[JOBS];
    pid_t w1 = crew_hire(crew, "w1", 100);
    pid_t w2 = crew_hire(crew, "w2", 100);
    for (int i = 0; i < JOBS; i++) {
        jobs[i] = crew_job(crew, "probe", i % 2 == 0 ? "s1" : "s2", "answer");
        crew_pump(crew);
        redis("FLUSHALL");
        if (i == JOBS / 2) {
            redis_server_kill(crew->redis);
            redis_server_again(crew->redis);
        }
    }
    for (int i = 0; i < JOBS; i++) {
        crew_until(crew, jobs[i], "state = 'completed'");
        assert_int_equal(attempts(jobs[i]), 1);
    }
    crew_end(w1, SIGTERM);
    crew_end(w2, SIGTERM);
    fleet_settled(crew->fleet);
}

static void without_redis_a_running_job_goes_on_and_is_acknowledged_later(void **state)
{
    (void)state;
    Err err = {0};
    char now[16];
    pid_t w1 = crew_hire(crew, "w1", 5000);
    uint64_t job = crew_job(crew, "backup", "s1", "work");
    crew_until(crew, job, "state = 'running'");
    crew->paused = true;
    redis_server_kill(crew->redis);
    assert_true(catalog_job_cancel(crew->fleet->scheduler, job, TEXT("t"), TEXT("t"), now, &err));
    crew_until(crew, job, "state = 'cancelled'");
    redis_server_again(crew->redis);
    crew->paused = false;
    uint64_t next = crew_job(crew, "probe", "s1", "answer");
    crew_until(crew, next, "state = 'completed'");
    assert_int_equal(crew_end(w1, SIGTERM), 0);
    fleet_settled(crew->fleet);
}

static void a_worker_that_lacks_something_leaves_the_ticket_to_another(void **state)
{
    (void)state;
    char path[128];
    snprintf(path, sizeof path, "%s/keys/keys.writer", crew->dir);
    assert_int_equal(unlink(path), 0);
    pid_t w1 = crew_hire(crew, "w1", 100);
    nap(500); /* it has announced itself, without a key */
    FILE *file = fopen(path, "we");
    fclose(file);
    uint64_t job = crew_job(crew, "backup", "s1", "work");
    for (int i = 0; i < 10; i++) {
        crew_pump(crew);
        nap(50);
    }
    assert_true(crew_holds(crew, job, "state = 'pending'")); /* no capable worker */
    pid_t w2 = crew_hire(crew, "w2", 100);
    crew_until(crew, job, "state = 'running'");
    assert_int_equal(attempts(job), 1);
    char who[512], sql[160];
    snprintf(sql, sizeof sql,
             "SELECT w.name FROM job_attempt a JOIN worker w ON w.no = a.worker WHERE a.job = %llu",
             (unsigned long long)job);
    fleet_ask(crew->fleet, sql, who);
    assert_string_equal(who, "w2");
    /* SIGHUP: it looks again, and may take the next one. */
    kill(w1, SIGHUP);
    nap(300);
    crew_end(w2, SIGTERM);
    crew_until(crew, job, "state = 'running' AND attempt = 2");
    crew_end(w1, SIGTERM);
}

static void a_worker_drained_by_the_operator_takes_nothing(void **state)
{
    (void)state;
    Err err = {0};
    pid_t w1 = crew_hire(crew, "w1", 100);
    uint64_t first = crew_job(crew, "probe", "s1", "answer");
    crew_until(crew, first, "state = 'completed'");
    assert_true(
        catalog_worker_drain(crew->fleet->scheduler, TEXT("w1"), true, (Text){0}, TEXT("t"), &err));
    nap(1200);
    uint64_t job = crew_job(crew, "probe", "s1", "answer");
    for (int i = 0; i < 10; i++) {
        crew_pump(crew);
        nap(100);
    }
    assert_false(crew_holds(crew, job, "state = 'completed'"));
    assert_true(catalog_worker_drain(crew->fleet->scheduler, TEXT("w1"), false, (Text){0},
                                     TEXT("t"), &err));
    crew_until(crew, job, "state = 'completed'");
    crew_end(w1, SIGTERM);
    fleet_settled(crew->fleet);
}

/* kill -9 at each marked point; what is left is taken over and completed by the other worker. */
static void a_worker_killed_at_any_marked_point_costs_time_only(void **state)
{
    (void)state;
    enum { POINTS = 4 };
    for (int point = 1; point <= POINTS; point++) {
        char number[8];
        int status = 0;
        snprintf(number, sizeof number, "%d", point);
        setenv("HOLDFAST_CRASHPOINT", number, 1);
        setenv("HOLDFAST_CRASHPOINT_ONLY", "agent.", 1);
        pid_t w1 = crew_hire(crew, "w1", 100);
        unsetenv("HOLDFAST_CRASHPOINT");
        unsetenv("HOLDFAST_CRASHPOINT_ONLY");
        uint64_t job = crew_job(crew, "probe", "s1", "answer");
        for (int tries = 0; tries < 200 && waitpid(w1, &status, WNOHANG) == 0; tries++) {
            crew_pump(crew);
            nap(50);
        }
        assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
        pid_t w2 = crew_hire(crew, "w2", 100);
        crew_until(crew, job, "state = 'completed'");
        assert_true(attempts(job) <= 2);
        crew_end(w2, SIGTERM);
    }
    fleet_settled(crew->fleet);
}

static int begin(void **state)
{
    (void)state;
    crew = crew_start("");
    return 0;
}

static int finish(void **state)
{
    (void)state;
    crew_stop(crew);
    return 0;
}

#define CASE(test) cmocka_unit_test_setup_teardown(test, begin, finish)

int main(int argc, char **argv)
{
    int status = 0;
    if (actor_main(argc, argv, &status))
        return status;
    const struct CMUnitTest tests[] = {
        CASE(garbage_in_the_list_stops_nothing),
        CASE(a_ticket_in_many_hands_is_one_attempt),
        CASE(emptying_redis_again_and_again_loses_no_job),
        CASE(without_redis_a_running_job_goes_on_and_is_acknowledged_later),
        CASE(a_worker_that_lacks_something_leaves_the_ticket_to_another),
        CASE(a_worker_drained_by_the_operator_takes_nothing),
        CASE(a_worker_killed_at_any_marked_point_costs_time_only),
    };
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
