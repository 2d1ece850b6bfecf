/* SPDX-License-Identifier: Apache-2.0
 * A collector is killed in the middle, and nobody ends its run before the next backup, which finds
 * what the run was about to take away: the backup says what it really stored. */
#include "tests/harness/stage.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static int set_up(void **state)
{
    Stage *stage = stage_new("");
    fleet_settled(stage->fleet);
    fleet_do(stage->fleet,
             "UPDATE setting SET value = 600 WHERE name IN ('lease_s', 'liveness_s')");
    file_tree_shell("cd %s && for i in 1 2 3 4; do head -c 300000 /dev/urandom > $i; done",
                    stage->tree->tree);
    *state = stage;
    return 0;
}

static int tear_down(void **state)
{
    stage_free(*state);
    return 0;
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
    file_tree_shell("cd %s && for i in 1 2 3 4; do head -c 300000 /dev/urandom > $i; done",
                    stage->tree->tree);
}

/* The run is not gone on with: a backup comes first, of what the run was about to take away. */
static void a_backup_behind_a_killed_collector_is_whole(void **state)
{
    static const char *const points[] = {"collect.condemned", "collect.flipped",
                                         "collect.confirmed", "collect.deleted"};
    Stage *stage = *state;
    for (size_t i = 0; i < sizeof points / sizeof points[0]; i++) {
        char params[120], id[UUID_TEXT];
        change_all(stage);
        stage_back_up(stage);
        file_tree_shell("rm -rf %s.old && cp -a %s %s.old", stage->tree->tree, stage->tree->tree,
                        stage->tree->tree);
        unsigned old = (unsigned)fleet_count(stage->fleet, "SELECT max(sequence) FROM backup");
        change_all(stage);
        stage_back_up(stage);
        forget(stage, old);
        stage_killed(stage, "prune", "", points[i]);
        stage_reap(stage);
        fleet_do(stage->fleet,
                 "UPDATE job SET state = 'cancelled', finished_at = clock_timestamp() WHERE state "
                 "= 'pending' AND kind = 'prune'");
        file_tree_shell("cp -a %s.old/. %s", stage->tree->tree, stage->tree->tree);
        stage_back_up(stage);
        stage_backup(stage, id);
        snprintf(params, sizeof params, "{\"backup\":\"%s\",\"level\":\"content\"}", id);
        stage_must(stage, "verify", params, "completed");
        stage_restore(stage, "");
        file_tree_assert_equal(stage->tree);
        file_tree_shell("rm -rf %s && mkdir %s", stage->tree->out, stage->tree->out);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_backup_behind_a_killed_collector_is_whole, set_up,
                                        tear_down),
    };
    return cmocka_run_group_tests_name("integration.job.collect_behind", tests, NULL, NULL);
}
