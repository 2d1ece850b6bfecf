/* SPDX-License-Identifier: Apache-2.0
 * A session that stores much writes several index objects: the catalogue knows each of them before
 * it is written, a scan for orphans finds none of them, and all go with what they name. */
#include "common/catalog/catalog_pack.h"
#include "tests/harness/stage.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#define SCAN "{\"orphans\":true}"

/* An object for every pack. */
static const char *const MANY = "{\"index_bytes\":1}";

/* Four packs at least: three of 16 MiB of content, and one of lists. */
static void change_all(Stage *stage)
{
    file_tree_shell("cd %s && for i in 1 2 3 4; do head -c 10000000 /dev/urandom > $i; done",
                    stage->tree->tree);
}

static int set_up(void **state)
{
    Stage *stage = stage_new("");
    fleet_settled(stage->fleet);
    fleet_do(stage->fleet,
             "UPDATE setting SET value = 600 WHERE name IN ('lease_s', 'liveness_s'); "
             "UPDATE setting SET value = 0 WHERE name = 'orphan_age_s'");
    change_all(stage);
    *state = stage;
    return 0;
}

static int tear_down(void **state)
{
    stage_free(*state);
    return 0;
}

static void no_orphans(Stage *stage)
{
    static const char *const names[] = {"orphans", "unreadable", "quarantined", "foreign"};
    StageEnd end;
    stage_run(stage, "prune", SCAN, &end);
    assert_string_equal(end.outcome, "completed");
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const json_t *told = json_object_get(json_object_get(end.answer, "orphans"), names[i]);
        if (!json_is_integer(told) || json_integer_value(told) != 0)
            fail_msg("%s: %lld", names[i], (long long)json_integer_value(told));
    }
    stage_end_free(&end);
}

/* Each index object of the store has its row, and nothing else has one. */
static void all_known(Stage *stage, int64_t least)
{
    int64_t there = stage_stored(stage, "index");
    assert_true(there >= least);
    assert_int_equal(stage_counted(stage, "written_index WHERE gone_at IS NULL"), there);
    assert_int_equal(stage_counted(stage, "written_index i WHERE gone_at IS NULL AND NOT EXISTS "
                                          "(SELECT FROM pack p WHERE p.no = ANY (i.packs) AND "
                                          "p.state <> 'deleted')"),
                     0);
}

static void forget_first(Stage *stage)
{
    char id[512], params[200];
    fleet_ask(stage->fleet,
              "SELECT id FROM backup WHERE deleted_at IS NULL ORDER BY sequence LIMIT 1", id);
    snprintf(params, sizeof params, "{\"forget\":[\"%.36s\"],\"reason\":\"old\"}", id);
    stage_must(stage, "prune", params, "completed");
}

static void same_tree(Stage *stage)
{
    file_tree_shell("rm -rf %s && mkdir %s", stage->tree->out, stage->tree->out);
    stage_restore(stage, "");
    file_tree_assert_equal(stage->tree);
}

/* --- the tests -------------------------------------------------------------------------------- */

static void all_index_objects_of_a_session_go_with_its_backup(void **state)
{
    Stage *stage = *state;
    stage_must(stage, "backup", MANY, "completed");
    int64_t first = stage_stored(stage, "index");
    all_known(stage, 4);
    no_orphans(stage);
    change_all(stage);
    stage_must(stage, "backup", MANY, "completed");
    int64_t both = stage_stored(stage, "index");
    all_known(stage, first + 4);
    forget_first(stage);
    stage_must(stage, "prune", "", "completed");
    assert_int_equal(stage_stored(stage, "index"), both - first);
    all_known(stage, 4);
    assert_int_equal(stage_counted(stage, "written_index WHERE gone_at IS NOT NULL"), first);
    no_orphans(stage);
    same_tree(stage);
}

/* What cannot be read is not asked what it names: the rows say it. */
static void a_scan_knows_them_without_reading_them(void **state)
{
    Stage *stage = *state;
    stage_must(stage, "backup", MANY, "completed");
    const char *store = stage->repository->store_path, *top = stage->tree->top;
    file_tree_shell("cp -a %s/index %s/whole && for f in %s/index/*; do echo broken > $f; done",
                    store, top, store);
    for (int i = 0; i < 3; i++)
        no_orphans(stage);
    file_tree_shell("cp %s/whole/* %s/index/", top, store);
    all_known(stage, 4);
}

/* Announced and not written, written and not committed: the collector takes them when their packs
 * are gone, be they taken over by the next attempt or not. */
static void those_of_dead_attempts_go_too(void **state)
{
    static const char *const places[] = {"repo.index_begun", "repo.manifest_durable"};
    Stage *stage = *state;
    StageEnd end;
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        change_all(stage);
        stage_killed(stage, "backup", MANY, places[i]);
        stage_reap(stage);
        stage_again(stage, &end);
        assert_string_equal(end.outcome, "completed");
        stage_end_free(&end);
    }
    assert_true(stage_counted(stage, "written_index WHERE attempt = 1") >= 5);
    change_all(stage);
    stage_must(stage, "backup", MANY, "completed");
    forget_first(stage);
    forget_first(stage);
    fleet_do(stage->fleet, "SELECT sweep_staged()");
    stage_must(stage, "prune", "", "completed");
    stage_must(stage, "prune", "", "completed");
    assert_int_equal(stage_counted(stage, "written_index i JOIN job_attempt a USING (job, attempt) "
                                          "WHERE gone_at IS NULL AND a.outcome <> 'completed'"),
                     0);
    all_known(stage, 4);
    same_tree(stage);
}

/* A repack of many packs writes many too. */
static void those_of_a_repack_go_with_the_last_of_their_packs(void **state)
{
    static const char *const repack = "{\"repack\":true,\"reason\":\"a test\",\"index_bytes\":1}";
    Stage *stage = *state;
    fleet_do(stage->fleet,
             "UPDATE worker SET reader = true WHERE pruner; GRANT holdfast_reader TO p1; "
             "UPDATE worker_instance SET facts = facts || "
             "'{\"roles\":[\"read\",\"write\",\"prune\"]}'");
    file_tree_shell("cd %s && for i in $(seq 1 80); do head -c 700000 /dev/urandom > $i; done",
                    stage->tree->tree);
    stage_must(stage, "backup", MANY, "completed");
    file_tree_shell("cd %s && for i in $(seq 1 3 80) $(seq 2 3 80); do "
                    "head -c 700000 /dev/urandom > $i; done",
                    stage->tree->tree);
    stage_must(stage, "backup", MANY, "completed");
    forget_first(stage);
    stage_must(stage, "prune", repack, "completed");
    assert_true(stage_counted(stage, "written_index WHERE backup IS NULL AND gone_at IS NULL") > 1);
    all_known(stage, 6);
    no_orphans(stage);
    same_tree(stage);
    change_all(stage);
    file_tree_shell("cd %s && for i in $(seq 5 80); do rm -f $i; done", stage->tree->tree);
    stage_must(stage, "backup", MANY, "completed");
    forget_first(stage);
    stage_must(stage, "prune", "", "completed");
    assert_int_equal(stage_counted(stage, "written_index WHERE backup IS NULL AND gone_at IS NULL"),
                     0);
    all_known(stage, 4);
    no_orphans(stage);
}

/* A session names what it staged, and nobody else's object. */
static void nobody_announces_for_another(void **state)
{
    Stage *stage = *state;
    Err err = {0};
    StageEnd end = {0};
    Uuid backup = {{1}}, object = {{2}};
    stage_must(stage, "backup", MANY, "completed");
    uint64_t pack = (uint64_t)fleet_count(stage->fleet, "SELECT min(no) FROM pack");
    change_all(stage);
    stage_stopped(stage, "backup", MANY, "repo.pack_staged");
    Catalog *catalog = stage->worker.c;
    assert_false(catalog_index_begin(catalog, &stage->fence, &backup, &object, &pack, 1, &err));
    assert_string_equal(err.cause, "index.not_ours");
    assert_false(catalog_index_begin(catalog, &stage->fence, &backup, &object, &pack, 0, &err));
    assert_string_equal(err.cause, "index.not_ours");
    kill(stage->child, SIGCONT);
    stage_finish(stage, &end);
    assert_string_equal(end.outcome, "completed");
    stage_end_free(&end);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(all_index_objects_of_a_session_go_with_its_backup, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_scan_knows_them_without_reading_them, set_up, tear_down),
        cmocka_unit_test_setup_teardown(those_of_dead_attempts_go_too, set_up, tear_down),
        cmocka_unit_test_setup_teardown(those_of_a_repack_go_with_the_last_of_their_packs, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(nobody_announces_for_another, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
