/* SPDX-License-Identifier: Apache-2.0
 * A store or a catalogue that was put back to an earlier day: the next backup notices, says so
 * once, builds on nothing that may be gone, and the one after it shares again. */
#include "tests/harness/stage.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static int set_up(void **state)
{
    Stage *stage = stage_new("");
    fleet_settled(stage->fleet); /* no case leaves a job behind */
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

/* The alert goes out with the first session that notices, and never twice for one loss. */
static void back_up_set_back(Stage *stage, bool noticed)
{
    static const char alerts[] = "SELECT count(*) FROM event WHERE kind = 'alert' AND data ->> "
                                 "'code' = 'repo.rolled_back'";
    int64_t before = fleet_count(stage->fleet, alerts);
    stage_back_up(stage);
    buf_add_byte(&stage->log, 0);
    assert_int_equal(strstr((char *)stage->log.at, "repo.rolled_back") != NULL, noticed);
    assert_int_equal(fleet_count(stage->fleet, alerts) - before, noticed);
    assert_int_equal(fleet_count(stage->fleet, "SELECT count(*) FROM audit_event WHERE action = "
                                               "'repository.set_back'"),
                     before + noticed);
}

/* What was committed after the copy is in the catalogue and not in the store. A backup of nothing
 * new had no packs there, and its marker was due. */
static void store_forgets(Stage *stage, bool news)
{
    fleet_breaks(stage->fleet, "backups without a manifest: the store was set back");
    fleet_breaks(stage->fleet, "backups that do not verify: the store was set back");
    if (!news)
        return;
    fleet_breaks(stage->fleet, "packs that are not in the store: it was set back");
    fleet_breaks(stage->fleet, "backups whose index is not as recorded: the store was set back");
    fleet_breaks(stage->fleet, "backups without the marker that is said to be there: the store "
                               "was set back");
}

static int64_t stored_by_newest(Stage *stage)
{
    return fleet_count(stage->fleet,
                       "SELECT stored_bytes FROM backup ORDER BY sequence DESC LIMIT 1");
}

static void a_store_that_was_set_back_is_noticed_and_lied_on_no_more(void **state)
{
    Stage *stage = *state;
    const char *store = stage->repository->store_path;
    store_forgets(stage, true);
    stage_back_up(stage);
    file_tree_shell("cp -a %s %s.old", store, store);
    file_tree_shell("head -c 4000000 /dev/urandom > %s/new", stage->tree->tree);
    stage_back_up(stage);
    file_tree_shell("rm -rf %s && mv %s.old %s", store, store, store);
    back_up_set_back(stage, true);
    stage_restore(stage, "");
    file_tree_assert_equal(stage->tree);
    /* It stored all again, and the next one shares with it. */
    assert_true(stored_by_newest(stage) > 15000000);
    back_up_set_back(stage, false);
    assert_true(stored_by_newest(stage) < 100000);
}

/* The catalogue of before the last backup: of all that this one left, the store alone tells. */
static void a_catalogue_that_was_set_back_is_noticed_too(void **state)
{
    Stage *stage = *state;
    stage_back_up(stage);
    fleet_do(stage->fleet, "CREATE TABLE kept AS SELECT max(no) AS no FROM pack");
    file_tree_shell("head -c 4000000 /dev/urandom > %s/new", stage->tree->tree);
    stage_back_up(stage);
    fleet_do(stage->fleet, "SET session_replication_role = replica;"
                           "DELETE FROM chunk WHERE pack_no > (SELECT no FROM kept);"
                           "DELETE FROM pack WHERE no > (SELECT no FROM kept);"
                           "DELETE FROM session WHERE job = (SELECT max(id) FROM job);"
                           "DELETE FROM job_attempt WHERE job = (SELECT max(id) FROM job);"
                           "DELETE FROM job WHERE id = (SELECT job FROM backup WHERE sequence = 2);"
                           "DELETE FROM backup WHERE sequence = 2;"
                           "SET session_replication_role = origin");
    back_up_set_back(stage, true);
    assert_true(stored_by_newest(stage) > 15000000);
    stage_restore(stage, "");
    file_tree_assert_equal(stage->tree);
    back_up_set_back(stage, false);
    assert_true(stored_by_newest(stage) < 100000);
}

static void epochs_that_do_not_fit_are_told_once(void **state)
{
    Stage *stage = *state;
    stage_back_up(stage);
    back_up_set_back(stage, false);
    fleet_do(stage->fleet, "UPDATE repository SET gc_epoch = 5, confirmed_epoch = 4");
    back_up_set_back(stage, true);
    back_up_set_back(stage, false);
    assert_true(stored_by_newest(stage) < 100000);
    /* One that is damaged fits no catalogue, and stops nobody. */
    fleet_do(stage->fleet, "UPDATE repository SET gc_epoch = 0, confirmed_epoch = 0");
    file_tree_shell("echo garbage > %s/epoch", stage->repository->store_path);
    back_up_set_back(stage, true);
    back_up_set_back(stage, false);
    stage_restore(stage, "");
    file_tree_assert_equal(stage->tree);
}

/* The marker of a committed backup is still due when the store is set back: it must not say that
 * the backup is there. */
static void a_due_marker_is_not_written_for_a_backup_that_the_store_lost(void **state)
{
    Stage *stage = *state;
    const char *store = stage->repository->store_path;
    char id[UUID_TEXT];
    store_forgets(stage, false);
    stage_back_up(stage);
    file_tree_shell("cp -a %s %s.old", store, store);
    stage_back_up(stage);
    stage_backup(stage, id);
    fleet_do(stage->fleet, "UPDATE backup SET marker_at = NULL WHERE sequence = 2");
    file_tree_shell("rm -rf %s && mv %s.old %s", store, store, store);
    back_up_set_back(stage, true);
    file_tree_shell("test ! -e %s/commits/%s", store, id);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_store_that_was_set_back_is_noticed_and_lied_on_no_more),
        TEST(a_catalogue_that_was_set_back_is_noticed_too),
        TEST(epochs_that_do_not_fit_are_told_once),
        TEST(a_due_marker_is_not_written_for_a_backup_that_the_store_lost),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
