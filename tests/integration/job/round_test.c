/* SPDX-License-Identifier: Apache-2.0
 * A round of checks that is killed in the middle: the next attempt goes on with what nobody looked
 * at, and nothing counts as seen that was not. */
#include "tests/harness/stage.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

static int set_up(void **state)
{
    Stage *stage = stage_new("");
    for (int i = 0; i < 3; i++) {
        file_tree_shell("head -c 300000 /dev/urandom > %s/more-%d", stage->tree->tree, i);
        stage_back_up(stage);
    }
    fleet_do(stage->fleet,
             "UPDATE setting SET value = 600 WHERE name IN ('lease_s', 'liveness_s')");
    *state = stage;
    return 0;
}

static int tear_down(void **state)
{
    stage_free(*state);
    return 0;
}

static int64_t seen(const Stage *stage)
{
    return stage_counted(stage, "pack WHERE verified_at IS NOT NULL");
}

static void what_was_looked_at_and_not_told_is_looked_at_again(void **state)
{
    Stage *stage = *state;
    StageEnd end = {0};
    int64_t packs = stage_counted(stage, "pack WHERE state = 'live'");
    stage_killed(stage, "round", "", "verify.looked");
    assert_int_equal(seen(stage), 0);
    assert_int_equal(stage_counted(stage, "verify_todo"), packs);
    stage_reap(stage);
    stage_again(stage, &end);
    assert_string_equal(end.outcome, "completed");
    assert_int_equal(json_integer_value(json_object_get(end.answer, "packs")), packs);
    assert_int_equal(seen(stage), packs);
    stage_end_free(&end);
}

static void what_was_told_is_not_looked_at_again_and_the_rest_is(void **state)
{
    Stage *stage = *state;
    StageEnd end = {0};
    char object[512];
    int64_t packs = stage_counted(stage, "pack WHERE state = 'live'");
    fleet_breaks(stage->fleet, "packs with other bytes than recorded: one is damaged");
    fleet_breaks(stage->fleet, "backups that do not verify: one needs what is damaged");
    assert_true(packs > 3);
    stage_killed(stage, "round", "", "verify.seen");
    assert_int_equal(seen(stage), 1);
    assert_int_equal(stage_counted(stage, "verification WHERE level = 'content'"), 0);
    /* Nobody has looked at it yet, and whoever goes on does. */
    fleet_ask(stage->fleet,
              "SELECT object FROM pack WHERE verified_at IS NULL AND state = 'live' "
              "ORDER BY no DESC LIMIT 1",
              object);
    file_tree_shell("f=%s/packs/%.2s/%.36s; chmod u+w $f; printf X | dd of=$f bs=1 seek=$(($(stat "
                    "-c %%s $f) / 2)) conv=notrunc status=none",
                    stage->repository->store_path, object, object);
    stage_reap(stage);
    stage_again(stage, &end);
    assert_string_equal(end.cause, "verify.damaged");
    assert_int_equal(json_integer_value(json_object_get(end.answer, "packs")), packs - 1);
    stage_end_free(&end);
    assert_int_equal(seen(stage), packs - 1);
    assert_int_equal(
        stage_counted(stage, "pack WHERE damaged_at IS NOT NULL AND verified_at IS NULL"), 1);
    assert_int_equal(stage_counted(stage,
                                   "verification v JOIN backup b ON b.id = v.backup WHERE "
                                   "v.level = 'content' AND v.result = 'ok' AND EXISTS (SELECT "
                                   "FROM pack p WHERE p.no = ANY (b.packs) AND p.verified_at "
                                   "IS NULL)"),
                     0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(what_was_looked_at_and_not_told_is_looked_at_again),
        TEST(what_was_told_is_not_looked_at_again_and_the_rest_is),
    };
    return cmocka_run_group_tests_name("integration.job.round", tests, NULL, NULL);
}
