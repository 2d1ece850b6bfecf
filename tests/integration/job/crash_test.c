/* SPDX-License-Identifier: Apache-2.0
 * kill -9 at every crash point of a backup and of a restore: the next attempt takes over what was
 * stored, there is one backup in the end, and it restores equal. */
#include "common/base/json.h"
#include "tests/harness/stage.h"

#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/stat.h>

#include <cmocka.h>

static int set_up(void **state)
{
    Stage *stage = stage_new("");
    file_tree_shell(
        "cd %s && mkdir -p a/b && for i in 1 2 3 4 5 6; do head -c 8000000 /dev/urandom "
        "> a/b/$i; done && echo one > a/one && ln a/one again && ln -s a/one link",
        stage->tree->tree);
    *state = stage;
    return 0;
}

static int tear_down(void **state)
{
    stage_free(*state);
    return 0;
}

static uint64_t stored;

static int add_size(const char *path, const struct stat *status, int type, struct FTW *where)
{
    (void)where;
    if (type == FTW_F && strstr(path, "/packs/") != NULL)
        stored += (uint64_t)status->st_size;
    return 0;
}

/* What the store's packs weigh, counted from the files themselves. */
static uint64_t weigh(const Stage *stage)
{
    stored = 0;
    assert_int_equal(nftw(stage->repository->store_path, add_size, 16, FTW_PHYS), 0);
    return stored;
}

static void restore_and_compare(Stage *stage)
{
    stage_restore(stage, "");
    file_tree_assert_equal(stage->tree);
}

static void finish_after(Stage *stage, const char *crashpoint)
{
    StageEnd end;
    stage_killed(stage, "backup", "", crashpoint);
    stage_reap(stage);
    stage_again(stage, &end);
    if (!end.committed)
        fail_msg("after %s: %s: %s", crashpoint, end.cause, end.text);
    stage_end_free(&end);
    assert_int_equal(fleet_count(stage->fleet, "SELECT count(*) FROM backup"), 1);
    assert_int_equal(fleet_count(stage->fleet, "SELECT count(*) FROM backup WHERE attempt = 2"), 1);
}

static void killed_before_anything_was_stored(void **state)
{
    Stage *stage = *state;
    finish_after(stage, "backup.opened");
    restore_and_compare(stage);
}

static void killed_with_a_pack_begun_and_not_staged(void **state)
{
    Stage *stage = *state;
    finish_after(stage, "repo.pack_durable");
    restore_and_compare(stage);
}

static void killed_when_all_was_read_keeps_what_was_stored(void **state)
{
    Stage *stage = *state;
    StageEnd end;
    stage_killed(stage, "backup", "", "repo.packs_staged");
    uint64_t before = weigh(stage);
    assert_true(before > 40000000);
    stage_reap(stage);
    stage_again(stage, &end);
    assert_true(end.committed);
    stage_end_free(&end);
    assert_true(weigh(stage) - before < before / 20);
    restore_and_compare(stage);
}

static void killed_with_the_manifest_stored(void **state)
{
    Stage *stage = *state;
    finish_after(stage, "repo.manifest_durable");
    restore_and_compare(stage);
}

static void killed_before_the_commit(void **state)
{
    Stage *stage = *state;
    finish_after(stage, "commit.before");
    restore_and_compare(stage);
}

/* The job is over then: nobody else may do it, and the marker is written by the next job. */
static void killed_after_the_commit_owes_only_the_marker(void **state)
{
    static const char *const owed = "SELECT count(*) FROM backup WHERE marker_at IS NULL";
    Stage *stage = *state;
    stage_killed(stage, "backup", "", "commit.after");
    assert_int_equal(fleet_count(stage->fleet, "SELECT count(*) FROM backup"), 1);
    assert_int_equal(fleet_count(stage->fleet, owed), 1);
    stage_back_up(stage);
    assert_int_equal(fleet_count(stage->fleet, owed), 0);
    restore_and_compare(stage);
}

static void a_killed_restore_starts_over_cleanly(void **state)
{
    static const char *const points[] = {"restore.opened", "restore.fed"};
    Stage *stage = *state;
    char params[400], id[UUID_TEXT];
    stage_back_up(stage);
    stage_backup(stage, id);
    snprintf(params, sizeof params, "{\"backup\":\"%s\",\"target\":{\"path\":\"%s\"}}", id,
             stage->tree->out);
    for (size_t i = 0; i < 2; i++) {
        StageEnd end;
        stage_killed(stage, "restore", params, points[i]);
        stage_reap(stage);
        stage_again(stage, &end);
        assert_string_equal(end.outcome, "completed");
        stage_end_free(&end);
        file_tree_assert_equal(stage->tree);
        file_tree_shell("rm -rf %s", stage->tree->out);
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(killed_before_anything_was_stored),
        TEST(killed_with_a_pack_begun_and_not_staged),
        TEST(killed_when_all_was_read_keeps_what_was_stored),
        TEST(killed_with_the_manifest_stored),
        TEST(killed_before_the_commit),
        TEST(killed_after_the_commit_owes_only_the_marker),
        TEST(a_killed_restore_starts_over_cleanly),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
