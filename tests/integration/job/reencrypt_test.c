/* SPDX-License-Identifier: Apache-2.0
 * After a reader key was stolen: every pack is sealed anew, step by step, whoever is killed on the
 * way; nothing is lost, and nothing that is stored opens with the old key. */
#include "common/repo/sealed_to.h"
#include "tests/harness/stage.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static const char *const REENCRYPT = "{\"reencrypt\":true,\"reason\":\"a stolen key\"}";

static int set_up(void **state)
{
    Stage *stage = stage_new("");
    fleet_settled(stage->fleet);
    fleet_do(
        stage->fleet,
        "UPDATE setting SET value = 600 WHERE name IN ('lease_s', 'liveness_s'); UPDATE worker "
        "SET reader = true WHERE pruner; GRANT holdfast_reader TO p1; UPDATE worker_instance SET "
        "facts = facts || '{\"roles\":[\"read\",\"write\",\"prune\"]}'");
    *state = stage;
    return 0;
}

static int tear_down(void **state)
{
    stage_free(*state);
    return 0;
}

static int64_t told(const StageEnd *end, const char *name)
{
    const json_t *own = json_object_get(json_object_get(end->answer, "reencrypt"), name);
    return json_integer_value(own != NULL ? own : json_object_get(end->answer, name));
}

/* Three backups, each with packs of its own, each sharing those before it. */
static void three_backups(Stage *stage)
{
    for (int i = 1; i <= 3; i++) {
        file_tree_shell("cd %s && head -c 900000 /dev/urandom > %d", stage->tree->tree, i);
        stage_back_up(stage);
    }
}

static void change_keys(Stage *stage)
{
    repository_rotate(stage->repository);
    repository_retire(stage->repository);
    repository_enroll(stage->repository);
}

typedef struct Census {
    const Stage *stage;
    unsigned under_others;
} Census;

static bool look(void *ctx, const char *name, uint64_t size, Err *err)
{
    Census *census = ctx;
    SealedTo sealed;
    uint8_t current[DISK_READERS_MOST][16];
    const Keyring *keyring = census->stage->repository->keyring;
    (void)size;
    keyring_reader_ids(keyring, current);
    if (!sealed_to_read(census->stage->repository->store, name, &sealed, err))
        return false;
    census->under_others +=
        sealed_to_others(&sealed, (const uint8_t(*)[16])current, keyring_slots(keyring));
    return true;
}

/* Objects of a folder that somebody with a key of before could open. */
static unsigned under_others(const Stage *stage, const char *folder)
{
    Census census = {.stage = stage};
    Err err = {0};
    assert_true(store_list(stage->repository->store, folder, look, &census, &err));
    return census.under_others;
}

static void same_tree(Stage *stage)
{
    file_tree_shell("rm -rf %s && mkdir %s", stage->tree->out, stage->tree->out);
    stage_restore(stage, "");
    file_tree_assert_equal(stage->tree);
}

static void run(Stage *stage, StageEnd *end)
{
    stage_run(stage, "prune", REENCRYPT, end);
    if (strcmp(end->outcome, "completed") != 0)
        fail_msg("%s: %s %s", end->outcome, end->cause, end->text);
}

static void every_pack_is_sealed_anew_and_the_old_ones_die(void **state)
{
    Stage *stage = *state;
    StageEnd end;
    three_backups(stage);
    int64_t packs = stage_stored(stage, "packs");
    change_keys(stage);
    same_tree(stage); /* the new reader has the secrets of the old one */
    assert_int_equal(under_others(stage, "packs/"), packs);
    run(stage, &end);
    assert_int_equal(told(&end, "generation"), 3);
    assert_int_equal(told(&end, "repacked"), packs);
    assert_int_equal(told(&end, "moved_backups"), 3);
    assert_int_equal(told(&end, "left"), 0);
    assert_int_equal(told(&end, "objects"), 3);
    assert_int_equal(told(&end, "left_objects"), 0);
    stage_end_free(&end);
    assert_int_equal(under_others(stage, "packs/"), 0);
    assert_int_equal(under_others(stage, "index/"), 0);
    assert_int_equal(under_others(stage, "manifests/"), 0);
    assert_true(stage_stored(stage, "index") >= 1);
    assert_int_equal(stage_stored(stage, "packs"),
                     stage_counted(stage, "pack WHERE state = 'live'"));
    assert_int_equal(stage_counted(stage, "repository WHERE reencrypt_generation = 3 AND "
                                          "reencrypt_packs = 0"),
                     1);
    same_tree(stage);
    /* Nothing is sent again, and a second run finds nothing to do. */
    stage_back_up(stage);
    assert_true(fleet_count(stage->fleet, "SELECT new_bytes FROM backup ORDER BY sequence DESC "
                                          "LIMIT 1") < 1000);
    run(stage, &end);
    assert_int_equal(told(&end, "repacked"), 0);
    assert_int_equal(told(&end, "left"), 0);
    stage_end_free(&end);
    same_tree(stage);
}

static void a_killed_run_is_gone_on_with_and_one_with_a_budget_too(void **state)
{
    Stage *stage = *state;
    StageEnd end = {0};
    uint64_t swept;
    Err err = {0};
    three_backups(stage);
    int64_t packs = stage_stored(stage, "packs");
    change_keys(stage);
    fleet_do(stage->fleet, "UPDATE setting SET value = 1 WHERE name = 'reencrypt_step'");
    static const char *const points[] = {"repack.staged", "repack.before"};
    for (size_t i = 0; i < sizeof points / sizeof *points; i++) {
        stage_killed(stage, "prune", REENCRYPT, points[i]);
        stage_reap(stage);
        fleet_do(stage->fleet,
                 "UPDATE job SET state = 'cancelled', finished_at = clock_timestamp() "
                 "WHERE state = 'pending' AND kind = 'prune'");
        same_tree(stage);
    }
    stage_killed(stage, "prune", REENCRYPT, "repack.committed");
    stage_reap(stage);
    fleet_do(stage->fleet, "UPDATE setting SET value = 1 WHERE name = 'reencrypt_bytes'");
    stage_again(stage, &end);
    assert_string_equal(end.outcome, "completed");
    assert_int_equal(told(&end, "repacked"), 0); /* it was swapped before the kill */
    assert_true(told(&end, "left") > 0);
    stage_end_free(&end);
    fleet_do(stage->fleet, "UPDATE setting SET value = 1e12 WHERE name = 'reencrypt_bytes'");
    assert_true(catalog_sweep(stage->fleet->scheduler, &swept, &err)); /* of those that died */
    run(stage, &end);
    assert_int_equal(told(&end, "repacked"), packs - 1);
    assert_int_equal(told(&end, "left"), 0);
    stage_end_free(&end);
    assert_int_equal(under_others(stage, "packs/"), 0);
    assert_int_equal(stage_stored(stage, "packs"),
                     stage_counted(stage, "pack WHERE state = 'live'"));
    same_tree(stage);
}

static void check(Stage *stage)
{
    char params[120], id[UUID_TEXT];
    stage_backup(stage, id);
    snprintf(params, sizeof params, "{\"backup\":\"%s\",\"level\":\"content\"}", id);
    stage_must(stage, "verify", params, "completed");
}

/* What a thief of the old key finds afterwards: nothing that it opens, in no folder. Twice, because
 * what was sealed once more is sealed anew too. */
static void what_is_no_pack_is_sealed_once_more_and_stays_what_it_was(void **state)
{
    static const char *const folders[] = {"packs/", "index/", "manifests/", "audit/"};
    Stage *stage = *state;
    StageEnd end = {0};
    three_backups(stage);
    check(stage);
    stage_must(stage, "prune", "", "completed"); /* tells it to the store */
    assert_int_equal(stage_stored(stage, "audit"), 1);
    change_keys(stage);
    assert_int_equal(under_others(stage, "manifests/"), 3);
    assert_int_equal(under_others(stage, "audit/"), 1);
    stage_killed(stage, "prune", REENCRYPT, "reseal.object");
    assert_int_equal(under_others(stage, "manifests/"), 2);
    stage_reap(stage);
    stage_again(stage, &end);
    assert_string_equal(end.outcome, "completed");
    stage_end_free(&end);
    for (size_t i = 0; i < sizeof folders / sizeof *folders; i++)
        assert_int_equal(under_others(stage, folders[i]), 0);
    same_tree(stage);
    stage_back_up(stage); /* its parent is what its hash says */
    change_keys(stage);
    assert_true(under_others(stage, "manifests/") == 4);
    run(stage, &end);
    stage_end_free(&end);
    for (size_t i = 0; i < sizeof folders / sizeof *folders; i++)
        assert_int_equal(under_others(stage, folders[i]), 0);
    same_tree(stage);
    check(stage);
}

static void refused(Stage *stage, const char *cause)
{
    StageEnd end;
    stage_run(stage, "prune", REENCRYPT, &end);
    assert_string_equal(end.outcome, "failed");
    assert_string_equal(end.cause, cause);
    stage_end_free(&end);
}

static void nothing_is_sealed_anew_to_a_reader_that_is_still_to_go(void **state)
{
    Stage *stage = *state;
    three_backups(stage);
    repository_rotate(stage->repository);
    refused(stage, "key.outdated");
    repository_enroll(stage->repository);
    refused(stage, "key.retire_first");
    repository_retire(stage->repository);
    refused(stage, "key.retired");
    assert_int_equal(stage_counted(stage, "pack WHERE sealed_generation IS NOT NULL"), 0);
    same_tree(stage);
}

static void a_damaged_pack_stays_and_is_said_to_be_left(void **state)
{
    Stage *stage = *state;
    StageEnd end;
    three_backups(stage);
    change_keys(stage);
    file_tree_shell("cd %s/packs && f=$(ls -1S */* | head -1) && chmod u+w $f && dd "
                    "if=/dev/urandom of=$f bs=1000 seek=20 count=100 conv=notrunc status=none",
                    stage->repository->store_path);
    run(stage, &end);
    assert_int_equal(told(&end, "found_damaged"), 1);
    assert_int_equal(told(&end, "left"), 1);
    stage_end_free(&end);
    assert_int_equal(under_others(stage, "packs/"), 1);
    stage_back_up(stage);
    same_tree(stage);
    fleet_breaks(stage->fleet, "packs with other bytes than recorded: a test damaged one");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(every_pack_is_sealed_anew_and_the_old_ones_die),
        TEST(a_killed_run_is_gone_on_with_and_one_with_a_budget_too),
        TEST(what_is_no_pack_is_sealed_once_more_and_stays_what_it_was),
        TEST(nothing_is_sealed_anew_to_a_reader_that_is_still_to_go),
        TEST(a_damaged_pack_stays_and_is_said_to_be_left),
    };
    return cmocka_run_group_tests_name("integration.job.reencrypt", tests, NULL, NULL);
}
