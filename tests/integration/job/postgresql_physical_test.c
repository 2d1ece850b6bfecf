/* SPDX-License-Identifier: Apache-2.0
 * A whole cluster as a job: a base backup and its log into a sealed repository, and a server that
 * starts on what comes back. */
#include "common/base/json.h"
#include "common/catalog/catalog_policy.h"
#include "tests/harness/stage.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static void use_cluster(Stage *stage, const Postgres *pg, const char *extra)
{
    char config[400];
    snprintf(config, sizeof config,
             "{\"host\":\"%s\",\"port\":%u,\"user\":\"postgres\",\"method\":\"physical\"}",
             postgres_socket(pg), postgres_port(pg));
    stage_policy(stage, "postgresql", config, extra);
}

static int set_up(void **state)
{
    Stage *stage = stage_new("");
    char allow[300];
    Err err = {0};
    /* Nobody beats here, and these jobs take longer than the harness' short leases. */
    assert_true(catalog_setting_set(stage->fleet->scheduler, TEXT("liveness_s"), 60, &err));
    assert_true(catalog_setting_set(stage->fleet->scheduler, TEXT("lease_s"), 60, &err));
    postgres_do(stage->fleet->pg, "postgres", "postgres", "CREATE DATABASE shop");
    postgres_do(
        stage->fleet->pg, "postgres", "shop",
        "CREATE TABLE customer (id int PRIMARY KEY, name text);"
        "INSERT INTO customer SELECT n, 'customer ' || n FROM generate_series(1, 100000) n;"
        "CREATE TABLE sale (id bigserial PRIMARY KEY, customer int REFERENCES customer);"
        "INSERT INTO sale (customer) SELECT 1 + n % 20000 FROM generate_series(1, 50000) n");
    snprintf(allow, sizeof allow, "{read: {servers: [\"%s\"]}, restore: {paths: [\"%s\", \"%s\"]}}",
             postgres_socket(stage->fleet->pg),
             getenv("TMPDIR") == NULL ? "/tmp" : getenv("TMPDIR"), stage->tree->top);
    stage_config(stage, allow, "");
    use_cluster(stage, stage->fleet->pg, "");
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

/* ---- a cluster of its own, which may be harmed ---- */

static Postgres *other_cluster(Stage *stage)
{
    char allow[300];
    Postgres *pg = postgres_checked(NULL);
    postgres_do(pg, "postgres", "postgres",
                "CREATE TABLE big AS SELECT i, md5(i::text) || repeat('x', 300) AS t FROM "
                "generate_series(1, 60000) i; CHECKPOINT");
    snprintf(allow, sizeof allow, "{read: {servers: [\"%s\"]}}", postgres_socket(pg));
    stage_config(stage, allow, "");
    use_cluster(stage, pg, "");
    return pg;
}

/* Overwrites eight bytes in the middle of the sixth page of the table's file. */
static void damage(const Postgres *pg)
{
    char conninfo[256];
    postgres_as(pg, "postgres", "postgres", conninfo);
    file_tree_shell("printf damaged! | dd of=%s/$(psql -qAtX -d '%s' -c \"SELECT "
                    "pg_relation_filepath('big')\") bs=1 seek=$((5 * 8192 + 4000)) conv=notrunc "
                    "status=none",
                    postgres_data(pg), conninfo);
}

static void a_corrupt_page_makes_it_partial(void **state)
{
    Stage *stage = *state;
    StageEnd end;
    Postgres *pg = other_cluster(stage);
    stage_back_up(stage);
    damage(pg);
    stage_must(stage, "backup", "", "partial");
    /* Which file, which block and what to do stands in the catalogue. */
    assert_int_equal(stage_counted(stage, "backup b, jsonb_array_elements(b.issues) i WHERE "
                                          "b.issue_count = 1 AND i ->> 'path' LIKE 'base/%' AND "
                                          "i ->> 'text' LIKE '1 corrupt page: the checksum of "
                                          "block 5 is wrong;%next: SELECT pg_filenode_relation%'"),
                     1);
    assert_int_equal(stage_counted(stage, "backup WHERE outcome = 'partial'"), 1);
    /* Where none may be missing it is no backup at all. */
    use_cluster(stage, pg, ",\"allow_partial\":{\"items\":0,\"share\":0}");
    stage_run(stage, "backup", "", &end);
    assert_string_equal(end.outcome, "failed");
    assert_string_equal(end.cause, "backup.too_partial");
    stage_end_free(&end);
    postgres_stop(pg);
}

static void a_walsender_that_is_killed_costs_an_attempt(void **state)
{
    Stage *stage = *state;
    StageEnd end = {0};
    Postgres *pg = other_cluster(stage);
    stage_stopped(stage, "backup", "", "repo.pack_begun"); /* most is not sent yet */
    postgres_do(pg, "postgres", "postgres",
                "DO $$ BEGIN ASSERT (SELECT count(pg_terminate_backend(pid)) FROM "
                "pg_stat_replication WHERE state = 'backup') = 1; END $$");
    kill(stage->child, SIGCONT);
    stage_finish(stage, &end);
    assert_string_equal(end.outcome, "failed");
    assert_string_equal(end.cause, "source.lost");
    assert_true(end.retry);
    stage_end_free(&end);
    postgres_do(pg, "postgres", "postgres",
                "DO $$ BEGIN FOR i IN 1..200 LOOP EXIT WHEN NOT EXISTS (SELECT FROM "
                "pg_replication_slots); PERFORM pg_sleep(0.05); END LOOP; ASSERT NOT EXISTS "
                "(SELECT FROM pg_replication_slots); END $$");
    stage_again(stage, &end);
    if (strcmp(end.outcome, "completed") != 0)
        fail_msg("%s %s: %s", end.outcome, end.cause, end.text);
    stage_end_free(&end);
    postgres_stop(pg);
}

static void a_source_is_tested_without_the_servers_programs(void **state)
{
    Stage *stage = *state;
    StageEnd end;
    stage_run(stage, "probe", "{\"probe\":\"source_test\"}", &end);
    assert_string_equal(end.outcome, "completed");
    assert_true(json_is_true(json_object_get(end.answer, "ok")));
    char *text = json_dumps(end.answer, 0);
    assert_null(strstr(text, "pg_dump"));
    free(text);
    stage_end_free(&end);
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
        TEST(a_corrupt_page_makes_it_partial),
        TEST(a_walsender_that_is_killed_costs_an_attempt),
        TEST(a_source_is_tested_without_the_servers_programs),
        TEST(a_restore_is_planned_and_refused_where_it_may_not_go),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
