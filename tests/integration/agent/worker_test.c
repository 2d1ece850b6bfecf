/* SPDX-License-Identifier: Apache-2.0
 * The worker program itself, from the ticket to the bytes: a tree is backed up through Redis and
 * the catalogue, loses a worker to kill -9 on the way, and is restored as it was. */
#include "tests/harness/crew.h"
#include "tests/harness/stage.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <time.h>

#include <cmocka.h>

static Stage *stage;
static Crew *crew;
static char second[160];

static int begin(void **state)
{
    char more[160], allow[256];
    (void)state;
    stage = stage_new(",\"rate\":3000000");
    crew = crew_join(stage->fleet);
    snprintf(more, sizeof more, "redis: %s\nslots: 2\ndrain: 200ms\nkill_grace: 3s\n",
             redis_server_url(crew->redis));
    snprintf(allow, sizeof allow, "{read: {paths: [%s]}, restore: {paths: [%s]}}", stage->tree->top,
             stage->tree->top);
    stage_config(stage, allow, more);
    snprintf(second, sizeof second, "%s.2", stage->config);
    file_tree_shell("sed 's/w1/w2/' %s > %s", stage->config, second);
    FleetWorker other = fleet_worker(stage->fleet, "w2", true);
    fleet_worker_close(&other);
    fleet_settled(stage->fleet); /* each case waits for the end of all its jobs */
    /* What the harness said hello as takes no tickets: nothing may count on it. */
    fleet_do(stage->fleet, "UPDATE worker_instance SET bye_at = clock_timestamp()");
    file_tree_shell("cd %s && mkdir d && head -c 15000000 /dev/urandom > d/big && echo x > d/small "
                    "&& ln -s small d/link",
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

static uint64_t job(const char *kind, const char *params)
{
    JobCreated created;
    Err err = {0};
    JobRequest request = {.kind = text_of(kind),
                          .trigger = TEXT("manual"),
                          .source = TEXT("s1"),
                          .params = text_of(params),
                          .actor = TEXT("test")};
    if (!catalog_job_create(stage->fleet->scheduler, &request, &created, &err))
        fail_msg("%s", err.text);
    return created.job;
}

static void a_worker_killed_in_mid_backup_is_replaced_and_what_it_stored_is_kept(void **state)
{
    char params[300], id[UUID_TEXT], sql[200];
    (void)state;
    pid_t w1 = crew_run(stage->config);
    uint64_t backup = job("backup", "{}");
    crew_until(crew, backup,
               "EXISTS (SELECT FROM lease l WHERE l.job = job.id AND l.stored > 6000000)");
    crew_end(w1, SIGKILL);
    pid_t w2 = crew_run(second);
    crew_until(crew, backup, "state = 'completed' AND attempt = 2 AND losses = 1");
    stage_backup(stage, id);
    snprintf(params, sizeof params, "{\"backup\":\"%s\",\"target\":{\"path\":\"%s\"}}", id,
             stage->tree->out);
    uint64_t restore = job("restore", params);
    crew_until(crew, restore, "state = 'completed'");
    file_tree_shell("cmp %s%s/d/big %s/d/big", stage->tree->out, stage->tree->tree,
                    stage->tree->tree);
    snprintf(sql, sizeof sql,
             "SELECT count(*) FROM job_attempt WHERE job = %llu AND outcome = 'lost'",
             (unsigned long long)backup);
    assert_int_equal(fleet_count(stage->fleet, sql), 1);
    /* 15 MB that do not shrink, and not what the first attempt had stored once more. */
    assert_true(fleet_count(stage->fleet, "SELECT sum(bytes) FROM pack") < 16500000);
    assert_int_equal(crew_end(w2, SIGTERM), 0);
}

static void a_drained_worker_leaves_its_job_to_the_next_one(void **state)
{
    (void)state;
    pid_t w1 = crew_run(stage->config);
    uint64_t backup = job("backup", "{}");
    crew_until(crew, backup,
               "EXISTS (SELECT FROM lease l WHERE l.job = job.id AND l.bytes_done > 3000000)");
    assert_int_equal(crew_end(w1, SIGTERM), 0);
    assert_true(crew_holds(crew, backup, "state IN ('pending', 'queued') AND failures = 0"));
    pid_t w2 = crew_run(second);
    crew_until(crew, backup, "state = 'completed' AND attempt = 2 AND losses = 0");
    assert_int_equal(crew_end(w2, SIGTERM), 0);
}

static void what_the_workers_own_file_forbids_fails_by_name(void **state)
{
    char more[160];
    (void)state;
    snprintf(more, sizeof more, "redis: %s\n", redis_server_url(crew->redis));
    stage_config(stage, "{read: {paths: [/nowhere]}}", more);
    pid_t w1 = crew_run(stage->config);
    uint64_t backup = job("backup", "{}");
    crew_until(crew, backup, "state = 'failed' AND cause = 'not-allowed-here'");
    assert_int_equal(crew_end(w1, SIGTERM), 0);
}

#define CASE(test) cmocka_unit_test_setup_teardown(test, begin, finish)

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        CASE(a_worker_killed_in_mid_backup_is_replaced_and_what_it_stored_is_kept),
        CASE(a_drained_worker_leaves_its_job_to_the_next_one),
        CASE(what_the_workers_own_file_forbids_fails_by_name),
    };
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
