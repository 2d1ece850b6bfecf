/* SPDX-License-Identifier: Apache-2.0
 * A backup and its restore as jobs: catalogue, repository and file system are real, the processes
 * around them are not there. */
#include "common/base/json.h"
#include "tests/harness/stage.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static int set_up(void **state)
{
    Stage *stage = stage_new("");
    file_tree_shell("cd %s && mkdir -p a/b c && echo one > a/one && ln a/one c/again && "
                    "head -c 3000000 /dev/urandom > a/b/random && truncate -s 5000000 c/hole && "
                    "printf 'odd' > 'c/$(id)' && ln -s a/one link && setfattr -n user.x -v y c",
                    stage->tree->tree);
    *state = stage;
    return 0;
}

static int tear_down(void **state)
{
    stage_free(*state);
    return 0;
}

static void a_backup_is_restored_as_it_was(void **state)
{
    Stage *stage = *state;
    stage_back_up(stage);
    assert_int_equal(fleet_count(stage->fleet, "SELECT count(*) FROM backup"), 1);
    assert_int_equal(fleet_count(stage->fleet, "SELECT entries FROM backup"), 10);
    stage_restore(stage, "");
    file_tree_assert_equal(stage->tree);
}

static void assert_told(const Stage *stage, const char *words)
{
    Buf log = stage->log;
    if (strstr(buf_cstr(&log), words) == NULL)
        fail_msg("the log does not say '%s':\n%s", words, buf_cstr(&log));
}

static void a_backup_tells_what_it_did(void **state)
{
    Stage *stage = *state;
    char id[UUID_TEXT], committed[64];
    Uuid uuid;
    Err err = {0};
    chmod(stage->tree->tree, 0755);
    stage_back_up(stage);
    assert_told(stage, "job.started backup of s1, attempt 1,");
    assert_told(stage, "backup.opened store nas, the first backup of this source");
    assert_told(stage, "source.opened files, read over 1 of ");
    assert_told(stage, "backup.snapshot consistent at 20");
    assert_told(stage, "backup.part path ");
    assert_told(stage, "backup.stored 10 entries, ");
    stage_backup(stage, id);
    assert_true(uuid_parse(text_of(id), &uuid, &err));
    snprintf(committed, sizeof committed, "backup.committed ");
    uuid_backup_text(&uuid, committed + strlen(committed));
    assert_told(stage, committed);
    assert_told(stage, "job.ended completed: 10 entries");
    stage_back_up(stage);
    assert_told(stage, "on top of backup 1");
    stage_restore(stage, "");
    assert_told(stage, "restore.opened bk_");
}

static void a_second_backup_stores_almost_nothing(void **state)
{
    Stage *stage = *state;
    stage_back_up(stage);
    file_tree_shell("echo changed > %s/a/two", stage->tree->tree);
    stage_back_up(stage);
    assert_true(fleet_count(stage->fleet,
                            "SELECT stored_bytes FROM backup ORDER BY id DESC LIMIT 1") < 20000);
    stage_restore(stage, "");
    file_tree_assert_equal(stage->tree);
}

/* An unchanged file is neither read nor asked for its attributes where it had none; where it had
 * some it keeps them, and what is given to it later is noticed. */
static void attributes_of_unchanged_files_stay(void **state)
{
    Stage *stage = *state;
    const char *tree = stage->tree->tree;
    file_tree_shell("cd %s && setfattr -n user.kept -v 1 a/b/random", tree);
    sleep(3); /* younger files are not known again */
    stage_back_up(stage);
    stage_back_up(stage);
    stage_restore(stage, "");
    file_tree_shell("[ \"$(getfattr --only-values -n user.kept %s%s/a/b/random)\" = 1 ]",
                    stage->tree->out, tree);
    file_tree_assert_equal(stage->tree);
    file_tree_shell("cd %s && setfattr -n user.late -v 2 a/one && rm -r %s/*", tree,
                    stage->tree->out);
    stage_back_up(stage);
    stage_restore(stage, "");
    file_tree_shell("[ \"$(getfattr --only-values -n user.late %s%s/a/one)\" = 2 ]",
                    stage->tree->out, tree);
}

static void a_selection_restores_that_and_nothing_else(void **state)
{
    Stage *stage = *state;
    struct stat status;
    char more[300], path[300];
    stage_back_up(stage);
    /* The second name of a file whose first name is not wanted. */
    snprintf(more, sizeof more, ",\"select\":{\"paths\":[\"%s/c/again\"]}", stage->tree->tree);
    stage_restore(stage, more);
    file_tree_shell("cmp %s%s/c/again %s/a/one", stage->tree->out, stage->tree->tree,
                    stage->tree->tree);
    snprintf(path, sizeof path, "%s%s/a", stage->tree->out, stage->tree->tree);
    assert_int_not_equal(stat(path, &status), 0);
}

static void both_levels_of_verify_find_it_whole(void **state)
{
    static const char *const levels[] = {"stored", "content"};
    Stage *stage = *state;
    char params[200], id[UUID_TEXT];
    stage_back_up(stage);
    stage_backup(stage, id);
    for (size_t i = 0; i < 2; i++) {
        snprintf(params, sizeof params, "{\"backup\":\"%s\",\"level\":\"%s\"}", id, levels[i]);
        stage_must(stage, "verify", params, "completed");
    }
    assert_int_equal(
        fleet_count(stage->fleet, "SELECT count(*) FROM verification WHERE result = 'ok'"),
        3); /* the backup itself verified what it stored */
    assert_int_equal(
        fleet_count(stage->fleet, "SELECT count(*) FROM pack WHERE verified_at IS NULL"), 0);
}

/* A prune worker's host has neither a writer file nor a reader file. */
static void a_prune_file_will_do_to_hash_whole_objects(void **state)
{
    Stage *stage = *state;
    char params[200], id[UUID_TEXT];
    StageEnd end;
    stage_back_up(stage);
    stage_backup(stage, id);
    file_tree_shell("cd %s && mkdir away && mv *.writer *.reader away", stage->keys);
    snprintf(params, sizeof params, "{\"backup\":\"%s\",\"level\":\"stored\"}", id);
    stage_must(stage, "verify", params, "completed");
    snprintf(params, sizeof params, "{\"backup\":\"%s\",\"level\":\"content\"}", id);
    stage_run(stage, "verify", params, &end);
    assert_string_equal(end.cause, "key.missing");
    stage_end_free(&end);
    file_tree_shell("mv %s/away/* %s", stage->keys, stage->keys);
}

/* A writer that lies has the catalogue say that a chunk lies where another one does. This backup
 * needs no such chunk, but others would take it from there once a reader vouched for the pack. */
static void a_pack_with_one_wrong_row_is_not_vouched_for(void **state)
{
    Stage *stage = *state;
    char params[200], id[UUID_TEXT];
    StageEnd end;
    stage_back_up(stage);
    stage_backup(stage, id);
    fleet_do(
        stage->fleet,
        "INSERT INTO chunk SELECT repository, sha256(id), pack_no, 1000, codec, start, stored, "
        "plain FROM chunk WHERE pack_no = (SELECT min(no) FROM pack WHERE kind = 'data') LIMIT 1");
    snprintf(params, sizeof params, "{\"backup\":\"%s\",\"level\":\"content\"}", id);
    stage_run(stage, "verify", params, &end);
    assert_string_equal(end.cause, "verify.damaged");
    stage_end_free(&end);
    assert_int_equal(fleet_count(stage->fleet, "SELECT count(*) FROM pack WHERE kind = 'data' AND "
                                               "verified_at IS NOT NULL"),
                     0);
    assert_int_equal(
        fleet_count(stage->fleet, "SELECT count(*) FROM pack WHERE damaged_at IS NOT NULL"), 1);
}

/* Little of the pack is needed, and a reader saw it whole before: its other bytes still count. */
static void a_pack_that_was_vouched_for_is_read_again(void **state)
{
    Stage *stage = *state;
    StageEnd end;
    char params[200], id[UUID_TEXT];
    fleet_breaks(stage->fleet, "packs with other bytes than recorded: one is damaged");
    fleet_breaks(stage->fleet, "backups that do not verify: the first needs what is damaged");
    file_tree_shell("head -c 600000 /dev/urandom > %s/c/kept", stage->tree->tree);
    stage_back_up(stage);
    stage_backup(stage, id);
    snprintf(params, sizeof params, "{\"backup\":\"%s\",\"level\":\"content\"}", id);
    stage_must(stage, "verify", params, "completed");
    file_tree_shell("rm %s/a/b/random", stage->tree->tree);
    stage_back_up(stage);
    stage_backup(stage, id);
    snprintf(params, sizeof params, "{\"backup\":\"%s\",\"level\":\"content\"}", id);
    stage_must(stage, "verify", params, "completed");
    file_tree_shell("cd %s/packs && f=$(ls -S */* | head -1) && chmod u+w $f && for at in 500000 "
                    "1500000 2500000; do printf X | dd of=$f bs=1 seek=$at conv=notrunc "
                    "status=none; done",
                    stage->repository->store_path);
    stage_run(stage, "verify", params, &end);
    assert_string_equal(end.cause, "verify.damaged");
    stage_end_free(&end);
    assert_int_equal(stage_counted(stage, "pack WHERE damaged_at IS NOT NULL"), 1);
}

static void probes_list_plan_and_test(void **state)
{
    Stage *stage = *state;
    StageEnd end;
    char params[500], id[UUID_TEXT];
    stage_back_up(stage);
    stage_backup(stage, id);
    snprintf(params, sizeof params,
             "{\"probe\":\"backup_files\",\"backup\":\"%s\",\"prefix\":\"%s/c\"}", id,
             stage->tree->tree);
    stage_run(stage, "probe", params, &end);
    assert_string_equal(end.outcome, "completed");
    assert_int_equal(json_array_size(json_object_get(end.answer, "items")), 4);
    stage_end_free(&end);
    snprintf(params, sizeof params,
             "{\"probe\":\"restore_plan\",\"backup\":\"%s\",\"target\":{\"path\":\"%s\"}}", id,
             stage->tree->out);
    stage_run(stage, "probe", params, &end);
    assert_string_equal(end.outcome, "completed");
    assert_int_equal(json_integer_value(json_object_get(end.answer, "entries")), 10);
    stage_end_free(&end);
    stage_run(stage, "probe", "{\"probe\":\"source_test\"}", &end);
    assert_string_equal(end.outcome, "completed");
    assert_true(json_is_true(json_object_get(end.answer, "ok")));
    stage_end_free(&end);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_backup_is_restored_as_it_was),
        TEST(a_backup_tells_what_it_did),
        TEST(a_second_backup_stores_almost_nothing),
        TEST(attributes_of_unchanged_files_stay),
        TEST(a_selection_restores_that_and_nothing_else),
        TEST(both_levels_of_verify_find_it_whole),
        TEST(a_prune_file_will_do_to_hash_whole_objects),
        TEST(a_pack_with_one_wrong_row_is_not_vouched_for),
        TEST(a_pack_that_was_vouched_for_is_read_again),
        TEST(probes_list_plan_and_test),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
