/* SPDX-License-Identifier: Apache-2.0
 * holdfast-scheduler as processes: killed at its crash points, stopped and woken, refused at start.
 * Tickets are never pushed again for their age here, so that what is found was repaired at once. */
#include "tests/harness/fleet.h"
#include "tests/harness/redis.h"

#include <fcntl.h>
#include <hiredis/hiredis.h>
#include <inttypes.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

enum { SOURCES = 12, SLOTS = 20, MOST = 4 };

typedef struct Plant {
    Fleet *fleet;
    RedisServer *redis;
    FleetWorker worker; /* alive and fit for everything: else nothing is dispatched */
    uint32_t pool;
    char directory[64];
    pid_t pids[MOST];
    unsigned count;
    char log[65536];
} Plant;

static void nap(int ms)
{
    nanosleep(&(struct timespec){.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000L}, NULL);
}

static RedisServer *start_redis(const char *policy)
{
    RedisServerParams params = {0};
    if (policy != NULL) {
        params.options[0] = "--maxmemory-policy";
        params.options[1] = policy;
    }
    return redis_server_start(&params);
}

static int set_up(void **state)
{
    Plant *plant = calloc(1, sizeof *plant);
    plant->fleet = fleet_start();
    plant->redis = start_redis(NULL);
    fleet_policy(plant->fleet, SOURCES, "");
    fleet_do(plant->fleet,
             "UPDATE schedule SET at = '* * * * *', catch_up = true, "
             "start_deadline_s = NULL, last_slot = clock_timestamp() + interval '1 hour'");
    plant->worker = fleet_worker(plant->fleet, "w1", true);
    fleet_do(plant->fleet, "UPDATE setting SET value = 86400 WHERE name IN ('liveness_s', "
                           "'requeue_s', 'requeue_force_s')");
    fleet_do(plant->fleet, "UPDATE setting SET value = 5 WHERE name = 'leader_s'");
    plant->pool = (uint32_t)fleet_count(plant->fleet, "SELECT no FROM pool WHERE name = 'fra'");
    snprintf(plant->directory, sizeof plant->directory, "/tmp/hf-process.XXXXXX");
    assert_non_null(mkdtemp(plant->directory));
    *state = plant;
    return 0;
}

static void kill_scheduler(Plant *plant, unsigned i)
{
    if (plant->pids[i] == 0)
        return;
    kill(plant->pids[i], SIGKILL);
    waitpid(plant->pids[i], NULL, 0);
    plant->pids[i] = 0;
}

static int tear_down(void **state)
{
    Plant *plant = *state;
    char path[128];
    for (unsigned i = 0; i < plant->count; i++) {
        kill_scheduler(plant, i);
        snprintf(path, sizeof path, "%s/%u.log", plant->directory, i);
        unlink(path);
    }
    snprintf(path, sizeof path, "%s/scheduler.yaml", plant->directory);
    unlink(path);
    rmdir(plant->directory);
    fleet_worker_close(&plant->worker);
    fleet_stop(plant->fleet);
    redis_server_stop(plant->redis);
    free(plant);
    return 0;
}

static void exec_scheduler(const char *config, const char *log, const char *crashpoint)
{
    char self[512], program[600];
    ssize_t len = readlink("/proc/self/exe", self, sizeof self - 1);
    int fd = open(log, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (len <= 0 || fd < 0)
        _exit(99);
    self[len] = 0;
    *strrchr(self, '/') = 0; /* build/tests */
    snprintf(program, sizeof program, "%s/../holdfast-scheduler", self);
    dup2(fd, 1);
    dup2(fd, 2);
    if (crashpoint != NULL) {
        setenv("HOLDFAST_CRASHPOINT", "1", 1);
        setenv("HOLDFAST_CRASHPOINT_ONLY", crashpoint, 1);
    }
    execl(program, "holdfast-scheduler", "--config", config, (char *)NULL);
    _exit(99);
}

/* more: lines of scheduler.yaml. The number of the process. */
static unsigned start(Plant *plant, const char *redis, const char *more, const char *crashpoint)
{
    char config[128], log[128], conninfo[256];
    unsigned i = plant->count++;
    assert_true(i < MOST);
    snprintf(config, sizeof config, "%s/scheduler.yaml", plant->directory);
    snprintf(log, sizeof log, "%s/%u.log", plant->directory, i);
    postgres_as(plant->fleet->pg, "holdfast_scheduler", "postgres", conninfo);
    FILE *file = fopen(config, "w");
    assert_non_null(file);
    fprintf(file, "catalogue: \"%s\"\nredis: \"%s\"\nlisten: 127.0.0.1:0\n%s", conninfo, redis,
            more);
    fclose(file);
    plant->pids[i] = fork();
    if (plant->pids[i] == 0)
        exec_scheduler(config, log, crashpoint);
    return i;
}

static unsigned start_plain(Plant *plant, const char *crashpoint)
{
    return start(plant, redis_server_url(plant->redis), "", crashpoint);
}

static const char *log_of(Plant *plant, unsigned i)
{
    char path[128];
    snprintf(path, sizeof path, "%s/%u.log", plant->directory, i);
    FILE *file = fopen(path, "r");
    size_t len = file == NULL ? 0 : fread(plant->log, 1, sizeof plant->log - 1, file);
    plant->log[len] = 0;
    if (file != NULL)
        fclose(file);
    return plant->log;
}

static void until_said(Plant *plant, unsigned i, const char *words)
{
    for (int tries = 0; tries < 1200; tries++) {
        if (strstr(log_of(plant, i), words) != NULL)
            return;
        nap(50);
    }
    fail_msg("scheduler %u never said %s: %s", i, words, plant->log);
}

/* Waits for its end by itself; as waitpid says. */
static int until_over(Plant *plant, unsigned i)
{
    int status = 0;
    for (int tries = 0; tries < 1200; tries++) {
        if (waitpid(plant->pids[i], &status, WNOHANG) == plant->pids[i]) {
            plant->pids[i] = 0;
            return status;
        }
        nap(50);
    }
    fail_msg("scheduler %u goes on: %s", i, log_of(plant, i));
    return 0;
}

static void assert_refused(Plant *plant, unsigned i, int code, const char *cause, const char *next)
{
    int status = until_over(plant, i);
    const char *said = log_of(plant, i);
    if (!WIFEXITED(status) || WEXITSTATUS(status) != code || strstr(said, cause) == NULL ||
        strstr(said, next) == NULL)
        fail_msg("status %d, not %d with %s and %s: %s", status, code, cause, next, said);
}

static void until(Plant *plant, const char *sql, int64_t wanted)
{
    int64_t have = 0;
    for (int tries = 0; tries < 1200; tries++) {
        have = fleet_count(plant->fleet, sql);
        if (have == wanted)
            return;
        nap(50);
    }
    fail_msg("%s: %" PRId64 ", not %" PRId64, sql, have, wanted);
}

/* --- what is owed, and what came of it ------------------------------------------------------- */

static int64_t owe_slots(Plant *plant)
{
    char out[512];
    fleet_ask(plant->fleet,
              "UPDATE schedule SET last_slot = date_trunc('minute', clock_timestamp()) - interval "
              "'20 minutes'; "
              "SELECT extract(epoch FROM date_trunc('minute', clock_timestamp()))::bigint",
              out);
    return strtoll(out, NULL, 10) - (SLOTS - 1) * 60;
}

/* Each slot owed has one job, the newest of a source ran or is to run. */
static void assert_slots_once(Plant *plant, int64_t first)
{
    char sql[400];
    snprintf(sql, sizeof sql,
             "SELECT count(*) FROM job WHERE slot BETWEEN to_timestamp(%" PRId64
             ") AND to_timestamp(%" PRId64 ")",
             first, first + (SLOTS - 1) * 60);
    until(plant, sql, SOURCES * SLOTS);
    snprintf(sql, sizeof sql,
             "SELECT count(DISTINCT (source, slot)) FROM job WHERE slot BETWEEN "
             "to_timestamp(%" PRId64 ") AND to_timestamp(%" PRId64 ")",
             first, first + (SLOTS - 1) * 60);
    assert_int_equal(fleet_count(plant->fleet, sql), SOURCES * SLOTS);
}

static redisReply *tickets(const Plant *plant)
{
    redisContext *c = redisConnect("127.0.0.1", redis_server_port(plant->redis));
    redisReply *reply = NULL;
    if (c != NULL && c->err == 0)
        reply = redisCommand(c, "LRANGE hf:{p%u}:ready 0 -1", plant->pool);
    redisFree(c);
    return reply;
}

/* One ticket for each queued job, and no two alike. */
static void until_tickets_once(const Plant *plant, size_t wanted)
{
    size_t have = 0;
    for (int tries = 0; tries < 1200; tries++) {
        redisReply *reply = tickets(plant);
        have = reply == NULL ? 0 : reply->elements;
        for (size_t i = 0; have == wanted && i < have; i++)
            for (size_t j = i + 1; j < have; j++)
                assert_string_not_equal(reply->element[i]->str, reply->element[j]->str);
        freeReplyObject(reply);
        if (have == wanted)
            return;
        nap(50);
    }
    fail_msg("%zu tickets, not %zu", have, wanted);
}

/* --- crash points ---------------------------------------------------------------------------- */

static void killed_at(Plant *plant, const char *point)
{
    int64_t first = owe_slots(plant);
    unsigned i = start_plain(plant, point);
    int status = until_over(plant, i);
    if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGKILL)
        fail_msg("%s was not passed: %s", point, log_of(plant, i));
    start_plain(plant, NULL);
    assert_slots_once(plant, first);
    until(plant, "SELECT count(DISTINCT source) FROM job WHERE state = 'queued'", SOURCES);
    until_tickets_once(plant, SOURCES);
    assert_int_equal(fleet_count(plant->fleet, "SELECT count(*) FROM job WHERE dispatch > 1"), 0);
}

#define KILLED(name, point)                                                                        \
    static void name(void **state)                                                                 \
    {                                                                                              \
        killed_at(*state, point);                                                                  \
    }
KILLED(a_kill_before_the_slots_are_fired_loses_none, "scheduler.fire.before")
KILLED(a_kill_after_the_slots_are_fired_doubles_none, "scheduler.fire.after")
KILLED(a_kill_before_jobs_are_picked_loses_none, "scheduler.dispatch.before")
KILLED(tickets_picked_and_not_pushed_come_with_the_next_leader, "scheduler.dispatch.picked")
KILLED(tickets_pushed_before_a_kill_are_not_doubled, "scheduler.dispatch.pushed")
KILLED(a_kill_between_two_generations_is_mended, "scheduler.dispatch.renewed")

/* --- leaders --------------------------------------------------------------------------------- */

static void a_leader_that_slept_wakes_up_to_another_ones_term(void **state)
{
    Plant *plant = *state;
    unsigned first = start_plain(plant, NULL);
    until_said(plant, first, "leads=true");
    int64_t term = fleet_count(plant->fleet, "SELECT term FROM leader");
    unsigned second = start_plain(plant, NULL);
    until_said(plant, second, "scheduler.started");
    kill(plant->pids[first], SIGSTOP);
    until_said(plant, second, "leads=true");
    assert_true(fleet_count(plant->fleet, "SELECT term FROM leader") > term);
    term = fleet_count(plant->fleet, "SELECT term FROM leader");
    int64_t owed = owe_slots(plant);
    until_tickets_once(plant, SOURCES);
    fleet_do(plant->fleet, "UPDATE setting SET value = 60 WHERE name = 'leader_s'");
    until(plant,
          "SELECT count(*) FROM leader WHERE expires_at > clock_timestamp() + interval '20 s'", 1);
    kill(plant->pids[first], SIGCONT);
    until_said(plant, first, "leads=false");
    assert_slots_once(plant, owed);
    assert_null(strstr(log_of(plant, first), "slot.fired"));
    assert_int_equal(fleet_count(plant->fleet, "SELECT term FROM leader"), term);
    until_tickets_once(plant, SOURCES);
    kill_scheduler(plant, second);
    fleet_do(plant->fleet, "UPDATE leader SET expires_at = clock_timestamp()");
    until(plant, "SELECT count(*) FROM leader WHERE expires_at > clock_timestamp()", 1);
    assert_true(fleet_count(plant->fleet, "SELECT term FROM leader") > term);
    until_tickets_once(plant, SOURCES);
}

static void a_scheduler_outlives_its_catalogue_and_its_redis(void **state)
{
    Plant *plant = *state;
    unsigned i = start_plain(plant, NULL);
    until_said(plant, i, "leads=true");
    postgres_kill(plant->fleet->pg);
    until_said(plant, i, "leads=false"); /* whoever cannot ask does not lead */
    redis_server_kill(plant->redis);
    postgres_again(plant->fleet->pg);
    int64_t owed = owe_slots(plant);
    assert_slots_once(plant, owed);
    redis_server_again(plant->redis);
    until_tickets_once(plant, SOURCES);
    assert_int_equal(waitpid(plant->pids[i], NULL, WNOHANG), 0);
}

/* --- refused at start ------------------------------------------------------------------------ */

static void a_redis_that_evicts_is_refused(void **state)
{
    Plant *plant = *state;
    redis_server_stop(plant->redis);
    plant->redis = start_redis("allkeys-lru");
    assert_refused(plant, start_plain(plant, NULL), 6, "queue.eviction", "noeviction");
}

static void a_redis_that_wants_a_password_is_refused(void **state)
{
    Plant *plant = *state;
    redis_server_stop(plant->redis);
    plant->redis = redis_server_start(&(RedisServerParams){.password = "sesame"});
    assert_refused(plant, start_plain(plant, NULL), 4, "queue.denied", "redis_password");
}

/* Slots are fired without it, and its name stands in the log. */
static void a_redis_that_is_away_at_the_start_is_named_and_waited_for(void **state)
{
    Plant *plant = *state;
    redis_server_kill(plant->redis);
    int64_t owed = owe_slots(plant);
    unsigned i = start_plain(plant, NULL);
    until_said(plant, i, "redis.waiting");
    assert_slots_once(plant, owed);
    redis_server_again(plant->redis);
    until_tickets_once(plant, SOURCES);
}

static void a_schema_newer_than_the_program_is_refused(void **state)
{
    Plant *plant = *state;
    fleet_do(plant->fleet, "INSERT INTO schema_version SELECT (jsonb_populate_record(v, "
                           "'{\"number\": 9999}')).* FROM schema_version v LIMIT 1");
    assert_refused(plant, start_plain(plant, NULL), 6, "catalogue.newer", "newer");
}

static void a_wrong_password_of_the_catalogue_is_refused(void **state)
{
    Plant *plant = *state;
    char hba[512], sql[900], path[128], more[200];
    fleet_do(plant->fleet, "ALTER ROLE holdfast_scheduler LOGIN PASSWORD 'right'");
    fleet_ask(plant->fleet, "SELECT current_setting('hba_file')", hba);
    snprintf(sql, sizeof sql,
             "COPY (VALUES ('local all holdfast_scheduler scram-sha-256'), ('local all all trust'))"
             " TO '%s'",
             hba);
    fleet_do(plant->fleet, sql);
    fleet_do(plant->fleet, "SELECT pg_reload_conf()");
    nap(500);
    assert_refused(plant, start_plain(plant, NULL), 4, "catalogue.login", "check role, password");
    snprintf(path, sizeof path, "%s/secret", plant->directory);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs("wrong\n", file);
    fclose(file);
    chmod(path, 0600);
    snprintf(more, sizeof more, "catalogue_password: {file: %s}\n", path);
    unsigned i = start(plant, redis_server_url(plant->redis), more, NULL);
    assert_refused(plant, i, 4, "catalogue.login", "check role, password");
    unlink(path);
}

#define CASE(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        CASE(a_kill_before_the_slots_are_fired_loses_none),
        CASE(a_kill_after_the_slots_are_fired_doubles_none),
        CASE(a_kill_before_jobs_are_picked_loses_none),
        CASE(tickets_picked_and_not_pushed_come_with_the_next_leader),
        CASE(tickets_pushed_before_a_kill_are_not_doubled),
        CASE(a_kill_between_two_generations_is_mended),
        CASE(a_leader_that_slept_wakes_up_to_another_ones_term),
        CASE(a_scheduler_outlives_its_catalogue_and_its_redis),
        CASE(a_redis_that_evicts_is_refused),
        CASE(a_redis_that_wants_a_password_is_refused),
        CASE(a_redis_that_is_away_at_the_start_is_named_and_waited_for),
        CASE(a_schema_newer_than_the_program_is_refused),
        CASE(a_wrong_password_of_the_catalogue_is_refused),
    };
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
