/* SPDX-License-Identifier: Apache-2.0
 * A collector is killed in the middle, and nobody ends its run before the next backup, which finds
 * what the run was about to take away: the backup says what it really stored. */
#include "tests/harness/collecting.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

/* The run is not gone on with: a backup comes first, of what the run was about to take away. */
static void a_backup_behind_a_killed_collector_is_whole(void **state)
{
    static const char *const points[] = {"collect.condemned", "collect.flipped",
                                         "collect.confirmed", "collect.deleted"};
    Stage *stage = *state;
    for (size_t i = 0; i < sizeof points / sizeof points[0]; i++) {
        char params[120], id[UUID_TEXT];
        collecting_change_all(stage);
        stage_back_up(stage);
        file_tree_shell("rm -rf %s.old && cp -a %s %s.old", stage->tree->tree, stage->tree->tree,
                        stage->tree->tree);
        unsigned old = (unsigned)fleet_count(stage->fleet, "SELECT max(sequence) FROM backup");
        collecting_change_all(stage);
        stage_back_up(stage);
        collecting_forget(stage, old);
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
        cmocka_unit_test_setup_teardown(a_backup_behind_a_killed_collector_is_whole,
                                        collecting_set_up, collecting_tear_down),
    };
    return cmocka_run_group_tests_name("integration.job.collect_behind", tests, NULL, NULL);
}
