/* SPDX-License-Identifier: Apache-2.0
 * A store that fills up or goes away while a backup writes to it: the attempt fails by name, may be
 * repeated, what it stored is kept, and what was there before is restored as ever. */
#include "tests/harness/stage.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/resource.h>

#include <cmocka.h>

enum { LIMIT_BYTES = 3000000 };

static int set_up(void **state)
{
    Stage *stage = stage_new("");
    file_tree_shell("cd %s && head -c 200000 /dev/urandom > 1", stage->tree->tree);
    stage_back_up(stage);
    *state = stage;
    return 0;
}

static int tear_down(void **state)
{
    stage_free(*state);
    return 0;
}

static void grow(Stage *stage)
{
    file_tree_shell("cd %s && for i in 2 3 4; do head -c 8000000 /dev/urandom > $i; done",
                    stage->tree->tree);
}

/* The last attempt failed so, may come again, and then it is done and whole. */
static void over_when_its_cause_is(Stage *stage, const StageEnd *failed, const char *cause)
{
    StageEnd end = {0};
    assert_string_equal(failed->outcome, "failed");
    if (strcmp(failed->cause, cause) != 0)
        fail_msg("%s: %s", failed->cause, failed->text);
    assert_true(failed->retry);
    assert_int_equal(fleet_count(stage->fleet, "SELECT count(*) FROM backup"), 1);
    stage_again(stage, &end);
    if (!end.committed)
        fail_msg("%s: %s", end.cause, end.text);
    stage_end_free(&end);
    stage_restore(stage, "");
    file_tree_assert_equal(stage->tree);
}

/* No file of the job may be longer: that is how a quota looks, and a full disk but for its number.
 */
static void limit_files(bool on)
{
    struct rlimit limit = {on ? LIMIT_BYTES : RLIM_INFINITY, RLIM_INFINITY};
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

static void a_store_that_is_full_fails_the_attempt_by_name(void **state)
{
    Stage *stage = *state;
    StageEnd end = {0};
    grow(stage);
    limit_files(true);
    stage_run(stage, "backup", "", &end);
    limit_files(false);
    over_when_its_cause_is(stage, &end, "store.full");
    stage_end_free(&end);
}

static void a_store_that_vanishes_in_the_middle_fails_the_attempt_by_name(void **state)
{
    Stage *stage = *state;
    StageEnd end = {0};
    const char *store = stage->repository->store_path;
    grow(stage);
    stage_stopped(stage, "backup", "", "repo.pack_durable");
    file_tree_shell("cp -a %s %s.copy && rm -rf %s", store, store, store);
    kill(stage->child, SIGCONT);
    stage_finish(stage, &end);
    file_tree_shell("rm -rf %s && mv %s.copy %s", store, store, store);
    over_when_its_cause_is(stage, &end, "store.gone");
    stage_end_free(&end);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_store_that_is_full_fails_the_attempt_by_name),
        TEST(a_store_that_vanishes_in_the_middle_fails_the_attempt_by_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
