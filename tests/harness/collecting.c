/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/harness/collecting.h"

#include <stdio.h>

void collecting_change_all(Stage *stage)
{
    file_tree_shell("cd %s && for i in 1 2 3 4; do head -c 300000 /dev/urandom > $i; done",
                    stage->tree->tree);
}

int collecting_set_up(void **state)
{
    Stage *stage = stage_new("");
    fleet_settled(stage->fleet);
    fleet_do(stage->fleet,
             "UPDATE setting SET value = 600 WHERE name IN ('lease_s', 'liveness_s')");
    collecting_change_all(stage);
    *state = stage;
    return 0;
}

int collecting_tear_down(void **state)
{
    stage_free(*state);
    return 0;
}

void collecting_forget_params(const Stage *stage, unsigned sequence, char out[200])
{
    char sql[100], id[512];
    snprintf(sql, sizeof sql, "SELECT id FROM backup WHERE sequence = %u", sequence);
    fleet_ask(stage->fleet, sql, id);
    snprintf(out, 200, "{\"forget\":[\"%.36s\"],\"reason\":\"no longer needed\"}", id);
}

void collecting_forget(Stage *stage, unsigned sequence)
{
    char params[200];
    collecting_forget_params(stage, sequence, params);
    stage_must(stage, "prune", params, "completed");
}
