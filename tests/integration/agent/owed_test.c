/* SPDX-License-Identifier: Apache-2.0
 * A backup that is stored whole is not lost at its COMMIT: not when the answer is lost, not when
 * its process or its whole worker is killed, not when PostgreSQL is away for longer than the lease.
 * It is one attempt, one backup, and what restores from it is equal. And what the worker program
 * does with its own file: limits of its children, and SIGHUP. */
#include "tests/harness/crew.h"
#include "tests/harness/stage.h"

#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

static Stage *stage;
static Crew *crew;
static char allow[256];

static void nap(long ms)
{
    struct timespec time = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};
    nanosleep(&time, NULL);
}

static void configure(const char *more)
{
    char lines[500];
    snprintf(lines, sizeof lines, "redis: %s\ndrain: 200ms\nkill_grace: 3s\n%s",
             redis_server_url(crew->redis), more);
    stage_config(stage, allow, lines);
}

static int begin(void **state)
{
    (void)state;
    stage = stage_new("");
    crew = crew_join(stage->fleet);
    snprintf(allow, sizeof allow,
             "{read: {paths: [%s]}, restore: {paths: [%s], with: [devices, setuid, security]}, "
             "hooks: [slow]}",
             stage->tree->top, stage->tree->top);
    configure("slots: 2\n");
    /* What the harness said hello as takes no tickets: nothing may count on it. */
    fleet_do(stage->fleet, "UPDATE worker_instance SET bye_at = clock_timestamp()");
    file_tree_shell("cd %s && mkdir d && head -c 3000000 /dev/urandom > d/big && echo x > d/small",
                    stage->tree->tree);
    return 0;
}

static int finish(void **state)
{
    (void)state;
    crew_leave(crew);
    stage_free(stage);
    return 0;
}

static uint64_t backup_job(void)
{
    JobCreated created;
    Err err = {0};
    JobRequest request = {.kind = TEXT("backup"),
                          .trigger = TEXT("manual"),
                          .source = TEXT("s1"),
                          .params = TEXT("{}"),
                          .actor = TEXT("test")};
    if (!catalog_job_create(stage->fleet->scheduler, &request, &created, &err))
        fail_msg("%s", err.text);
    return created.job;
}

/* A worker whose job child kills (or stops) itself at this point. */
static pid_t run_until(const char *crashpoint, bool stop)
{
    setenv("HOLDFAST_CRASHPOINT", "1", 1);
    setenv("HOLDFAST_CRASHPOINT_ONLY", crashpoint, 1);
    if (stop)
        setenv("HOLDFAST_CRASHPOINT_HOW", "stop", 1);
    pid_t pid = crew_run(stage->config);
    unsetenv("HOLDFAST_CRASHPOINT");
    unsetenv("HOLDFAST_CRASHPOINT_ONLY");
    unsetenv("HOLDFAST_CRASHPOINT_HOW");
    return pid;
}

static char state_of(pid_t pid)
{
    char path[64], state = '\0';
    snprintf(path, sizeof path, "/proc/%d/stat", pid);
    FILE *file = fopen(path, "re");
    if (file == NULL)
        return '\0';
    if (fscanf(file, "%*d %*s %c", &state) != 1)
        state = '\0';
    fclose(file);
    return state;
}

/* Pumps until the job child of this worker has stopped itself; its pid. */
static pid_t wait_stopped(pid_t worker)
{
    for (int tries = 0; tries < 600; tries++) {
        pid_t child = crew_child(worker);
        if (child != 0 && state_of(child) == 'T')
            return child;
        crew_pump(crew);
        nap(50);
    }
    fail_msg("the job never stopped");
    return 0;
}

static void assert_one_backup_that_restores(uint64_t job)
{
    assert_true(crew_holds(crew, job,
                           "state = 'completed' AND attempt = 1 AND losses = 0 AND "
                           "failures = 0"));
    assert_int_equal(fleet_count(stage->fleet, "SELECT count(*) FROM backup"), 1);
    file_tree_shell("test -z \"$(ls %s/commits)\"", stage->tree->top);
    crew->paused = true;
    fleet_worker_close(&stage->worker);
    stage->worker = fleet_worker(stage->fleet, "w1", true);
    stage_restore(stage, "");
    file_tree_assert_equal(stage->tree);
    fleet_settled(stage->fleet);
}

static void killed_at(const char *crashpoint)
{
    pid_t w1 = run_until(crashpoint, false);
    uint64_t job = backup_job();
    crew_until(crew, job, "state IN ('completed', 'failed') OR attempt > 1");
    /* The ticket's end follows the commit. */
    assert_int_equal(crew_end(w1, SIGTERM), 0);
    assert_one_backup_that_restores(job);
}

static void a_child_killed_before_its_commit_is_committed_by_its_parent(void **state)
{
    (void)state;
    killed_at("commit.before");
}

static void a_commit_whose_answer_was_lost_is_asked_for_again(void **state)
{
    (void)state;
    killed_at("commit.told");
    assert_int_equal(
        fleet_count(stage->fleet, "SELECT count(*) FROM backup WHERE marker_at IS NULL"),
        1); /* owed to the next write job, as ever */
}

static void a_commit_that_its_worker_took_to_the_grave_is_asked_for_at_its_next_start(void **state)
{
    (void)state;
    pid_t w1 = run_until("commit.before", true);
    uint64_t job = backup_job();
    (void)wait_stopped(w1);
    /* On disk, for nobody else to read, and without a secret. */
    file_tree_shell(
        "cd %s/commits && test \"$(ls | wc -l)\" = 1 && test \"$(stat -c %%a *)\" = 600 "
        "&& ! grep -qi password *",
        stage->tree->top);
    crew->paused = true;
    crew_end(w1, SIGKILL);
    w1 = crew_run(stage->config);
    crew_until(crew, job, "state = 'completed'");
    assert_int_equal(crew_end(w1, SIGTERM), 0);
    assert_one_backup_that_restores(job);
}

/* After the commit there is no lease any more, and a beat says so. The child is not at fault: it
 * writes the marker, and its hook takes its time. */
static void a_committed_backup_gets_its_marker_and_its_hook_whatever_the_beat_says(void **state)
{
    (void)state;
    file_tree_shell(
        "printf '#!/bin/sh\nsleep 3\necho \"$HOLDFAST_OUTCOME\" > %s/ran\n' > %s/slow && "
        "chmod 755 %s/slow",
        stage->tree->top, stage->hooks, stage->hooks);
    stage_policy(stage, "files", NULL, ",\"hooks\":{\"after\":{\"run\":\"slow\"}}");
    pid_t w1 = run_until("commit.after", true);
    uint64_t job = backup_job();
    pid_t child = wait_stopped(w1);
    assert_true(crew_holds(crew, job, "state = 'completed'"));
    nap(2500); /* several beats */
    assert_int_equal(state_of(child), 'T');
    assert_int_equal(
        fleet_count(stage->fleet, "SELECT count(*) FROM backup WHERE marker_at IS NULL"), 1);
    kill(child, SIGCONT);
    for (int tries = 0; tries < 200 && crew_child(w1) == child; tries++)
        nap(50);
    file_tree_shell("grep -qx completed %s/ran", stage->tree->top);
    assert_int_equal(
        fleet_count(stage->fleet, "SELECT count(*) FROM backup WHERE marker_at IS NULL"), 0);
    assert_int_equal(crew_end(w1, SIGTERM), 0);
    assert_one_backup_that_restores(job);
}

/* PostgreSQL is killed at COMMIT and away for longer than the lease, the worker is killed
 * meanwhile: whoever comes back last finds the backup where it was. */
static void postgresql_and_the_worker_killed_at_commit_lose_nothing(void **state)
{
    (void)state;
    pid_t w1 = run_until("commit.before", true);
    uint64_t job = backup_job();
    pid_t child = wait_stopped(w1);
    crew->paused = true;
    postgres_kill(stage->fleet->pg);
    kill(child, SIGCONT);
    nap(3000); /* the fleet's lease is two seconds */
    crew_end(w1, SIGKILL);
    w1 = crew_run(stage->config);
    nap(500);
    postgres_again(stage->fleet->pg);
    for (int tries = 0; tries < 100; tries++) {
        Err err = {0};
        if (catalog_reset(stage->fleet->admin, &err))
            break;
        nap(100);
    }
    stage_reconnect(stage);
    crew_until(crew, job, "state = 'completed'");
    assert_int_equal(crew_end(w1, SIGTERM), 0);
    assert_one_backup_that_restores(job);
}

/* The job was given to somebody else meanwhile: the note changes nothing. */
static void a_note_of_a_lost_attempt_is_fenced(void **state)
{
    (void)state;
    pid_t w1 = run_until("commit.before", true);
    uint64_t job = backup_job();
    (void)wait_stopped(w1);
    crew_end(w1, SIGKILL);
    crew_until(crew, job, "state IN ('pending', 'queued') AND losses = 1");
    w1 = crew_run(stage->config);
    crew_until(crew, job, "state = 'completed' AND attempt = 2");
    assert_int_equal(crew_end(w1, SIGTERM), 0);
    assert_int_equal(fleet_count(stage->fleet, "SELECT count(*) FROM backup"), 1);
    file_tree_shell("test -z \"$(ls %s/commits)\"", stage->tree->top);
}

/* Both processes asleep beyond the lease, as a host that was suspended: the job is somebody else's
 * when they wake, and nothing they do is seen. */
static void a_worker_that_slept_beyond_its_lease_stores_nothing_visible(void **state)
{
    char second[160];
    (void)state;
    snprintf(second, sizeof second, "%s.2", stage->config);
    file_tree_shell("sed 's/w1/w2/' %s > %s", stage->config, second);
    FleetWorker other = fleet_worker(stage->fleet, "w2", true);
    fleet_worker_close(&other);
    fleet_do(stage->fleet, "UPDATE worker_instance SET bye_at = clock_timestamp()");
    pid_t w1 = run_until("commit.before", true);
    uint64_t job = backup_job();
    pid_t child = wait_stopped(w1);
    kill(w1, SIGSTOP);
    crew_until(crew, job, "state IN ('pending', 'queued') AND losses = 1");
    kill(child, SIGCONT);
    for (int tries = 0; tries < 300 && state_of(child) != '\0' && state_of(child) != 'Z'; tries++)
        nap(50);
    assert_int_equal(fleet_count(stage->fleet, "SELECT count(*) FROM backup"), 0);
    assert_int_equal(fleet_count(stage->fleet, "SELECT count(*) FROM pack WHERE state <> 'staged'"),
                     0);
    pid_t w2 = crew_run(second);
    crew_until(crew, job, "state = 'completed' AND attempt = 2");
    kill(w1, SIGCONT);
    assert_int_equal(crew_end(w2, SIGTERM), 0);
    assert_int_equal(crew_end(w1, SIGTERM), 0);
    assert_int_equal(fleet_count(stage->fleet, "SELECT count(*) FROM backup WHERE attempt = 2"), 1);
}

/* --- the worker's own file ------------------------------------------------------------------ */

static void a_job_runs_within_the_limits_of_the_workers_file(void **state)
{
    (void)state;
    configure("limit_files: 333\nlimit_memory: 1500MiB\nlimit_file_size: 7GiB\n");
    pid_t w1 = run_until("backup.opened", true);
    uint64_t job = backup_job();
    pid_t child = wait_stopped(w1);
    file_tree_shell("f=/proc/%d/limits && grep -q 'open files *333 *333 ' $f && "
                    "grep -q 'data size *1572864000 *1572864000 ' $f && "
                    "grep -q 'file size *7516192768 *7516192768 ' $f && "
                    "grep -q 'core file size *0 *0 ' $f",
                    child);
    kill(child, SIGCONT);
    crew_until(crew, job, "state = 'completed'");
    assert_int_equal(crew_end(w1, SIGTERM), 0);
}

static void a_child_that_wants_too_much_memory_ends_only_its_own_attempt(void **state)
{
    (void)state;
    configure("limit_memory: 40MiB\n");
    pid_t w1 = crew_run(stage->config);
    uint64_t job = backup_job();
    crew_until(crew, job, "failures >= 1 OR state = 'failed'");
    assert_true(state_of(w1) != 'Z' && state_of(w1) != '\0');
    assert_int_equal(crew_end(w1, SIGTERM), 0);
    assert_int_equal(fleet_count(stage->fleet, "SELECT count(*) FROM backup"), 0);
}

static void until_true(const char *sql)
{
    for (int tries = 0; tries < 300; tries++) {
        if (fleet_count(stage->fleet, sql) > 0)
            return;
        nap(50);
    }
    fail_msg("never: %s", sql);
}

static void a_hangup_reads_the_file_again_and_names_what_needs_a_restart(void **state)
{
    static const char *const told =
        "SELECT count(*) FROM worker_instance WHERE bye_at IS NULL AND slots = %d";
    char sql[200], heard[160];
    (void)state;
    snprintf(heard, sizeof heard, "%s/heard", stage->tree->top);
    int stderr_was = dup(2);
    int to = open(heard, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    assert_true(to >= 0 && stderr_was >= 0 && dup2(to, 2) == 2);
    close(to);
    pid_t w1 = crew_run(stage->config);
    dup2(stderr_was, 2);
    snprintf(sql, sizeof sql, told, 2);
    until_true(sql);
    file_tree_shell("mkdir -p %s/credentials && echo x > %s/credentials/fresh", stage->tree->top,
                    stage->tree->top);
    configure("slots: 5\ntags: {zone: b}\n");
    kill(w1, SIGHUP);
    until_true("SELECT count(*) FROM worker_instance WHERE bye_at IS NULL AND slots = 5 AND "
               "facts->'tags'->>'zone' = 'b' AND facts->'credentials' ? 'fresh'");
    /* A name is for life; nothing of such a file is used. */
    configure("slots: 6\nredis_ca: /elsewhere\n");
    kill(w1, SIGHUP);
    file_tree_shell("for i in $(seq 300); do grep -q 'cause=worker.fixed' %s && break; sleep 0.1; "
                    "done; grep 'cause=worker.fixed' %s | grep -q redis_ca",
                    heard, heard);
    configure("slots: 0\n");
    kill(w1, SIGHUP);
    file_tree_shell("for i in $(seq 300); do grep -q 'cause=worker.slots' %s && break; sleep 0.1; "
                    "done; grep -q 'cause=worker.slots' %s",
                    heard, heard);
    snprintf(sql, sizeof sql, told, 5);
    until_true(sql);
    configure("slots: 3\n");
    kill(w1, SIGHUP);
    snprintf(sql, sizeof sql, told, 3);
    until_true(sql);
    assert_int_equal(crew_end(w1, SIGTERM), 0);
    close(stderr_was);
}

#define CASE(test) cmocka_unit_test_setup_teardown(test, begin, finish)

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        CASE(a_child_killed_before_its_commit_is_committed_by_its_parent),
        CASE(a_commit_whose_answer_was_lost_is_asked_for_again),
        CASE(a_commit_that_its_worker_took_to_the_grave_is_asked_for_at_its_next_start),
        CASE(a_committed_backup_gets_its_marker_and_its_hook_whatever_the_beat_says),
        CASE(postgresql_and_the_worker_killed_at_commit_lose_nothing),
        CASE(a_note_of_a_lost_attempt_is_fenced),
        CASE(a_worker_that_slept_beyond_its_lease_stores_nothing_visible),
        CASE(a_job_runs_within_the_limits_of_the_workers_file),
        CASE(a_child_that_wants_too_much_memory_ends_only_its_own_attempt),
        CASE(a_hangup_reads_the_file_again_and_names_what_needs_a_restart),
    };
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
