/* SPDX-License-Identifier: Apache-2.0
 * Backups that are forgotten leave, the packs that only they named follow, and everything else
 * stays restorable; whoever may not delete does not. */
#include "tests/harness/collecting.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static void a_forgotten_backup_leaves_and_its_packs_follow(void **state)
{
    Stage *stage = *state;
    stage_back_up(stage);
    int64_t packs = stage_stored(stage, "packs");
    collecting_change_all(stage);
    stage_back_up(stage);
    collecting_forget(stage, 1);
    assert_int_equal(stage_counted(stage, "backup WHERE gone_at IS NOT NULL AND sequence = 1"), 1);
    assert_int_equal(stage_stored(stage, "manifests"), 1);
    assert_int_equal(stage_stored(stage, "commits"), 1);
    assert_int_equal(stage_stored(stage, "parents"), 1);
    assert_int_equal(stage_stored(stage, "forgotten"), 1);
    stage_must(stage, "prune", "", "completed");
    assert_int_equal(stage_counted(stage, "pack WHERE state = 'deleted'"), packs);
    assert_int_equal(stage_counted(stage, "pack WHERE state NOT IN ('live', 'deleted')"), 0);
    assert_int_equal(stage_stored(stage, "packs"),
                     stage_counted(stage, "pack WHERE state = 'live'"));
    assert_int_equal(stage_counted(stage, "chunk c JOIN pack p ON p.no = c.pack_no WHERE p.state = "
                                          "'deleted'"),
                     0);
    assert_int_equal(stage_stored(stage, "index"), 1);
    assert_int_equal(stage_stored(stage, "epoch"), 1);
    assert_int_equal(stage_counted(stage, "audit_event WHERE action IN ('backup.delete', "
                                          "'repository.prune')"),
                     3);
    stage_restore(stage, "");
    file_tree_assert_equal(stage->tree);
    /* And the next backup finds the repository as it should be. */
    stage_back_up(stage);
    assert_int_equal(stage_counted(stage, "repository WHERE rolled_back"), 0);
}

/* A run that is killed at any point is ended by the next, and nothing that is left to restore is
 * harmed. */
static void killed_after_each(Stage *stage, const char *const *points, size_t count, bool forgets)
{
    for (size_t i = 0; i < count; i++) {
        char params[200] = "";
        StageEnd end = {0};
        unsigned newest = (unsigned)fleet_count(stage->fleet, "SELECT max(sequence) FROM backup");
        collecting_change_all(stage);
        stage_back_up(stage);
        if (forgets)
            collecting_forget_params(stage, newest, params);
        else
            collecting_forget(stage, newest);
        stage_killed(stage, "prune", params, points[i]);
        stage_reap(stage);
        stage_again(stage, &end);
        if (strcmp(end.outcome, "completed") != 0)
            fail_msg("after %s: %s %s %s", points[i], end.outcome, end.cause, end.text);
        stage_end_free(&end);
        assert_int_equal(stage_stored(stage, "manifests"), 1);
        assert_int_equal(stage_stored(stage, "commits"), 1);
        if (!forgets)
            assert_int_equal(stage_stored(stage, "packs"),
                             stage_counted(stage, "pack WHERE state = 'live'"));
    }
    stage_restore(stage, "");
    file_tree_assert_equal(stage->tree);
    assert_int_equal(stage_counted(stage, "repository WHERE rolled_back"), 0);
}

static void a_kill_between_any_two_steps_of_forgetting_harms_nothing(void **state)
{
    static const char *const points[] = {"forget.deleted",  "forget.before",   "forget.said",
                                         "forget.unmarked", "forget.manifest", "forget.objects"};
    stage_back_up(*state);
    killed_after_each(*state, points, sizeof points / sizeof points[0], true);
}

static void a_kill_between_any_two_steps_of_collecting_harms_nothing(void **state)
{
    static const char *const points[] = {
        "collect.condemned", "collect.flipped", "collect.epoch", "collect.told",
        "collect.confirmed", "collect.deleted", "collect.gone"};
    stage_back_up(*state);
    killed_after_each(*state, points, sizeof points / sizeof points[0], false);
}

static void a_run_deletes_no_more_than_the_workers_own_file_allows(void **state)
{
    Stage *stage = *state;
    StageEnd end;
    stage_back_up(stage);
    collecting_change_all(stage);
    stage_back_up(stage);
    collecting_forget(stage, 1);
    int64_t packs = stage_stored(stage, "packs");
    stage_prune_config(stage, 0, "");
    stage_run(stage, "prune", "", &end);
    assert_string_equal(end.cause, "not-allowed-here");
    stage_end_free(&end);
    assert_int_equal(stage_stored(stage, "packs"), packs);
    stage_prune_config(stage, 1, "");
    stage_must(stage, "prune", "", "completed");
    assert_int_equal(stage_stored(stage, "packs"), packs - 1);
    stage_must(stage, "prune", "", "completed");
    assert_int_equal(stage_stored(stage, "packs"), packs - 2);
    stage_prune_config(stage, 100, ", prune_backups: 0");
    char params[200];
    collecting_forget_params(stage, 2, params);
    stage_run(stage, "prune", params, &end);
    assert_string_equal(end.cause, "not-allowed-here");
    stage_end_free(&end);
}

static void a_dry_run_tells_and_changes_nothing(void **state)
{
    Stage *stage = *state;
    StageEnd end;
    stage_back_up(stage);
    collecting_change_all(stage);
    stage_back_up(stage);
    collecting_forget(stage, 1);
    int64_t packs = stage_stored(stage, "packs");
    stage_run(stage, "prune", "{\"dry_run\":true}", &end);
    assert_string_equal(end.outcome, "completed");
    assert_true(json_integer_value(json_object_get(end.answer, "condemned")) >= 2);
    stage_end_free(&end);
    assert_int_equal(stage_stored(stage, "packs"), packs);
    assert_int_equal(stage_counted(stage, "pack WHERE state <> 'live'"), 0);
    assert_int_equal(stage_stored(stage, "epoch"), 0);
}

/* --- a catalogue or a store of an earlier day ---------------------------------------------------
 */

/* Deletes sequence 1 and its packs; kept.* is the catalogue of before the flip. */
static void collect_first(Stage *stage)
{
    stage_back_up(stage);
    file_tree_shell("cp -a %s %s.old", stage->tree->tree, stage->tree->tree);
    collecting_change_all(stage);
    stage_back_up(stage);
    collecting_forget(stage, 1);
    fleet_do(stage->fleet, "CREATE TABLE kept_chunk AS SELECT * FROM chunk; CREATE TABLE kept_pack "
                           "AS SELECT * FROM pack");
    stage_must(stage, "prune", "", "completed");
    assert_true(stage_counted(stage, "pack WHERE state = 'deleted'") >= 2);
}

static void refused(Stage *stage, const char *cause)
{
    StageEnd end;
    stage_run(stage, "prune", "", &end);
    assert_string_equal(end.outcome, "failed");
    assert_string_equal(end.cause, cause);
    stage_end_free(&end);
}

/* It names packs that are gone, and the writer has just what they held. */
static void a_writer_that_meets_a_catalogue_of_before_the_flip_shares_nothing_with_it(void **state)
{
    Stage *stage = *state;
    collect_first(stage);
    fleet_do(stage->fleet,
             "UPDATE pack p SET state = k.state, condemned_epoch = k.condemned_epoch, deleted_at = "
             "NULL, passes = 0 FROM kept_pack k WHERE k.no = p.no; INSERT INTO chunk SELECT k.* "
             "FROM kept_chunk k ON CONFLICT DO NOTHING; UPDATE repository SET gc_epoch = 0, "
             "confirmed_epoch = 0");
    file_tree_shell("rm -rf %s && mv %s.old %s", stage->tree->tree, stage->tree->tree,
                    stage->tree->tree);
    refused(stage, "repo.rolled_back");
    stage_back_up(stage);
    assert_int_equal(stage_counted(stage, "repository WHERE rolled_back"), 1);
    stage_restore(stage, "");
    file_tree_assert_equal(stage->tree);
    refused(stage, "repo.rolled_back");
}

/* Condemned in the lost tail: nothing was deleted, and the store knows of no newer epoch. */
static void a_catalogue_that_lost_what_was_condemned_collects_it_again(void **state)
{
    Stage *stage = *state;
    stage_back_up(stage);
    collecting_change_all(stage);
    stage_back_up(stage);
    collecting_forget(stage, 1);
    stage_killed(stage, "prune", "", "collect.condemned");
    stage_reap(stage);
    fleet_do(stage->fleet, "UPDATE pack SET state = 'live', condemned_epoch = NULL; UPDATE "
                           "repository SET gc_epoch = 0; DELETE FROM collection");
    StageEnd end;
    stage_again(stage, &end);
    assert_string_equal(end.outcome, "completed");
    stage_end_free(&end);
    assert_int_equal(stage_stored(stage, "packs"),
                     stage_counted(stage, "pack WHERE state = 'live'"));
    stage_restore(stage, "");
    file_tree_assert_equal(stage->tree);
}

static void a_store_of_an_earlier_day_is_collected_no_more(void **state)
{
    Stage *stage = *state;
    const char *store = stage->repository->store_path;
    stage_back_up(stage);
    collecting_change_all(stage);
    stage_back_up(stage);
    collecting_forget(stage, 1);
    file_tree_shell("cp -a %s %s.old", store, store);
    stage_must(stage, "prune", "", "completed");
    file_tree_shell("rm -rf %s && mv %s.old %s", store, store, store);
    refused(stage, "repo.rolled_back");
    stage_back_up(stage);
    stage_restore(stage, "");
    file_tree_assert_equal(stage->tree);
}

/* It was stopped a moment before it wrote its epoch, taken for dead, and wakes after another run:
 * the old epoch in the store is known for what it is, and written anew. */
static void an_epoch_that_comes_late_is_no_alarm(void **state)
{
    Stage *stage = *state;
    StageEnd end;
    stage_back_up(stage);
    collecting_change_all(stage);
    stage_back_up(stage);
    collecting_forget(stage, 1);
    stage_stopped(stage, "prune", "", "collect.epoch");
    pid_t zombie = stage->child;
    int to = stage->to_child, from = stage->from_child; /* as long as they are open it goes on */
    stage->child = 0;
    stage_reap(stage);
    stage_again(stage, &end);
    assert_string_equal(end.outcome, "completed");
    stage_end_free(&end);
    collecting_change_all(stage);
    stage_back_up(stage);
    collecting_forget(stage, 2);
    stage_must(stage, "prune", "", "completed");
    int64_t newest = fleet_count(stage->fleet, "SELECT confirmed_epoch FROM repository");
    kill(zombie, SIGCONT);
    waitpid(zombie, NULL, 0);
    close(to);
    close(from);
    assert_true(repo_epoch_read(stage->repository->repo, &(Err){0}));
    assert_true(repo_facts(stage->repository->repo)->epoch < (uint64_t)newest);
    stage_back_up(stage);
    stage_must(stage, "prune", "", "completed");
    assert_int_equal(stage_counted(stage, "repository WHERE rolled_back"), 0);
    assert_true(repo_epoch_read(stage->repository->repo, &(Err){0}));
    assert_true(repo_facts(stage->repository->repo)->epoch >= (uint64_t)newest);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, collecting_set_up, collecting_tear_down)

int main(int count, char **words)
{
    cmocka_set_test_filter(count > 1 ? words[1] : NULL);
    const struct CMUnitTest tests[] = {
        TEST(a_forgotten_backup_leaves_and_its_packs_follow),
        TEST(a_kill_between_any_two_steps_of_forgetting_harms_nothing),
        TEST(a_kill_between_any_two_steps_of_collecting_harms_nothing),
        TEST(a_run_deletes_no_more_than_the_workers_own_file_allows),
        TEST(a_dry_run_tells_and_changes_nothing),
        TEST(a_writer_that_meets_a_catalogue_of_before_the_flip_shares_nothing_with_it),
        TEST(a_catalogue_that_lost_what_was_condemned_collects_it_again),
        TEST(a_store_of_an_earlier_day_is_collected_no_more),
        TEST(an_epoch_that_comes_late_is_no_alarm),
    };
    return cmocka_run_group_tests_name("integration.job.collect", tests, NULL, NULL);
}
