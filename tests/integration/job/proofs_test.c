/* SPDX-License-Identifier: Apache-2.0
 * What checks found is brought into the store by the next prune run, whoever is killed on the way,
 * and what changes later by the next. */
#include "tests/harness/stage.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

static int set_up(void **state)
{
    Stage *stage = stage_new("");
    fleet_settled(stage->fleet);
    *state = stage;
    return 0;
}

static int tear_down(void **state)
{
    stage_free(*state);
    return 0;
}

static int64_t told(Stage *stage, const char *name)
{
    StageEnd end;
    stage_run(stage, "prune", "", &end);
    assert_string_equal(end.outcome, "completed");
    int64_t count = json_integer_value(json_object_get(end.answer, name));
    stage_end_free(&end);
    return count;
}

static void check(Stage *stage)
{
    char params[120], id[UUID_TEXT];
    stage_backup(stage, id);
    snprintf(params, sizeof params, "{\"backup\":\"%s\",\"level\":\"content\"}", id);
    stage_must(stage, "verify", params, "completed");
}

static void a_kill_between_store_and_catalogue_says_it_twice(void **state)
{
    Stage *stage = *state;
    StageEnd end;
    stage_back_up(stage);
    assert_int_equal(told(stage, "told_checks"), 0);
    assert_int_equal(stage_stored(stage, "audit"), 0);
    check(stage);
    stage_killed(stage, "prune", "", "proofs.stored");
    assert_int_equal(stage_stored(stage, "audit"), 1);
    assert_true(stage_counted(stage, "pack WHERE told_at IS NOT NULL") == 0);
    stage_reap(stage);
    stage_again(stage, &end);
    assert_string_equal(end.outcome, "completed");
    assert_int_equal(json_integer_value(json_object_get(end.answer, "told_checks")), 1);
    stage_end_free(&end);
    assert_int_equal(stage_stored(stage, "audit"), 2);
    assert_int_equal(told(stage, "told_packs"), 0); /* and no third object */
    assert_int_equal(stage_stored(stage, "audit"), 2);
    check(stage); /* a later look at the same packs is news again */
    assert_true(told(stage, "told_packs") > 0);
    assert_int_equal(stage_stored(stage, "audit"), 3);
    assert_int_equal(stage_counted(stage, "pack WHERE state = 'live' AND told_at = verified_at"),
                     stage_counted(stage, "pack WHERE state = 'live'"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_kill_between_store_and_catalogue_says_it_twice, set_up,
                                        tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
