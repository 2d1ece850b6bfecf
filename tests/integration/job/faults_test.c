/* SPDX-License-Identifier: Apache-2.0
 * What goes wrong around a job has a name, harms nothing, and is over when its cause is. */
#include "common/base/json.h"
#include "tests/harness/stage.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static int set_up(void **state)
{
    Stage *stage = stage_new("");
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

static void must_fail(Stage *stage, const char *kind, const char *params, const char *cause)
{
    StageEnd end;
    stage_run(stage, kind, params, &end);
    if (strcmp(end.outcome, "failed") != 0 || strcmp(end.cause, cause) != 0)
        fail_msg("%s, not %s: %s: %s", end.outcome, cause, end.cause, end.text);
    stage_end_free(&end);
}

static void an_unmounted_store_never_becomes_a_new_repository(void **state)
{
    Stage *stage = *state;
    file_tree_shell("mv %s %s.away && mkdir %s", stage->repository->store_path,
                    stage->repository->store_path, stage->repository->store_path);
    must_fail(stage, "backup", "", "store.not_a_repository");
    file_tree_shell("test \"$(ls -A %s)\" = '' && rmdir %s && mv %s.away %s",
                    stage->repository->store_path, stage->repository->store_path,
                    stage->repository->store_path, stage->repository->store_path);
    stage_back_up(stage);
}

static void another_repository_at_the_same_place_is_refused(void **state)
{
    Stage *stage = *state;
    stage_back_up(stage);
    Repository *other = repository_new(false);
    file_tree_shell("mv %s %s.away && cp -a %s %s", stage->repository->store_path,
                    stage->repository->store_path, other->store_path,
                    stage->repository->store_path);
    StageEnd end;
    stage_run(stage, "backup", "", &end);
    assert_string_equal(end.outcome, "failed");
    assert_true(strcmp(end.cause, "repo.key_mismatch") == 0 ||
                strcmp(end.cause, "store.not_a_repository") == 0);
    stage_end_free(&end);
    file_tree_shell("rm -rf %s && mv %s.away %s", stage->repository->store_path,
                    stage->repository->store_path, stage->repository->store_path);
    repository_free(other);
}

static void what_the_workers_own_file_forbids_fails_by_name(void **state)
{
    Stage *stage = *state;
    char params[300], id[UUID_TEXT];
    stage_back_up(stage);
    stage_backup(stage, id);
    snprintf(params, sizeof params, "{\"backup\":\"%s\",\"target\":{\"path\":\"/etc/x\"}}", id);
    must_fail(stage, "restore", params, "not-allowed-here");
    stage_policy(stage, "files", "{\"paths\":[\"/etc\"]}", "");
    must_fail(stage, "backup", "", "not-allowed-here");
    stage_policy(stage, "files", NULL, "");
    stage_config(stage, "{stores: [other]}", "");
    must_fail(stage, "backup", "", "not-allowed-here");
    stage_config(stage, "{key_sets: [other]}", "");
    must_fail(stage, "backup", "", "not-allowed-here");
}

static void a_worker_without_the_reader_key_backs_up_and_says_no_reader(void **state)
{
    Stage *stage = *state;
    char params[300], id[UUID_TEXT];
    file_tree_shell("mv %s/test.reader %s/kept", stage->keys, stage->repository->dir);
    stage_back_up(stage);
    stage_back_up(stage);
    stage_backup(stage, id);
    snprintf(params, sizeof params, "{\"backup\":\"%s\",\"target\":{\"path\":\"%s\"}}", id,
             stage->tree->out);
    must_fail(stage, "restore", params, "no-reader");
    snprintf(params, sizeof params, "{\"backup\":\"%s\",\"level\":\"stored\"}", id);
    stage_must(stage, "verify", params, "completed");
    file_tree_shell("mv %s/kept %s/test.reader", stage->repository->dir, stage->keys);
}

static void a_source_that_is_not_there_fails_by_name(void **state)
{
    Stage *stage = *state;
    char config[200];
    snprintf(config, sizeof config, "{\"paths\":[\"%s/nowhere\"]}", stage->tree->top);
    stage_policy(stage, "files", config, "");
    must_fail(stage, "backup", "", "files.root_missing");
}

static void unreadable_files_make_it_partial_within_limits(void **state)
{
    Stage *stage = *state;
    if (geteuid() == 0) /* root reads everything: a file that always changes takes its place */
        skip();
    file_tree_shell("cd %s && echo x > secret && chmod 0 secret", stage->tree->tree);
    stage_must(stage, "backup", "", "partial");
    stage_policy(stage, "files", NULL, ",\"allow_partial\":{\"items\":0,\"share\":0}");
    must_fail(stage, "backup", "", "backup.too_partial");
}

static void an_attempt_that_lost_its_job_cannot_commit(void **state)
{
    Stage *stage = *state;
    StageEnd end = {0};
    stage_stopped(stage, "backup", "", "commit.before"); /* beyond its lease */
    Fence old = stage->fence;
    stage_reap(stage);
    kill(stage->child, SIGCONT);
    while (stage_listen(stage, &end))
        ;
    assert_string_equal(end.outcome, "failed");
    assert_string_equal(end.cause, "job.fenced");
    assert_false(end.committed);
    stage_end_free(&end);
    assert_int_equal(fleet_count(stage->fleet, "SELECT count(*) FROM backup"), 0);
    stage_again(stage, &end);
    assert_true(end.committed);
    assert_int_not_equal(old.attempt, stage->fence.attempt);
    stage_end_free(&end);
    stage_restore(stage, "");
    file_tree_assert_equal(stage->tree);
}

static void postgresql_going_down_in_the_middle_kills_nothing(void **state)
{
    Stage *stage = *state;
    StageEnd end = {0};
    stage_stopped(stage, "backup", "", "repo.pack_durable");
    postgres_kill(stage->fleet->pg);
    kill(stage->child, SIGCONT);
    while (strcmp(stage->phase, "wait-catalogue") != 0 && stage_listen(stage, &end))
        ;
    assert_string_equal(stage->phase, "wait-catalogue");
    postgres_again(stage->fleet->pg);
    stage_reconnect(stage);
    stage_finish(stage, &end);
    if (!end.committed)
        fail_msg("%s: %s", end.cause, end.text);
    stage_end_free(&end);
    stage_restore(stage, "");
    file_tree_assert_equal(stage->tree);
}

static void a_cancel_ends_it_soon_and_leaves_no_backup(void **state)
{
    Stage *stage = *state;
    StageEnd end = {0};
    stage_stopped(stage, "backup", "", "repo.pack_durable");
    stage_cancel(stage, "cancelled");
    kill(stage->child, SIGCONT);
    stage_finish(stage, &end);
    assert_string_equal(end.outcome, "cancelled");
    stage_end_free(&end);
    assert_int_equal(fleet_count(stage->fleet, "SELECT count(*) FROM backup"), 0);
    assert_string_equal(stage->state, "cancelled");
}

static void a_drain_releases_it_for_another_worker(void **state)
{
    Stage *stage = *state;
    StageEnd end = {0};
    stage_stopped(stage, "backup", "", "repo.pack_durable");
    stage_cancel(stage, "drain");
    kill(stage->child, SIGCONT);
    stage_finish(stage, &end);
    assert_string_equal(end.outcome, "released");
    stage_end_free(&end);
    stage_again(stage, &end);
    assert_true(end.committed);
    stage_end_free(&end);
}

static void a_parent_that_dies_takes_the_job_with_it(void **state)
{
    Stage *stage = *state;
    StageEnd end = {0};
    stage_start(stage, "backup", "");
    close(stage->to_child);
    stage->to_child = -1;
    while (stage_listen(stage, &end))
        ;
    assert_false(end.told);
    assert_int_equal(fleet_count(stage->fleet, "SELECT count(*) FROM backup"), 0);
}

static void damage_in_the_store_is_named_and_the_rest_is_restored(void **state)
{
    Stage *stage = *state;
    StageEnd end;
    char params[400], id[UUID_TEXT];
    fleet_breaks(stage->fleet, "packs with other bytes than recorded: one is damaged");
    stage_back_up(stage);
    stage_backup(stage, id);
    /* One byte in the middle of the largest pack. */
    file_tree_shell("f=$(ls -S $(find %s/packs -type f) | head -1); chmod u+w $f; "
                    "printf X | dd of=$f bs=1 seek=3000000 conv=notrunc status=none",
                    stage->repository->store_path);
    snprintf(params, sizeof params, "{\"backup\":\"%s\",\"target\":{\"path\":\"%s\"}}", id,
             stage->tree->out);
    stage_run(stage, "restore", params, &end);
    assert_string_equal(end.outcome, "partial");
    assert_int_equal(json_integer_value(json_object_get(end.answer, "damaged")), 1);
    stage_end_free(&end);
    file_tree_shell("test \"$(find %s -type f | wc -l)\" = 3", stage->tree->out);
    snprintf(params, sizeof params, "{\"backup\":\"%s\",\"level\":\"stored\"}", id);
    must_fail(stage, "verify", params, "verify.damaged");
    assert_int_equal(
        fleet_count(stage->fleet, "SELECT count(*) FROM verification WHERE result = 'failed'"), 1);
    /* What is damaged is shared no longer: the next backup is whole again. */
    stage_back_up(stage);
    file_tree_shell("rm -rf %s", stage->tree->out);
    stage_restore(stage, "");
    file_tree_assert_equal(stage->tree);
}

/* A backup asks the catalogue, not the store, whether yesterday's chunks are there: what vanished
 * from the store by hand is named by the next verify, and from then on is stored anew. */
static void a_pack_that_vanished_is_named_by_verify_and_stored_anew(void **state)
{
    Stage *stage = *state;
    char params[400], id[UUID_TEXT];
    fleet_breaks(stage->fleet, "packs that are not in the store: one is removed");
    stage_back_up(stage);
    file_tree_shell("rm -f $(ls -S $(find %s/packs -type f) | head -1)",
                    stage->repository->store_path);
    stage_back_up(stage);
    stage_backup(stage, id);
    snprintf(params, sizeof params, "{\"backup\":\"%s\",\"level\":\"stored\"}", id);
    must_fail(stage, "verify", params, "verify.damaged");
    stage_back_up(stage);
    assert_int_equal(
        fleet_count(stage->fleet,
                    "SELECT count(*) FROM backup b JOIN pack p ON p.no = ANY (b.packs) "
                    "WHERE p.damaged_at IS NOT NULL AND b.id = (SELECT id FROM backup "
                    "ORDER BY id DESC LIMIT 1)"),
        0);
    stage_restore(stage, "");
    file_tree_assert_equal(stage->tree);
}

static void a_restore_in_place_wants_the_name_typed(void **state)
{
    Stage *stage = *state;
    char params[300], id[UUID_TEXT];
    stage_back_up(stage);
    stage_backup(stage, id);
    snprintf(params, sizeof params, "{\"backup\":\"%s\",\"in_place\":true,\"confirm\":\"s2\"}", id);
    must_fail(stage, "restore", params, "restore.confirm");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(an_unmounted_store_never_becomes_a_new_repository),
        TEST(another_repository_at_the_same_place_is_refused),
        TEST(what_the_workers_own_file_forbids_fails_by_name),
        TEST(a_worker_without_the_reader_key_backs_up_and_says_no_reader),
        TEST(a_source_that_is_not_there_fails_by_name),
        TEST(unreadable_files_make_it_partial_within_limits),
        TEST(an_attempt_that_lost_its_job_cannot_commit),
        TEST(postgresql_going_down_in_the_middle_kills_nothing),
        TEST(a_cancel_ends_it_soon_and_leaves_no_backup),
        TEST(a_drain_releases_it_for_another_worker),
        TEST(a_parent_that_dies_takes_the_job_with_it),
        TEST(damage_in_the_store_is_named_and_the_rest_is_restored),
        TEST(a_pack_that_vanished_is_named_by_verify_and_stored_anew),
        TEST(a_restore_in_place_wants_the_name_typed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
