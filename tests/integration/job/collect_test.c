/* SPDX-License-Identifier: Apache-2.0
 * Backups that are forgotten leave, the packs that only they named follow, and everything else
 * stays restorable; whoever may not delete does not. */
#include "tests/harness/stage.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

static int set_up(void **state)
{
    Stage *stage = stage_new("");
    fleet_settled(stage->fleet);
    file_tree_shell("cd %s && for i in 1 2 3 4; do head -c 4000000 /dev/urandom > $i; done",
                    stage->tree->tree);
    *state = stage;
    return 0;
}

static int tear_down(void **state)
{
    stage_free(*state);
    return 0;
}

static int64_t counted(const Stage *stage, const char *what)
{
    char sql[300];
    snprintf(sql, sizeof sql, "SELECT count(*) FROM %s", what);
    return fleet_count(stage->fleet, sql);
}

/* Files below a folder of the store. */
static int64_t stored(const Stage *stage, const char *folder)
{
    char command[300];
    long count = -1;
    snprintf(command, sizeof command, "find %s/%s -type f 2>/dev/null | wc -l",
             stage->repository->store_path, folder);
    FILE *from = popen(command, "r");
    assert_true(from != NULL && fscanf(from, "%ld", &count) == 1);
    pclose(from);
    return count;
}

/* {"forget": [the backup of this sequence]} */
static void forget_params(const Stage *stage, unsigned sequence, char out[200])
{
    char sql[100], id[512];
    snprintf(sql, sizeof sql, "SELECT id FROM backup WHERE sequence = %u", sequence);
    fleet_ask(stage->fleet, sql, id);
    snprintf(out, 200, "{\"forget\":[\"%.36s\"],\"reason\":\"no longer needed\"}", id);
}

static void forget(Stage *stage, unsigned sequence)
{
    char params[200];
    forget_params(stage, sequence, params);
    stage_must(stage, "prune", params, "completed");
}

/* Another tree, so that the backup before shares next to nothing with the next. */
static void change_all(Stage *stage)
{
    file_tree_shell("cd %s && for i in 1 2 3 4; do head -c 4000000 /dev/urandom > $i; done",
                    stage->tree->tree);
}

static void a_forgotten_backup_leaves_and_its_packs_follow(void **state)
{
    Stage *stage = *state;
    stage_back_up(stage);
    int64_t packs = stored(stage, "packs");
    change_all(stage);
    stage_back_up(stage);
    forget(stage, 1);
    assert_int_equal(counted(stage, "backup WHERE gone_at IS NOT NULL AND sequence = 1"), 1);
    assert_int_equal(stored(stage, "manifests"), 1);
    assert_int_equal(stored(stage, "commits"), 1);
    assert_int_equal(stored(stage, "parents"), 1);
    assert_int_equal(stored(stage, "forgotten"), 1);
    stage_must(stage, "prune", "", "completed");
    assert_int_equal(counted(stage, "pack WHERE state = 'deleted'"), packs);
    assert_int_equal(counted(stage, "pack WHERE state NOT IN ('live', 'deleted')"), 0);
    assert_int_equal(stored(stage, "packs"), counted(stage, "pack WHERE state = 'live'"));
    assert_int_equal(counted(stage, "chunk c JOIN pack p ON p.no = c.pack_no WHERE p.state = "
                                    "'deleted'"),
                     0);
    assert_int_equal(stored(stage, "index"), 1);
    assert_int_equal(stored(stage, "epoch"), 1);
    assert_int_equal(counted(stage, "audit_event WHERE action IN ('backup.delete', "
                                    "'repository.prune')"),
                     3);
    stage_restore(stage, "");
    file_tree_assert_equal(stage->tree);
    /* And the next backup finds the repository as it should be. */
    stage_back_up(stage);
    assert_int_equal(counted(stage, "repository WHERE rolled_back"), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_forgotten_backup_leaves_and_its_packs_follow),
    };
    return cmocka_run_group_tests_name("integration.job.collect", tests, NULL, NULL);
}
