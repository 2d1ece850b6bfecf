/* SPDX-License-Identifier: Apache-2.0
 * Objects that no row accounts for are seen, laid aside and, much later, deleted; whatever a backup
 * may need stays, and so does what is not ours. Damaged packs are laid aside for good. */
#include "tests/harness/stage.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#define SCAN "{\"orphans\":true}"

static int set_up(void **state)
{
    Stage *stage = stage_new("");
    fleet_settled(stage->fleet);
    fleet_do(stage->fleet,
             "UPDATE setting SET value = 600 WHERE name IN ('lease_s', 'liveness_s')");
    file_tree_shell("cd %s && for i in 1 2 3 4; do head -c 300000 /dev/urandom > $i; done",
                    stage->tree->tree);
    *state = stage;
    return 0;
}

static int tear_down(void **state)
{
    stage_free(*state);
    return 0;
}

static void change_all(Stage *stage)
{
    file_tree_shell("cd %s && for i in 1 2 3 4; do head -c 300000 /dev/urandom > $i; done",
                    stage->tree->tree);
}

/* Two scans need not lie a day apart. */
static void at_once(Stage *stage)
{
    fleet_do(stage->fleet, "UPDATE setting SET value = 0 WHERE name = 'orphan_age_s'");
}

/* What lies in quarantine has lain there long enough. */
static void time_is_over(Stage *stage)
{
    fleet_do(stage->fleet, "UPDATE setting SET value = 0 WHERE name = 'orphan_keep_s'");
}

static int64_t told(Stage *stage, const char *params, const char *name)
{
    StageEnd end;
    stage_run(stage, "prune", params, &end);
    if (strcmp(end.outcome, "completed") != 0)
        fail_msg("%s %s: %s", end.outcome, end.cause, end.text);
    int64_t value =
        json_integer_value(json_object_get(json_object_get(end.answer, "orphans"), name));
    stage_end_free(&end);
    return value;
}

static void blocked_by(Stage *stage, const char *words)
{
    StageEnd end;
    stage_run(stage, "prune", SCAN, &end);
    assert_string_equal(end.outcome, "completed");
    const char *why =
        json_string_value(json_object_get(json_object_get(end.answer, "orphans"), "blocked"));
    if (why == NULL || strstr(why, words) == NULL)
        fail_msg("'%s' is not in '%s'", words, why == NULL ? "" : why);
    stage_end_free(&end);
}

/* A pack that nobody staged. */
static void stray(const Stage *stage, const char *name)
{
    file_tree_shell(
        "cd %s && mkdir -p packs/%.2s && cp $(find packs -type f | head -1) packs/%.2s/%s",
        stage->repository->store_path, name, name, name);
}

static const char *const lost = "00000000-0000-7000-8000-000000000001";

/* A manifest under another name, as an attempt leaves it that dies before its commit. */
static void stray_manifest(const Stage *stage)
{
    file_tree_shell("cd %s && cp $(find manifests -type f | head -1) manifests/%s",
                    stage->repository->store_path, lost);
}

/* Its attempt had said so, as each does. */
static void said(const Stage *stage)
{
    char sql[200];
    snprintf(sql, sizeof sql,
             "UPDATE session SET backup = '%s' WHERE job = (SELECT min(job) FROM session)", lost);
    fleet_do(stage->fleet, sql);
}

static const char *const one = "0a000000-0000-4000-8000-000000000001";

static bool is_there(const Stage *stage, const char *name)
{
    char path[300];
    snprintf(path, sizeof path, "test -e %s/packs/%.2s/%.36s", stage->repository->store_path, name,
             name);
    return system(path) == 0;
}

static void restores(Stage *stage)
{
    file_tree_shell("rm -rf %s", stage->tree->out);
    stage_restore(stage, "");
    file_tree_assert_equal(stage->tree);
}

/* --- what is looked for ------------------------------------------------------------------------
 */

static void what_a_dead_attempt_left_is_laid_aside_and_then_deleted(void **state)
{
    Stage *stage = *state;
    StageEnd end;
    stage_back_up(stage);
    change_all(stage);
    stage_killed(stage, "backup", "", "repo.manifest_durable");
    stage_reap(stage);
    stage_again(stage, &end);
    assert_string_equal(end.outcome, "completed");
    stage_end_free(&end);
    assert_int_equal(stage_stored(stage, "manifests"), 3);
    at_once(stage);
    assert_true(told(stage, SCAN, "orphans") >= 2);
    assert_int_equal(stage_stored(stage, "quarantine"), 0);
    assert_int_equal(stage_counted(stage, "event WHERE kind = 'alert' AND data ->> 'code' = "
                                          "'repo.orphans'"),
                     1);
    assert_true(told(stage, SCAN, "quarantined") >= 2);
    assert_int_equal(stage_stored(stage, "manifests"), 2);
    assert_int_equal(stage_stored(stage, "parents"), 2);
    assert_int_equal(stage_stored(stage, "quarantine"),
                     stage_counted(stage, "orphan WHERE state = 'quarantined'"));
    restores(stage);
    assert_int_equal(told(stage, SCAN, "orphans"), 0);
    assert_true(stage_stored(stage, "quarantine") >= 2);
    time_is_over(stage);
    assert_true(told(stage, SCAN, "deleted") >= 2);
    assert_int_equal(stage_stored(stage, "quarantine"), 0);
    assert_int_equal(stage_counted(stage, "orphan WHERE state <> 'deleted'"), 0);
    restores(stage);
}

static void nothing_moves_before_its_time(void **state)
{
    Stage *stage = *state;
    stage_back_up(stage);
    stray(stage, one);
    /* A scan is part of a run of the collector, when none was for some time. */
    assert_int_equal(told(stage, "", "fresh"), 1);
    assert_int_equal(told(stage, "", "listed"), 0);
    assert_int_equal(told(stage, SCAN, "quarantined"), 0);
    assert_int_equal(stage_counted(stage, "orphan WHERE scans = 2 AND state = 'seen'"), 1);
    fleet_do(stage->fleet, "UPDATE orphan SET first_seen = first_seen - interval '1 day 1 hour'");
    fleet_do(stage->fleet, "UPDATE orphan_scan SET began_at = began_at - interval '1 day'");
    assert_int_equal(told(stage, "", "quarantined"), 1);
    assert_false(is_there(stage, one));
    fleet_do(stage->fleet,
             "UPDATE orphan SET quarantined_at = quarantined_at - interval '13 days'");
    assert_int_equal(told(stage, SCAN, "deleted"), 0);
    fleet_do(stage->fleet, "UPDATE orphan SET quarantined_at = quarantined_at - interval '1 day'");
    assert_int_equal(told(stage, SCAN, "deleted"), 1);
    restores(stage);
}

static void what_an_open_session_may_have_written_stays(void **state)
{
    Stage *stage = *state;
    stage_back_up(stage);
    at_once(stage);
    stray(stage, one);
    fleet_do(stage->fleet, "UPDATE session SET state = 'open'");
    told(stage, SCAN, "fresh");
    assert_int_equal(told(stage, SCAN, "quarantined"), 0);
    assert_true(is_there(stage, one));
    fleet_do(stage->fleet, "UPDATE session SET state = 'closed'");
    assert_int_equal(told(stage, SCAN, "quarantined"), 1);
}

/* Another backup takes the place of the first, whose packs are collected. */
static void forget_first(Stage *stage)
{
    char params[200], id[512];
    fleet_ask(stage->fleet, "SELECT id FROM backup", id);
    change_all(stage);
    stage_back_up(stage);
    snprintf(params, sizeof params, "{\"forget\":[\"%.36s\"],\"reason\":\"no longer\"}", id);
    stage_must(stage, "prune", params, "completed");
    fleet_do(stage->fleet, "UPDATE setting SET value = 864000 WHERE name = 'orphan_scan_s'; "
                           "UPDATE orphan_scan SET began_at = now()");
    stage_must(stage, "prune", "", "completed");
}

static void a_late_write_of_a_pack_that_was_deleted_is_found(void **state)
{
    Stage *stage = *state;
    char object[512];
    stage_back_up(stage);
    at_once(stage);
    file_tree_shell("cp -a %s/packs %s/late", stage->repository->store_path, stage->tree->top);
    forget_first(stage);
    fleet_ask(stage->fleet, "SELECT min(object::text) FROM pack WHERE state = 'deleted'", object);
    object[36] = 0;
    assert_false(is_there(stage, object));
    file_tree_shell("cp %s/late/%.2s/%s %s/packs/%.2s/", stage->tree->top, object, object,
                    stage->repository->store_path, object);
    assert_int_equal(told(stage, SCAN, "fresh"), 1);
    assert_int_equal(stage_counted(stage, "orphan WHERE why = 'left_over'"), 1);
    assert_int_equal(told(stage, SCAN, "quarantined"), 1);
    assert_false(is_there(stage, object));
    restores(stage);
}

/* --- what is not ---------------------------------------------------------------------------------
 */

static void what_is_not_ours_is_reported_and_never_touched(void **state)
{
    Stage *stage = *state;
    stage_back_up(stage);
    at_once(stage);
    time_is_over(stage);
    file_tree_shell("cd %s && touch packs/README packs/$(ls packs | head -1)/notes.txt "
                    "index/copy-of-index manifests/a.bak && mkdir -p logs packs/0b && "
                    "touch logs/one packs/0b/0a000000-0000-4000-8000-000000000002",
                    stage->repository->store_path);
    for (int i = 0; i < 3; i++)
        assert_int_equal(told(stage, SCAN, "foreign"), 6);
    assert_int_equal(stage_counted(stage, "orphan WHERE why = 'foreign' AND state = 'seen'"), 6);
    assert_int_equal(stage_stored(stage, "quarantine"), 0);
    file_tree_shell("cd %s && rm packs/README packs/*/notes.txt index/copy* manifests/a.bak "
                    "logs/one packs/0b/*",
                    stage->repository->store_path);
    assert_int_equal(told(stage, SCAN, "foreign"), 0);
    assert_int_equal(stage_counted(stage, "orphan"), 0);
}

static void a_backup_that_the_catalogue_does_not_know_stops_it(void **state)
{
    Stage *stage = *state;
    const char *store = stage->repository->store_path;
    stage_back_up(stage);
    at_once(stage);
    stray(stage, one);
    /* Of long ago, so that no session takes it for the newest. */
    file_tree_shell("cd %s && cp commits/* commits/00000000-0000-7000-8000-000000000001", store);
    for (int i = 0; i < 3; i++)
        blocked_by(stage, "1 backups that the catalogue does not know");
    assert_true(is_there(stage, one));
    assert_int_equal(stage_counted(stage, "event WHERE data ->> 'code' = 'repo.unknown_backups'"),
                     3);
    file_tree_shell("rm %s/commits/00000000-*", store);
    assert_int_equal(told(stage, SCAN, "quarantined"), 1);
}

/* A manifest of a copy has a name that the next copy of that backup uses too: while a copy is on
 * its way none goes, however late it began. What is accounted for again by then stays in
 * quarantine. */
static void a_copy_on_its_way_keeps_a_manifest_and_quarantine_keeps_what_is_known(void **state)
{
    Stage *stage = *state;
    stage_back_up(stage);
    stray_manifest(stage);
    said(stage);
    told(stage, SCAN, "fresh");
    fleet_do(
        stage->fleet,
        "UPDATE orphan SET first_seen = first_seen - interval '2 days';"
        "UPDATE job SET kind = 'copy' WHERE kind = 'backup';"
        "UPDATE session SET state = 'open' WHERE job = (SELECT id FROM job WHERE kind = 'copy')");
    assert_int_equal(told(stage, SCAN, "quarantined"), 0);
    fleet_do(
        stage->fleet,
        "UPDATE session SET state = 'closed' WHERE job = (SELECT id FROM job WHERE kind = 'copy');"
        "UPDATE job SET kind = 'backup' WHERE kind = 'copy'");
    assert_int_equal(told(stage, SCAN, "quarantined"), 1);
    fleet_do(stage->fleet, "UPDATE setting SET value = 0 WHERE name = 'orphan_keep_s';"
                           "UPDATE orphan SET name = (SELECT 'manifests/' || id FROM backup)");
    assert_int_equal(told(stage, SCAN, "deleted"), 0);
    fleet_do(stage->fleet,
             "UPDATE orphan SET name = 'manifests/00000000-0000-7000-8000-000000000001'");
    assert_int_equal(told(stage, SCAN, "deleted"), 1);
}

/* What a manifest reaches nobody knows who cannot read it: it goes first. */
static void a_manifest_goes_before_what_it_may_need(void **state)
{
    Stage *stage = *state;
    stage_back_up(stage);
    stray(stage, one);
    told(stage, SCAN, "fresh");
    fleet_do(stage->fleet, "UPDATE orphan SET first_seen = first_seen - interval '2 days'");
    stray_manifest(stage);
    said(stage);
    assert_int_equal(told(stage, SCAN, "quarantined"), 0);
    assert_true(is_there(stage, one));
    fleet_do(stage->fleet, "UPDATE orphan SET first_seen = first_seen - interval '2 days'");
    assert_int_equal(told(stage, SCAN, "quarantined"), 2);
    assert_false(is_there(stage, one));
}

/* It may be of a backup whose COMMIT was lost with the catalogue's last minutes: a merge looks. */
static void a_manifest_that_nobody_announced_waits_for_a_merge(void **state)
{
    Stage *stage = *state;
    stage_back_up(stage);
    stage_back_up(stage);
    at_once(stage);
    stray(stage, one);
    stray_manifest(stage);
    told(stage, SCAN, "fresh");
    blocked_by(stage, "no attempt of this catalogue announced: holdfast catalogue merge");
    assert_int_equal(told(stage, SCAN, "quarantined"), 0);
    assert_true(is_there(stage, one));
    char sql[200];
    snprintf(sql, sizeof sql, "INSERT INTO judged_manifest SELECT no, '%s' FROM repository", lost);
    fleet_do(stage->fleet, sql);
    assert_int_equal(told(stage, SCAN, "quarantined"), 2);
    assert_int_equal(stage_counted(stage, "session s JOIN backup b ON b.id = s.backup"), 2);
}

/* A session that writes many packs writes several index objects; the catalogue names the last. */
static void an_index_that_names_a_needed_pack_stays(void **state)
{
    Stage *stage = *state;
    const char *store = stage->repository->store_path;
    stage_back_up(stage);
    at_once(stage);
    file_tree_shell("cd %s && cp index/* index/0a000000-0000-4000-8000-000000000003 && "
                    "echo broken > index/0a000000-0000-4000-8000-000000000004",
                    store);
    for (int i = 0; i < 3; i++)
        assert_int_equal(told(stage, SCAN, "orphans"), 0);
    assert_int_equal(told(stage, SCAN, "unreadable"), 1);
    assert_int_equal(stage_stored(stage, "index"), 3);
    forget_first(stage);
    assert_int_equal(told(stage, SCAN, "fresh"), 1);
    assert_int_equal(stage_counted(stage, "orphan WHERE kind = 'index'"), 1);
    assert_int_equal(told(stage, SCAN, "quarantined"), 1);
    assert_int_equal(stage_stored(stage, "index"), 2);
    restores(stage);
}

static void a_repository_that_is_set_back_or_frozen_is_only_reported(void **state)
{
    Stage *stage = *state;
    stage_back_up(stage);
    at_once(stage);
    stray(stage, one);
    told(stage, SCAN, "fresh");
    fleet_do(stage->fleet, "UPDATE repository SET frozen_at = now(), frozen_reason = 'test'");
    blocked_by(stage, "frozen");
    fleet_do(stage->fleet, "UPDATE repository SET frozen_at = NULL, frozen_reason = NULL, "
                           "rolled_back = true, set_back_at = now()");
    blocked_by(stage, "set back");
    fleet_do(stage->fleet, "UPDATE repository SET rolled_back = false, set_back_at = NULL, "
                           "gc_epoch = 5, confirmed_epoch = 0");
    fleet_do(stage->fleet, "UPDATE orphan SET epoch = 6");
    assert_int_equal(told(stage, SCAN, "quarantined"), 0);
    assert_true(is_there(stage, one));
    fleet_do(stage->fleet, "UPDATE orphan SET epoch = 5");
    assert_int_equal(told(stage, SCAN, "quarantined"), 1);
}

static void a_dry_run_tells_and_changes_nothing(void **state)
{
    Stage *stage = *state;
    const char *params = "{\"orphans\":true,\"dry_run\":true}";
    stage_back_up(stage);
    at_once(stage);
    stray(stage, one);
    assert_int_equal(told(stage, params, "orphans"), 1);
    assert_int_equal(stage_counted(stage, "orphan") + stage_counted(stage, "orphan_scan"), 0);
    told(stage, SCAN, "fresh");
    assert_int_equal(told(stage, params, "may_quarantine"), 1);
    assert_true(is_there(stage, one));
    told(stage, SCAN, "fresh");
    time_is_over(stage);
    assert_int_equal(told(stage, params, "may_delete"), 1);
    assert_int_equal(stage_stored(stage, "quarantine"), 1);
}

/* --- kills
 * ---------------------------------------------------------------------------------------- */

static void a_kill_between_any_two_steps_loses_nothing(void **state)
{
    static const char *const points[] = {"orphan.noted",  "orphan.listed",  "orphan.moving",
                                         "orphan.copied", "orphan.removed", "orphan.quarantined",
                                         "orphan.deleted"};
    Stage *stage = *state;
    stage_back_up(stage);
    at_once(stage);
    for (size_t i = 0; i < sizeof points / sizeof points[0]; i++) {
        StageEnd end;
        stray(stage, one);
        told(stage, SCAN, "fresh");
        if (i + 1 == sizeof points / sizeof points[0]) {
            told(stage, SCAN, "fresh");
            time_is_over(stage);
        }
        stage_killed(stage, "prune", SCAN, points[i]);
        stage_reap(stage);
        stage_again(stage, &end);
        if (strcmp(end.outcome, "completed") != 0)
            fail_msg("after %s: %s %s %s", points[i], end.outcome, end.cause, end.text);
        stage_end_free(&end);
        assert_false(is_there(stage, one));
        assert_int_equal(stage_counted(stage, "orphan WHERE state IN ('seen', 'moving')"), 0);
        assert_int_equal(stage_stored(stage, "quarantine"),
                         stage_counted(stage, "orphan WHERE state = 'quarantined'"));
    }
    assert_int_equal(stage_stored(stage, "quarantine"), 0);
    restores(stage);
}

/* --- damaged packs
 * --------------------------------------------------------------------------------- */

/* One byte of the pack that holds most of the first backup falls; a check finds it, the next backup
 * stores anew what was in it, and the first is forgotten. */
static void damage_one(Stage *stage, char object[512])
{
    char params[200], id[512];
    stage_back_up(stage);
    fleet_ask(stage->fleet, "SELECT id FROM backup", id);
    fleet_ask(stage->fleet, "SELECT object FROM pack ORDER BY bytes DESC LIMIT 1", object);
    object[36] = 0;
    file_tree_shell("f=%s/packs/%.2s/%s; chmod u+w $f; printf X | dd of=$f bs=1 seek=100000 "
                    "conv=notrunc status=none",
                    stage->repository->store_path, object, object);
    snprintf(params, sizeof params, "{\"backup\":\"%.36s\",\"level\":\"stored\"}", id);
    stage_must(stage, "verify", params, "failed");
    assert_int_equal(stage_counted(stage, "pack WHERE damaged_at IS NOT NULL"), 1);
    stage_back_up(stage);
    stage_must(stage, "prune", "", "completed");
    assert_true(is_there(stage, object)); /* a backup names it */
    snprintf(params, sizeof params, "{\"forget\":[\"%.36s\"],\"reason\":\"damaged\"}", id);
    stage_must(stage, "prune", params, "completed");
}

static void laid_aside_for_good(Stage *stage, const char *object)
{
    assert_false(is_there(stage, object));
    assert_int_equal(stage_counted(stage, "orphan WHERE why = 'damaged' AND state = 'quarantined'"),
                     1);
    assert_int_equal(stage_counted(stage, "pack WHERE damaged_at IS NOT NULL AND state = "
                                          "'deleted'"),
                     1);
    at_once(stage);
    time_is_over(stage);
    for (int i = 0; i < 2; i++)
        assert_int_equal(told(stage, SCAN, "deleted"), 0);
    file_tree_shell("cd %s && test $(find quarantine -type f | sed 's/[.][0-9]*$//') = "
                    "quarantine/packs/%.2s/%s",
                    stage->repository->store_path, object, object);
    restores(stage);
}

static void a_damaged_pack_is_stored_anew_and_laid_aside_for_good(void **state)
{
    Stage *stage = *state;
    char object[512];
    damage_one(stage, object);
    stage_must(stage, "prune", "", "completed");
    laid_aside_for_good(stage, object);
}

static void a_kill_while_a_damaged_pack_is_laid_aside_loses_nothing(void **state)
{
    static const char *const points[] = {"orphan.moving", "orphan.copied", "orphan.removed",
                                         "orphan.quarantined", "collect.deleted"};
    Stage *stage = *state;
    StageEnd end;
    char object[512];
    damage_one(stage, object);
    for (size_t i = 0; i < sizeof points / sizeof points[0]; i++) {
        file_tree_shell("cp -a %s/packs/%.2s/%s %s/kept", stage->repository->store_path, object,
                        object, stage->tree->top);
        stage_killed(stage, "prune", "", points[i]);
        stage_reap(stage);
        stage_again(stage, &end);
        assert_string_equal(end.outcome, "completed");
        stage_end_free(&end);
        assert_int_equal(stage_counted(stage, "orphan WHERE state = 'moving'"), 0);
        if (i + 1 == sizeof points / sizeof points[0])
            break;
        /* As before it was let go. */
        file_tree_shell("cd %s && rm -rf quarantine && cp -a %s/kept packs/%.2s/%s",
                        stage->repository->store_path, stage->tree->top, object, object);
        fleet_do(stage->fleet, "DELETE FROM orphan; UPDATE pack SET state = 'deleting' WHERE "
                               "damaged_at IS NOT NULL");
    }
    laid_aside_for_good(stage, object);
}

/* Its damage is that it is not there: nothing can be laid aside, and nobody says that it was. */
static void a_damaged_pack_that_is_missing_is_not_said_to_be_kept(void **state)
{
    Stage *stage = *state;
    StageEnd end;
    char object[512];
    damage_one(stage, object);
    file_tree_shell("rm -f %s/packs/%.2s/%s", stage->repository->store_path, object, object);
    stage_run(stage, "prune", "", &end);
    assert_string_equal(end.outcome, "completed");
    assert_int_equal(json_integer_value(json_object_get(end.answer, "quarantined")), 0);
    stage_end_free(&end);
    assert_int_equal(stage_counted(stage, "orphan WHERE why = 'damaged' AND state = 'gone'"), 1);
    assert_int_equal(stage_counted(stage, "pack WHERE damaged_at IS NOT NULL AND state = "
                                          "'deleted'"),
                     1);
    restores(stage);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(what_a_dead_attempt_left_is_laid_aside_and_then_deleted),
        TEST(nothing_moves_before_its_time),
        TEST(what_an_open_session_may_have_written_stays),
        TEST(a_late_write_of_a_pack_that_was_deleted_is_found),
        TEST(what_is_not_ours_is_reported_and_never_touched),
        TEST(a_backup_that_the_catalogue_does_not_know_stops_it),
        TEST(a_copy_on_its_way_keeps_a_manifest_and_quarantine_keeps_what_is_known),
        TEST(a_manifest_goes_before_what_it_may_need),
        TEST(a_manifest_that_nobody_announced_waits_for_a_merge),
        TEST(an_index_that_names_a_needed_pack_stays),
        TEST(a_repository_that_is_set_back_or_frozen_is_only_reported),
        TEST(a_dry_run_tells_and_changes_nothing),
        TEST(a_kill_between_any_two_steps_loses_nothing),
        TEST(a_damaged_pack_is_stored_anew_and_laid_aside_for_good),
        TEST(a_kill_while_a_damaged_pack_is_laid_aside_loses_nothing),
        TEST(a_damaged_pack_that_is_missing_is_not_said_to_be_kept),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
