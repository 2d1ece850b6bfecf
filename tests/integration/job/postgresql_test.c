/* SPDX-License-Identifier: Apache-2.0
 * A PostgreSQL database as a job: several lanes into a sealed repository and back. */
#include "common/base/json.h"
#include "tests/harness/stage.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static int set_up(void **state)
{
    Stage *stage = stage_new("");
    char config[400], allow[300];
    postgres_do(stage->fleet->pg, "postgres", "postgres", "CREATE DATABASE shop");
    postgres_do(stage->fleet->pg, "postgres", "shop",
                "CREATE TABLE customer (id int PRIMARY KEY, name text);"
                "INSERT INTO customer SELECT n, 'customer ' || n FROM generate_series(1, 20000) n;"
                "CREATE TABLE sale (id bigserial PRIMARY KEY, customer int REFERENCES customer);"
                "INSERT INTO sale (customer) SELECT 1 + n % 20000 FROM generate_series(1, 50000) n;"
                "CREATE VIEW best AS SELECT customer, count(*) FROM sale GROUP BY 1");
    snprintf(
        config, sizeof config,
        "{\"host\":\"%s\",\"port\":%u,\"user\":\"postgres\",\"databases\":[\"shop\"],\"jobs\":3}",
        postgres_socket(stage->fleet->pg), postgres_port(stage->fleet->pg));
    snprintf(allow, sizeof allow, "{read: {servers: [\"%s\"]}, restore: {servers: [\"%s\"]}}",
             postgres_socket(stage->fleet->pg), postgres_socket(stage->fleet->pg));
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

static void restore_to(Stage *stage, const char *database)
{
    char params[300], id[UUID_TEXT];
    stage_backup(stage, id);
    snprintf(params, sizeof params, "{\"backup\":\"%s\",\"target\":{\"database\":\"%s\"}}", id,
             database);
    stage_must(stage, "restore", params, "completed");
}

/* pg_dump of both databases is the judge. */
static void assert_same_dump(Stage *stage, const char *database)
{
    char a[256], b[256];
    postgres_as(stage->fleet->pg, "postgres", "shop", a);
    postgres_as(stage->fleet->pg, "postgres", database, b);
    file_tree_shell("pg_dump -d '%s' | grep -v '^.restrict\\|^.unrestrict' > %s/a.sql && "
                    "pg_dump -d '%s' | grep -v '^.restrict\\|^.unrestrict' > %s/b.sql && "
                    "cmp %s/a.sql %s/b.sql",
                    a, stage->tree->top, b, stage->tree->top, stage->tree->top, stage->tree->top);
}

static void a_database_is_restored_as_it_was(void **state)
{
    Stage *stage = *state;
    stage_back_up(stage);
    restore_to(stage, "shop_copy");
    assert_same_dump(stage, "shop_copy");
    assert_true(
        fleet_count(stage->fleet, "SELECT count(*) FROM backup_item WHERE kind = 'table'") >= 2);
    stage_back_up(stage);
    assert_true(fleet_count(stage->fleet,
                            "SELECT stored_bytes FROM backup ORDER BY id DESC LIMIT 1") < 60000);
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
    restore_to(stage, "shop_again");
    assert_same_dump(stage, "shop_again");
}

static void a_server_that_the_worker_may_not_read_is_refused(void **state)
{
    Stage *stage = *state;
    StageEnd end;
    stage_config(stage, "{read: {servers: [db1]}}", "");
    stage_run(stage, "backup", "", &end);
    assert_string_equal(end.cause, "not-allowed-here");
    stage_end_free(&end);
}

static void the_source_is_tested_and_a_restore_planned(void **state)
{
    Stage *stage = *state;
    StageEnd end;
    char params[300], id[UUID_TEXT];
    stage_run(stage, "probe", "{\"probe\":\"source_test\"}", &end);
    assert_string_equal(end.outcome, "completed");
    stage_end_free(&end);
    stage_back_up(stage);
    stage_backup(stage, id);
    snprintf(params, sizeof params,
             "{\"probe\":\"restore_plan\",\"backup\":\"%s\",\"target\":{\"database\":\"new\"}}",
             id);
    stage_run(stage, "probe", params, &end);
    assert_string_equal(end.outcome, "completed");
    stage_end_free(&end);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_database_is_restored_as_it_was),
        TEST(killed_in_the_middle_it_goes_on),
        TEST(a_server_that_the_worker_may_not_read_is_refused),
        TEST(the_source_is_tested_and_a_restore_planned),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
