/* SPDX-License-Identifier: Apache-2.0
 * Of packs that are mostly dead, what backups need moves into new packs; whoever still counts on
 * the old ones, or meets a kill on the way, loses nothing. */
#include "common/catalog/catalog_collect.h"
#include "tests/harness/stage.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static const char *const REPACK = "{\"repack\":true,\"reason\":\"a test\"}";

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
    return json_integer_value(json_object_get(end->answer, name));
}

/* Contents of their own, each a chunk or two. */
static void grow(Stage *stage, const char *files)
{
    file_tree_shell("cd %s && for i in %s; do head -c 700000 /dev/urandom > $i; done",
                    stage->tree->tree, files);
}

static void forget_first(Stage *stage)
{
    char id[512], params[200];
    fleet_ask(stage->fleet,
              "SELECT id FROM backup WHERE deleted_at IS NULL ORDER BY sequence LIMIT 1", id);
    snprintf(params, sizeof params, "{\"forget\":[\"%.36s\"],\"reason\":\"old\"}", id);
    stage_must(stage, "prune", params, "completed");
}

/* Two backups, the first gone; of its packs a quarter is needed. */
static void half_dead(Stage *stage)
{
    grow(stage, "1 2 3 4");
    stage_back_up(stage);
    grow(stage, "1 2 3");
    stage_back_up(stage);
    forget_first(stage);
}

static void same_tree(Stage *stage)
{
    file_tree_shell("rm -rf %s && mkdir %s", stage->tree->out, stage->tree->out);
    stage_restore(stage, "");
    file_tree_assert_equal(stage->tree);
}

static void what_is_needed_of_half_dead_packs_moves_and_the_rest_is_freed(void **state)
{
    Stage *stage = *state;
    StageEnd end;
    half_dead(stage);
    int64_t before = fleet_count(stage->fleet, "SELECT sum(bytes)::bigint FROM pack WHERE state = "
                                               "'live'");
    stage_run(stage, "prune", REPACK, &end);
    assert_string_equal(end.outcome, "completed");
    assert_true(told(&end, "repacked") >= 1);
    assert_true(told(&end, "made") >= 1);
    assert_int_equal(told(&end, "moved_backups"), 1);
    assert_true(told(&end, "freed") >= 2000000);
    stage_end_free(&end);
    assert_true(fleet_count(stage->fleet, "SELECT sum(bytes)::bigint FROM pack WHERE state = "
                                          "'live'") < before - 2000000);
    assert_int_equal(stage_stored(stage, "packs"),
                     stage_counted(stage, "pack WHERE state = 'live'"));
    assert_int_equal(stage_counted(stage, "pack WHERE state NOT IN ('live', 'deleted')"), 0);
    same_tree(stage);
    /* The next backup shares what was moved, and what is left is not moved again. */
    stage_back_up(stage);
    assert_true(fleet_count(stage->fleet, "SELECT new_bytes FROM backup ORDER BY sequence DESC "
                                          "LIMIT 1") < 1000);
    stage_run(stage, "prune", REPACK, &end);
    assert_int_equal(told(&end, "repacked"), 0);
    stage_end_free(&end);
}

static void the_index_of_moved_packs_goes_with_the_last_of_them(void **state)
{
    Stage *stage = *state;
    half_dead(stage);
    stage_must(stage, "prune", REPACK, "completed");
    assert_int_equal(stage_counted(stage, "written_index WHERE backup IS NULL AND gone_at IS NULL"),
                     1);
    assert_int_equal(stage_stored(stage, "index"), 2);
    grow(stage, "1 2 3 4");
    stage_back_up(stage);
    forget_first(stage);
    stage_must(stage, "prune", REPACK, "completed");
    assert_int_equal(stage_counted(stage, "written_index WHERE backup IS NULL AND gone_at IS NULL"),
                     0);
    assert_int_equal(stage_stored(stage, "index"), 1);
    same_tree(stage);
}

static void a_kill_between_any_two_steps_of_repacking_harms_nothing(void **state)
{
    Stage *stage = *state;
    static const char *const points[] = {"repack.looked",   "repack.begun",   "repack.durable",
                                         "repack.staged",   "repack.indexed", "repack.before",
                                         "repack.committed"};
    half_dead(stage);
    for (size_t i = 0; i < sizeof points / sizeof points[0]; i++) {
        StageEnd end = {0};
        uint64_t swept;
        Err err = {0};
        stage_killed(stage, "prune", REPACK, points[i]);
        stage_reap(stage);
        stage_again(stage, &end);
        if (strcmp(end.outcome, "completed") != 0)
            fail_msg("after %s: %s %s %s", points[i], end.outcome, end.cause, end.text);
        stage_end_free(&end);
        same_tree(stage);
        assert_true(catalog_sweep(stage->fleet->scheduler, &swept, &err));
        stage_must(stage, "prune", REPACK, "completed");
        assert_int_equal(stage_stored(stage, "packs"),
                         stage_counted(stage, "pack WHERE state = 'live'"));
        same_tree(stage);
        grow(stage, i % 2 == 0 ? "1 2 4" : "2 3 4");
        stage_back_up(stage);
        forget_first(stage);
    }
    assert_int_equal(stage_counted(stage, "repository WHERE rolled_back"), 0);
}

/* Another job beside the one that stands still. */
static Stage beside(const Stage *stage)
{
    Stage other = *stage;
    other.order = other.log = (Buf){0};
    other.child = 0;
    return other;
}

static void repack_beside(const Stage *stage)
{
    Stage other = beside(stage);
    StageEnd end;
    stage_run(&other, "prune", REPACK, &end);
    assert_string_equal(end.outcome, "completed");
    assert_true(told(&end, "repacked") >= 1);
    assert_true(told(&end, "spared") >= 1);
    stage_end_free(&end);
    buf_free(&other.order);
    buf_free(&other.log);
}

static void go_on(Stage *stage)
{
    StageEnd end = {0};
    kill(stage->child, SIGCONT);
    stage_finish(stage, &end);
    if (strcmp(end.outcome, "completed") != 0)
        fail_msg("%s %s %s", end.outcome, end.cause, end.text);
    stage_end_free(&end);
}

static void a_backup_that_shares_the_old_packs_meanwhile_keeps_them(void **state)
{
    Stage *stage = *state;
    half_dead(stage);
    grow(stage, "1");
    stage_stopped(stage, "backup", "", "backup.stored");
    repack_beside(stage);
    go_on(stage);
    same_tree(stage);
    stage_must(stage, "prune", "{\"repack\":false,\"reason\":\"a test\"}", "completed");
    assert_int_equal(stage_counted(stage, "pack WHERE state = 'condemned'"), 0);
    assert_int_equal(stage_counted(stage,
                                   "backup b CROSS JOIN unnest(b.packs) u(no) JOIN pack p ON p.no "
                                   "= u.no WHERE b.deleted_at IS NULL AND p.state <> 'live'"),
                     0);
    same_tree(stage);
}

static void a_restore_that_reads_the_old_packs_keeps_them(void **state)
{
    Stage *stage = *state;
    char id[UUID_TEXT], params[600];
    half_dead(stage);
    int64_t packs = stage_stored(stage, "packs");
    stage_backup(stage, id);
    snprintf(params, sizeof params, "{\"backup\":\"%s\",\"target\":{\"path\":\"%s\"}}", id,
             stage->tree->out);
    stage_stopped(stage, "restore", params, "restore.opened");
    repack_beside(stage);
    assert_true(stage_stored(stage, "packs") > packs); /* old and new */
    go_on(stage);
    file_tree_assert_equal(stage->tree);
    stage_must(stage, "prune", REPACK, "completed");
    assert_int_equal(stage_stored(stage, "packs"),
                     stage_counted(stage, "pack WHERE state = 'live'"));
    same_tree(stage);
}

/* Committed between the walk and the swap: it was not looked at, so it names what it named. */
static void a_backup_that_nobody_looked_at_still_names_the_old_packs(void **state)
{
    Stage *stage = *state;
    half_dead(stage);
    stage_stopped(stage, "prune", REPACK, "repack.before");
    fleet_do(stage->fleet,
             "INSERT INTO backup_copy(backup, repository, job, stored_bytes, index_object, packs) "
             "SELECT a.id, a.repository, a.job, 0, a.index_object, b.packs FROM backup a, backup b "
             "WHERE a.gone_at IS NOT NULL AND b.gone_at IS NULL");
    go_on(stage);
    assert_int_equal(stage_counted(stage,
                                   "backup_copy c CROSS JOIN unnest(c.packs) u(no) JOIN pack p ON "
                                   "p.no = u.no WHERE p.state <> 'live'"),
                     0);
    assert_int_equal(stage_counted(stage,
                                   "backup b, backup_copy c WHERE b.gone_at IS NULL AND b.packs <> "
                                   "c.packs"),
                     1);
    same_tree(stage);
    fleet_do(stage->fleet, "DELETE FROM backup_copy");
}

static void a_damaged_pack_is_marked_and_nothing_of_it_is_swapped(void **state)
{
    Stage *stage = *state;
    StageEnd end;
    half_dead(stage);
    fleet_do(stage->fleet, "CREATE TABLE kept AS SELECT packs FROM backup WHERE gone_at IS NULL");
    file_tree_shell("cd %s/packs && for f in $(ls -1tr */*); do s=$(stat -c %%s $f); if [ $s -gt "
                    "2000000 ]; then chmod u+w $f; dd if=/dev/urandom of=$f bs=1000 seek=20 "
                    "count=$((s / 1000 - 30)) conv=notrunc status=none; break; fi; done",
                    stage->repository->store_path);
    stage_run(stage, "prune", REPACK, &end);
    assert_string_equal(end.outcome, "completed");
    assert_int_equal(told(&end, "found_damaged"), 1);
    stage_end_free(&end);
    assert_int_equal(stage_counted(stage, "pack WHERE damaged_at IS NOT NULL AND state = 'live'"),
                     1);
    assert_int_equal(stage_counted(stage, "pack p JOIN backup b ON p.no = ANY (b.packs) WHERE "
                                          "p.damaged_at IS NOT NULL AND b.gone_at IS NULL"),
                     1);
    /* Stored again by the next backup, and whole. */
    stage_back_up(stage);
    same_tree(stage);
    fleet_breaks(stage->fleet, "packs with other bytes than recorded: a test damaged one");
    fleet_do(stage->fleet, "DROP TABLE kept");
}

static void who_cannot_read_repacks_nothing(void **state)
{
    Stage *stage = *state;
    StageEnd end;
    char why[512];
    Err err = {0};
    JobCreated created;
    RepositoryRequest request = {.kind = TEXT("prune"),
                                 .trigger = TEXT("manual"),
                                 .store = TEXT("nas"),
                                 .params = text_of(REPACK),
                                 .actor = TEXT("test")};
    half_dead(stage);
    fleet_do(stage->fleet, "UPDATE worker SET reader = false WHERE pruner");
    assert_true(catalog_repository_job(stage->fleet->scheduler, &request, &created, &err));
    fleet_ask(stage->fleet, "SELECT job_nobody(j) FROM job j ORDER BY id DESC LIMIT 1", why);
    assert_non_null(strstr(why, "p1 lacks reader login (enroll it with --reader)"));
    fleet_do(stage->fleet, "UPDATE job SET state = 'cancelled', finished_at = clock_timestamp() "
                           "WHERE state = 'pending'");
    stage_run(stage, "prune", "", &end);
    assert_string_equal(end.outcome, "completed");
    assert_int_equal(told(&end, "looked"), 0);
    stage_end_free(&end);
    same_tree(stage);
}

/* A chunk a file, or two. Six backups of five files each, and one in which one of each five is
 * another: the packs of the six, which go, are a fifth dead. */
static void a_fifth_dead(Stage *stage)
{
    for (char folder = 'a'; folder < 'g'; folder++) {
        file_tree_shell("mkdir %s/%c", stage->tree->tree, folder);
        for (int i = 0; i < 5; i++)
            file_tree_shell("head -c 700000 /dev/urandom > %s/%c/%d", stage->tree->tree, folder, i);
        stage_back_up(stage);
    }
    file_tree_shell("cd %s && for i in */4; do head -c 700000 /dev/urandom > $i; done",
                    stage->tree->tree);
    stage_back_up(stage);
    for (int i = 0; i < 6; i++)
        forget_first(stage);
}

/* A run, asked for or not; what it tells. */
static int64_t told_by(Stage *stage, const char *params, const char *name)
{
    StageEnd end;
    stage_run(stage, "prune", params, &end);
    assert_string_equal(end.outcome, "completed");
    int64_t value = told(&end, name);
    stage_end_free(&end);
    return value;
}

/* The share of packs of data beyond what the tree's files are, which no compression makes less. */
static double unused_in_store(const Stage *stage)
{
    double needed = 30.0 * 700000;
    int64_t stored = fleet_count(stage->fleet, "SELECT sum(bytes)::bigint FROM pack WHERE state = "
                                               "'live' AND kind = 'data'");
    return ((double)stored - needed) / (double)stored;
}

static void until_little_is_unused_the_deadest_packs_go_first(void **state)
{
    static const char *const DRY = "{\"dry_run\":true}";
    Stage *stage = *state;
    int runs = 0;
    a_fifth_dead(stage);
    /* With no bound but the half: none of them is half-dead, and what is known is told. */
    fleet_do(stage->fleet, "UPDATE setting SET value = 1 WHERE name = 'repack_max_unused'");
    (void)told_by(stage, "", "repacked");
    assert_int_equal(told_by(stage, DRY, "half_dead"), 0);
    assert_int_equal(told_by(stage, DRY, "would_repack"), 0);
    double unused = (double)told_by(stage, DRY, "unused_bytes");
    double named = (double)told_by(stage, DRY, "named_bytes");
    assert_true(unused / named > 0.15 && unused / named < 0.18);
    assert_true(unused_in_store(stage) > 0.15);
    /* Two packs a run: nothing is let go meanwhile, and all the same each goes on. */
    fleet_do(stage->fleet,
             "UPDATE setting SET value = CASE name WHEN 'repack_max_unused' THEN 0.05 "
             "ELSE 5000000 END WHERE name IN ('repack_max_unused', 'repack_bytes')");
    assert_int_equal(told_by(stage, DRY, "would_repack"), 2);
    for (int64_t repacked = 1; repacked > 0; runs++) {
        repacked = told_by(stage, "", "repacked");
        assert_true(repacked <= 2);
    }
    assert_int_equal(runs, 4); /* two packs, two, one, none: the sixth is a thirtieth of all */
    assert_int_equal(told_by(stage, DRY, "would_repack"), 0);
    assert_true(unused_in_store(stage) < 0.05);
    unused = (double)told_by(stage, DRY, "unused_bytes");
    named = (double)told_by(stage, DRY, "named_bytes");
    assert_true(unused / named < 0.05);
    /* A fifth of the last one is dead: with no bound it goes, unless that is next to nothing. */
    fleet_do(stage->fleet, "UPDATE setting SET value = CASE name WHEN 'repack_least' THEN 0.3 ELSE "
                           "0 END WHERE name IN ('repack_max_unused', 'repack_least')");
    assert_int_equal(told_by(stage, DRY, "would_repack"), 0);
    assert_int_equal(told_by(stage, "", "repacked"), 0);
    fleet_do(stage->fleet, "UPDATE setting SET value = 0.02 WHERE name = 'repack_least'");
    assert_int_equal(told_by(stage, DRY, "would_repack"), 1);
    assert_int_equal(told_by(stage, "", "repacked"), 1);
    assert_int_equal(told_by(stage, DRY, "unused_bytes"), 0);
    same_tree(stage);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(what_is_needed_of_half_dead_packs_moves_and_the_rest_is_freed),
        TEST(the_index_of_moved_packs_goes_with_the_last_of_them),
        TEST(a_kill_between_any_two_steps_of_repacking_harms_nothing),
        TEST(a_backup_that_shares_the_old_packs_meanwhile_keeps_them),
        TEST(a_restore_that_reads_the_old_packs_keeps_them),
        TEST(a_backup_that_nobody_looked_at_still_names_the_old_packs),
        TEST(a_damaged_pack_is_marked_and_nothing_of_it_is_swapped),
        TEST(who_cannot_read_repacks_nothing),
        TEST(until_little_is_unused_the_deadest_packs_go_first),
    };
    return cmocka_run_group_tests_name("integration.job.repack", tests, NULL, NULL);
}
