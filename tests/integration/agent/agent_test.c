/* SPDX-License-Identifier: Apache-2.0
 * Worker parents under faults, against a real catalogue and a real Redis. */
#include "common/catalog/catalog_policy.h"
#include "tests/harness/file_tree.h"
#include "tests/integration/agent/actor.h"

/* --- tests ---------------------------------------------------------------------------------- */

static Crew *crew;
static char cleaned[160];

static bool is(uint64_t job, const char *condition)
{
    return crew_holds(crew, job, condition);
}

static bool attempt_is(uint64_t job, const char *condition)
{
    char sql[256];
    snprintf(sql, sizeof sql, "SELECT count(*) FROM job_attempt WHERE job = %llu AND (%s)",
             (unsigned long long)job, condition);
    return fleet_count(crew->fleet, sql) > 0;
}

static pid_t child_of(pid_t parent)
{
    for (int tries = 0; tries < 200; tries++) {
        pid_t child = crew_child(parent);
        if (child != 0)
            return child;
        nap(20);
    }
    fail_msg("no child of %d", parent);
    return 0;
}

/* Ended; perhaps nobody has reaped it yet. */
static bool gone(pid_t pid)
{
    char path[64], state = 'Z';
    snprintf(path, sizeof path, "/proc/%d/stat", pid);
    FILE *file = fopen(path, "re");
    if (file == NULL)
        return true;
    if (fscanf(file, "%*d (%*[^)]) %c", &state) != 1)
        state = 'Z';
    fclose(file);
    return state == 'Z' || state == 'X';
}

static void a_job_is_claimed_run_and_answered(void **state)
{
    (void)state;
    pid_t w1 = crew_hire(crew, "w1", 100);
    uint64_t job = crew_job(crew, "probe", "s1", "answer");
    crew_until(crew, job, "state = 'completed'");
    char sql[160];
    snprintf(sql, sizeof sql,
             "SELECT count(*) FROM job_log WHERE job = %llu AND event = 'test.line'",
             (unsigned long long)job);
    assert_int_equal(fleet_count(crew->fleet, sql), 1);
    assert_int_equal(crew_end(w1, SIGTERM), 0);
    fleet_settled(crew->fleet);
}

static void a_failure_is_told_with_its_cause(void **state)
{
    (void)state;
    pid_t w1 = crew_hire(crew, "w1", 100);
    uint64_t job = crew_job(crew, "backup", "s1", "fail");
    crew_until(crew, job, "state = 'failed'");
    assert_true(attempt_is(job, "cause = 'test.failed'"));
    crew_end(w1, SIGTERM);
    fleet_settled(crew->fleet);
}

static void a_verdict_that_the_catalogue_refuses_is_a_failure(void **state)
{
    (void)state;
    pid_t w1 = crew_hire(crew, "w1", 100);
    uint64_t job = crew_job(crew, "probe", "s1", "no-json");
    crew_until(crew, job, "state = 'failed'");
    /* A backup is completed by its commit alone. */
    job = crew_job(crew, "backup", "s1", "answer");
    crew_until(crew, job, "state = 'failed'");
    crew_end(w1, SIGTERM);
    fleet_settled(crew->fleet);
}

static void progress_reaches_the_catalogue_within_a_second(void **state)
{
    (void)state;
    pid_t w1 = crew_hire(crew, "w1", 100);
    uint64_t job = crew_job(crew, "backup", "s1", "work");
    crew_until(crew, job, "state = 'running'");
    nap(1500);
    char sql[160];
    snprintf(sql, sizeof sql, "SELECT count(*) FROM lease WHERE job = %llu AND bytes_done > 5",
             (unsigned long long)job);
    assert_int_equal(fleet_count(crew->fleet, sql), 1);
    crew_end(w1, SIGTERM);
    assert_true(is(job, "state IN ('pending','queued')"));
}

static void a_child_killed_is_a_failure_that_names_the_signal(void **state)
{
    (void)state;
    pid_t w1 = crew_hire(crew, "w1", 100);
    uint64_t job = crew_job(crew, "backup", "s1", "work");
    /* It is itself, and not a process that was just forked. */
    crew_until(crew, job, "EXISTS (SELECT FROM lease l WHERE l.job = id AND l.bytes_done > 0)");
    kill(child_of(w1), SIGKILL);
    crew_until(crew, job, "failures = 1");
    assert_true(attempt_is(job, "error LIKE '%signal 9 (KILL)%'"));
    crew_until(crew, job, "state = 'running' AND attempt = 2");
    crew_end(w1, SIGTERM);
}

static void a_parent_killed_is_replaced_by_another_worker(void **state)
{
    (void)state;
    pid_t w1 = crew_hire(crew, "w1", 100);
    /* Neither reads nor writes its pipes: only the kernel can tell it. */
    uint64_t job = crew_job(crew, "backup", "s1", "deaf");
    crew_until(crew, job, "state = 'running'");
    pid_t child = child_of(w1);
    nap(300); /* until it is itself: a child that was just forked ends with its parent anyway */
    crew_end(w1, SIGKILL);
    for (int tries = 0; tries < 100 && !gone(child); tries++)
        nap(20);
    assert_true(gone(child)); /* with its parent */
    pid_t w2 = crew_hire(crew, "w2", 100);
    crew_until(crew, job, "state = 'running' AND attempt = 2");
    assert_true(is(job, "losses = 1 AND failures = 0"));
    crew_end(w2, SIGTERM);
}

static void a_parent_stopped_beyond_its_lease_is_fenced_and_kills_its_child(void **state)
{
    (void)state;
    pid_t w1 = crew_hire(crew, "w1", 100);
    uint64_t job = crew_job(crew, "backup", "s1", "work");
    crew_until(crew, job, "state = 'running'");
    pid_t child = child_of(w1);
    kill(w1, SIGSTOP);
    pid_t w2 = crew_hire(crew, "w2", 100);
    crew_until(crew, job, "state = 'running' AND attempt = 2");
    assert_false(gone(child));
    kill(w1, SIGCONT);
    for (int tries = 0; tries < 100 && crew_child(w1) == child; tries++)
        nap(50);
    assert_int_not_equal(crew_child(w1), child);
    assert_true(is(job, "state = 'running' AND attempt = 2"));
    crew_end(w1, SIGTERM);
    crew_end(w2, SIGTERM);
}

/* Somebody else ended the lease long before its time: the next beat tells, and the child is killed
 * then, not when the worker's own clock would say so. */
static void a_lease_that_is_gone_early_ends_the_child_with_the_next_beat(void **state)
{
    Err err = {0};
    (void)state;
    assert_true(catalog_setting_set(crew->fleet->scheduler, TEXT("lease_s"), 120, &err));
    pid_t w1 = crew_hire(crew, "w1", 100);
    uint64_t job = crew_job(crew, "backup", "s1", "work");
    crew_until(crew, job, "state = 'running'");
    pid_t child = child_of(w1);
    fleet_do(crew->fleet, "SELECT job_end(j, 'lost', NULL, NULL, NULL, true) FROM job j WHERE "
                          "state = 'running'");
    for (int tries = 0; tries < 1000 && !gone(child); tries++)
        nap(20);
    assert_true(gone(child));
    crew_end(w1, SIGTERM);
    assert_true(catalog_setting_set(crew->fleet->scheduler, TEXT("lease_s"), 2, &err));
}

static void catalogue_again(void)
{
    Err err = {0};
    postgres_again(crew->fleet->pg);
    for (int tries = 0; tries < 50 && !catalog_reset(crew->fleet->scheduler, &err); tries++)
        nap(100);
}

/* Redis has no blocked client, for longer than lies between two waits of one worker. */
static void nobody_waits_for_tickets(void)
{
    file_tree_shell("free=0; for i in $(seq 600); do "
                    "redis-cli -p %u info clients | grep -q '^blocked_clients:0' && "
                    "free=$((free + 1)) || free=0; [ $free -lt 20 ] || exit 0; sleep 0.05; done; "
                    "exit 1",
                    redis_server_port(crew->redis));
}

static void without_the_catalogue_running_jobs_go_on_and_tickets_stay_takeable(void **state)
{
    (void)state;
    pid_t w1 = crew_hire(crew, "w1", 100);
    uint64_t job = crew_job(crew, "backup", "s1", "work");
    crew_until(crew, job, "state = 'running'");
    uint64_t next = crew_job(crew, "probe", "s2", "answer");
    Err err = {0};
    TicketList list;
    uint64_t depth = 0;
    assert_true(catalog_dispatch_pick(crew->fleet->scheduler, crew->pool, 10, &list, &err));
    assert_int_equal(list.count, 1);
    pid_t child = child_of(w1);
    postgres_kill(crew->fleet->pg);
    nobody_waits_for_tickets();
    Uuid generation;
    bool present = false, lost = false;
    size_t pushed = 0;
    Ticket ticket = {.job = next, .dispatch = list.rows[0].dispatch, .kind = "probe"};
    assert_true(queue_generation(crew->queue, crew->pool, &generation, &present, &err));
    assert_true(
        queue_push(crew->queue, crew->pool, &generation, false, &ticket, 1, &pushed, &lost, &err));
    nap(1000);
    assert_true(queue_depth(crew->queue, crew->pool, &depth, &err));
    assert_int_equal(depth, 1); /* the breaker is open */
    assert_int_equal(crew_child(w1), child);
    catalog_tickets_free(&list);
    catalogue_again();
    crew->paused = true; /* nobody reaps: the worker alone must find its way back */
    crew_until(crew, next, "state = 'completed'");
    assert_true(is(job, "state = 'running' AND attempt = 1"));
    crew->paused = false;
    assert_int_equal(crew_child(w1), child);
    crew_end(w1, SIGTERM);
}

static void cancel_reaches_the_child(void **state)
{
    Err err = {0};
    char now[16];
    (void)state;
    pid_t w1 = crew_hire(crew, "w1", 100);
    uint64_t job = crew_job(crew, "backup", "s1", "work");
    uint64_t deaf = crew_job(crew, "backup", "s2", "deaf");
    crew_until(crew, job, "state = 'running'");
    crew_until(crew, deaf, "state = 'running'");
    assert_true(catalog_job_cancel(crew->fleet->scheduler, job, TEXT("t"), TEXT("t"), now, &err));
    assert_true(catalog_job_cancel(crew->fleet->scheduler, deaf, TEXT("t"), TEXT("t"), now, &err));
    crew_until(crew, job, "state = 'cancelled'");
    crew_until(crew, deaf, "state = 'cancelled'"); /* killed: it does not listen */
    crew_end(w1, SIGTERM);
    fleet_settled(crew->fleet);
}

static void a_stalled_job_is_stopped_and_says_so(void **state)
{
    (void)state;
    pid_t w1 = crew_hire(crew, "w1", 100);
    uint64_t job = crew_job(crew, "backup", "s4", "stall");
    crew_until(crew, job, "failures >= 1");
    assert_true(attempt_is(job, "cause = 'job.stalled'"));
    crew_end(w1, SIGTERM);
}

static void draining_releases_without_counting_a_failure(void **state)
{
    (void)state;
    pid_t w1 = crew_hire(crew, "w1", 60000);
    uint64_t job = crew_job(crew, "backup", "s1", "work");
    crew_until(crew, job, "state = 'running'");
    kill(w1, SIGTERM);
    nap(600);
    assert_int_equal(waitpid(w1, NULL, WNOHANG), 0); /* it waits for the job */
    assert_true(is(job, "state = 'running'"));
    assert_int_equal(crew_end(w1, SIGTERM), 0); /* the second one does not */
    assert_true(is(job, "state IN ('pending','queued') AND failures = 0 AND losses = 0"));
}

/* It has nothing to ask the catalogue: that it is away is seen by the beats alone. */
static void an_idle_worker_that_cannot_beat_asks_for_no_ticket(void **state)
{
    (void)state;
    pid_t w1 = crew_hire(crew, "w1", 100);
    crew_until(crew, crew_job(crew, "probe", "s1", "answer"), "state = 'completed'");
    postgres_kill(crew->fleet->pg);
    nobody_waits_for_tickets();
    catalogue_again();
    crew_until(crew, crew_job(crew, "probe", "s1", "answer"), "state = 'completed'");
    assert_int_equal(crew_end(w1, SIGTERM), 0);
    fleet_settled(crew->fleet);
}

static void a_stop_does_not_wait_for_a_catalogue_that_is_away(void **state)
{
    int status = 1;
    (void)state;
    pid_t w1 = crew_hire(crew, "w1", 100);
    uint64_t job = crew_job(crew, "backup", "s1", "work");
    crew_until(crew, job, "state = 'running'");
    postgres_kill(crew->fleet->pg);
    kill(w1, SIGTERM);
    for (int tries = 0; tries < 150 && waitpid(w1, &status, WNOHANG) == 0; tries++)
        nap(100);
    assert_int_equal(status, 0);
    postgres_again(crew->fleet->pg);
}

static void a_hook_marked_always_runs_when_child_or_worker_was_killed(void **state)
{
    (void)state;
    remove(cleaned);
    pid_t w1 = crew_hire(crew, "w1", 100);
    uint64_t job = crew_job(crew, "backup", "s1", "crash");
    crew_until(crew, job, "failures >= 1");
    assert_int_equal(access(cleaned, F_OK), 0);
    crew_end(w1, SIGTERM);
    remove(cleaned);
    job = crew_job(crew, "backup", "s2", "work");
    w1 = crew_hire(crew, "w1", 100);
    crew_until(crew, job, "state = 'running'");
    (void)child_of(w1);
    crew_end(w1, SIGKILL);
    crew->paused = true;
    pid_t w2 = crew_hire(crew, "w2", 100);
    for (int tries = 0; tries < 100 && access(cleaned, F_OK) != 0; tries++)
        nap(50);
    assert_int_equal(access(cleaned, F_OK), 0);
    crew->paused = false;
    crew_end(w2, SIGTERM);
}

static int begin(void **state)
{
    (void)state;
    crew = crew_start(",\"stall_s\":3,\"hooks\":{\"after\":{\"run\":\"x\",\"always\":true}}");
    snprintf(cleaned, sizeof cleaned, "%s/cleaned", crew->dir);
    setenv("HOLDFAST_TEST_CLEANED", cleaned, 1);
    setenv("HOLDFAST_REDIS_PASSWORD", "canary", 1);
    setenv("AWS_SECRET_ACCESS_KEY", "canary", 1);
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
        CASE(a_job_is_claimed_run_and_answered),
        CASE(a_failure_is_told_with_its_cause),
        CASE(a_verdict_that_the_catalogue_refuses_is_a_failure),
        CASE(progress_reaches_the_catalogue_within_a_second),
        CASE(a_child_killed_is_a_failure_that_names_the_signal),
        CASE(a_parent_killed_is_replaced_by_another_worker),
        CASE(a_parent_stopped_beyond_its_lease_is_fenced_and_kills_its_child),
        CASE(a_lease_that_is_gone_early_ends_the_child_with_the_next_beat),
        CASE(without_the_catalogue_running_jobs_go_on_and_tickets_stay_takeable),
        CASE(cancel_reaches_the_child),
        CASE(a_stalled_job_is_stopped_and_says_so),
        CASE(draining_releases_without_counting_a_failure),
        CASE(an_idle_worker_that_cannot_beat_asks_for_no_ticket),
        CASE(a_stop_does_not_wait_for_a_catalogue_that_is_away),
        CASE(a_hook_marked_always_runs_when_child_or_worker_was_killed),
    };
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
