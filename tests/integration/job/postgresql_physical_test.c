/* SPDX-License-Identifier: Apache-2.0
 * A whole cluster as a job: a base backup and its log into a sealed repository, and a server that
 * starts on what comes back. */
#include "common/base/json.h"
#include "tests/harness/stage.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

static int set_up(void **state)
{
    Stage *stage = stage_new("");
    char config[400], allow[300];
    postgres_do(stage->fleet->pg, "postgres", "postgres", "CREATE DATABASE shop");
    postgres_do(
        stage->fleet->pg, "postgres", "shop",
        "CREATE TABLE customer (id int PRIMARY KEY, name text);"
        "INSERT INTO customer SELECT n, 'customer ' || n FROM generate_series(1, 100000) n;"
        "CREATE TABLE sale (id bigserial PRIMARY KEY, customer int REFERENCES customer);"
        "INSERT INTO sale (customer) SELECT 1 + n % 20000 FROM generate_series(1, 50000) n");
    snprintf(config, sizeof config,
             "{\"host\":\"%s\",\"port\":%u,\"user\":\"postgres\",\"method\":\"physical\"}",
             postgres_socket(stage->fleet->pg), postgres_port(stage->fleet->pg));
    snprintf(allow, sizeof allow, "{read: {servers: [\"%s\"]}, restore: {paths: [\"%s\", \"%s\"]}}",
             postgres_socket(stage->fleet->pg),
             getenv("TMPDIR") == NULL ? "/tmp" : getenv("TMPDIR"), stage->tree->top);
    stage_config(stage, allow, "");
    stage_policy(stage, "postgresql", config, "");
    *state = stage;
    return 0;
}

static int tear_down(void **state)
{
    stage_free(*state);
    return 0;
}

static void dump(const Postgres *pg, const Stage *stage, const char *name)
{
    char conninfo[256];
    postgres_as(pg, "postgres", "shop", conninfo);
    file_tree_shell("pg_dump -d '%s' | grep -v '^.restrict\\|^.unrestrict' > %s/%s.sql", conninfo,
                    stage->tree->top, name);
}

/* Restores the newest backup, starts a server on it and compares. */
static void comes_back(Stage *stage)
{
    char params[400], id[UUID_TEXT];
    Postgres *copy = postgres_prepare(NULL);
    stage_backup(stage, id);
    snprintf(params, sizeof params, "{\"backup\":\"%s\",\"target\":{\"path\":\"%s\"}}", id,
             postgres_data(copy));
    stage_must(stage, "restore", params, "completed");
    file_tree_shell("%spg_verifybackup -q %s", postgres_binaries(copy), postgres_data(copy));
    postgres_again(copy);
    dump(stage->fleet->pg, stage, "a");
    dump(copy, stage, "b");
    file_tree_shell("test -s %s/a.sql && cmp %s/a.sql %s/b.sql", stage->tree->top, stage->tree->top,
                    stage->tree->top);
    postgres_stop(copy);
}

static void a_cluster_is_restored_as_it_was(void **state)
{
    Stage *stage = *state;
    stage_back_up(stage);
    comes_back(stage);
    assert_true(fleet_count(stage->fleet,
                            "SELECT count(*) FROM backup WHERE position LIKE 'LSN %timeline 1'") ==
                1);
    /* What keeps the log that a restore to a later instant begins with. */
    assert_true(fleet_count(stage->fleet, "SELECT count(*) FROM backup b, log_needs(b) n WHERE "
                                          "n.start_lsn < n.stop_lsn AND n.timeline = 1") == 1);
}

/* The catalogue is on the same server, so some pages do change; most do not. */
static void a_second_one_stores_what_changed(void **state)
{
    Stage *stage = *state;
    stage_back_up(stage);
    stage_back_up(stage);
    int64_t first =
        fleet_count(stage->fleet, "SELECT stored_bytes FROM backup ORDER BY id LIMIT 1");
    int64_t second =
        fleet_count(stage->fleet, "SELECT stored_bytes FROM backup ORDER BY id DESC LIMIT 1");
    assert_true(second < first / 3);
    comes_back(stage);
}

static void killed_in_the_middle_it_goes_on(void **state)
{
    Stage *stage = *state;
    StageEnd end;
    stage_killed(stage, "backup", "", "repo.packs_staged");
    stage_reap(stage);
    stage_again(stage, &end);
    assert_true(end.committed);
    stage_end_free(&end);
    comes_back(stage);
}

static void a_restore_is_planned_and_refused_where_it_may_not_go(void **state)
{
    Stage *stage = *state;
    StageEnd end;
    char params[400], id[UUID_TEXT];
    stage_back_up(stage);
    stage_backup(stage, id);
    snprintf(params, sizeof params,
             "{\"probe\":\"restore_plan\",\"backup\":\"%s\",\"target\":{\"path\":\"%s/new\"}}", id,
             stage->tree->top);
    stage_run(stage, "probe", params, &end);
    assert_string_equal(end.outcome, "completed");
    assert_true(json_is_true(json_object_get(end.answer, "creates")));
    assert_string_equal(json_string_value(json_object_get(end.answer, "method")), "physical");
    stage_end_free(&end);
    snprintf(params, sizeof params, "{\"backup\":\"%s\",\"target\":{\"path\":\"/etc/new\"}}", id);
    stage_run(stage, "restore", params, &end);
    assert_string_equal(end.cause, "not-allowed-here");
    stage_end_free(&end);
    /* A database's name is no place for a cluster. */
    snprintf(params, sizeof params, "{\"backup\":\"%s\",\"target\":{\"database\":\"new\"}}", id);
    stage_run(stage, "restore", params, &end);
    assert_string_not_equal(end.outcome, "completed");
    stage_end_free(&end);
    /* Nor is the directory of a server that runs. */
    snprintf(params, sizeof params, "{\"backup\":\"%s\",\"target\":{\"path\":\"%s\"}}", id,
             postgres_data(stage->fleet->pg));
    stage_run(stage, "restore", params, &end);
    assert_string_equal(end.cause, "target.running");
    stage_end_free(&end);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_cluster_is_restored_as_it_was),
        TEST(a_second_one_stores_what_changed),
        TEST(killed_in_the_middle_it_goes_on),
        TEST(a_restore_is_planned_and_refused_where_it_may_not_go),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
