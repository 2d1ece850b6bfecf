/* SPDX-License-Identifier: Apache-2.0
 * What a plan lets go leaves the store, what it keeps is restored byte for byte; what came between
 * the plan and the job wins, and a kill anywhere leaves the next attempt nothing but the rest. */
#include "tests/harness/stage.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

enum { BACKUPS = 4 };

static int set_up(void **state)
{
    Stage *stage = stage_new("");
    fleet_settled(stage->fleet);
    fleet_do(stage->fleet, "UPDATE setting SET value = 0.01 WHERE name LIKE 'loss_backoff%'");
    /* A busy machine is no dead pruner: the test beats for it only now and then. */
    fleet_do(stage->fleet, "UPDATE setting SET value = 600 WHERE name = 'liveness_s'");
    for (int i = 0; i < BACKUPS; i++) {
        file_tree_shell("cd %s && head -c 200000 /dev/urandom > changing", stage->tree->tree);
        stage_back_up(stage);
    }
    *state = stage;
    return 0;
}

static int tear_down(void **state)
{
    stage_free(*state);
    return 0;
}

/* As many backups as these are whole, in the catalogue and in the store, and the newest is it. */
static void left(Stage *stage, int64_t backups)
{
    assert_int_equal(stage_counted(stage, "backup WHERE deleted_at IS NULL"), backups);
    assert_int_equal(
        stage_counted(stage, "backup WHERE deleted_at IS NOT NULL AND gone_at IS NULL"), 0);
    assert_int_equal(stage_stored(stage, "manifests"), backups);
    assert_int_equal(stage_stored(stage, "commits"), backups);
    assert_int_equal(stage_stored(stage, "forgotten"), BACKUPS - backups);
    stage_restore(stage, "");
    file_tree_assert_equal(stage->tree);
}

static void what_the_plan_lets_go_is_gone_and_the_rest_comes_back(void **state)
{
    Stage *stage = *state;
    StageEnd end;
    stage_run(stage, "retention", "b.sequence <= 2", &end);
    assert_string_equal(end.outcome, "completed");
    assert_string_equal(end.text, "2 of 2 backups forgotten, the objects of 2 are gone");
    stage_end_free(&end);
    assert_int_equal(stage_counted(stage, "audit_event WHERE action = 'backup.delete' AND reason = "
                                          "'the test wants it'"),
                     2);
    stage_must(stage, "prune", "{\"reason\":\"half of it\"}", "completed");
    assert_int_equal(stage_stored(stage, "packs"),
                     stage_counted(stage, "pack WHERE state = 'live'"));
    left(stage, BACKUPS - 2);
}

static void what_came_between_the_plan_and_the_job_wins(void **state)
{
    Stage *stage = *state;
    StageEnd end;
    /* Planned to go, then held and locked. */
    fleet_do(stage->fleet,
             "CREATE FUNCTION public.between() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
             "UPDATE holdfast.backup SET held_until = 'infinity' WHERE sequence = 1; "
             "UPDATE holdfast.backup SET locked_until = now() + interval '1 hour' WHERE sequence = "
             "2; RETURN NULL; END $$");
    fleet_do(stage->fleet, "CREATE TRIGGER between AFTER INSERT ON holdfast.retention_run "
                           "EXECUTE FUNCTION public.between()");
    stage_run(stage, "retention", "b.sequence <= 3", &end);
    assert_string_equal(end.text, "1 of 1 backups forgotten, the objects of 1 are gone");
    stage_end_free(&end);
    left(stage, BACKUPS - 1);
    assert_int_equal(stage_counted(stage, "backup WHERE sequence = 3 AND gone_at IS NOT NULL"), 1);
}

/* Later than the job's own look: the catalogue asks once more under the backup's row lock. */
static void a_hold_that_comes_last_of_all_wins_too(void **state)
{
    Stage *stage = *state;
    StageEnd end = {0};
    stage_stopped(stage, "retention", "b.sequence <= 2", "retention.taken");
    fleet_do(stage->fleet, "UPDATE backup SET held_until = now() + interval '1 day', held_reason = "
                           "'INC-4412' WHERE sequence = 2");
    kill(stage->child, SIGCONT);
    stage_finish(stage, &end);
    assert_string_equal(end.outcome, "partial");
    assert_string_equal(end.text, "1 of 2 backups forgotten, the objects of 1 are gone");
    const json_t *refused = json_array_get(json_object_get(end.answer, "refused"), 0);
    assert_string_equal(json_string_value(json_object_get(refused, "answer")), "held");
    assert_string_equal(json_string_value(json_object_get(refused, "why")), "it is held: INC-4412");
    stage_end_free(&end);
    left(stage, BACKUPS - 1);
}

/* What would be tried again under another plan. */
static void drop_waiting(const Stage *stage)
{
    fleet_do(
        stage->fleet,
        "UPDATE job SET state = 'cancelled', finished_at = now(), queued_at = NULL, dispatch = "
        "dispatch + 1 WHERE kind = 'retention' AND state IN ('pending', 'queued')");
}

static void refused(Stage *stage, const char *plan, const char *cause)
{
    StageEnd end;
    stage_run(stage, "retention", plan, &end);
    assert_string_equal(end.cause, cause);
    stage_end_free(&end);
    drop_waiting(stage);
    assert_int_equal(stage_counted(stage, "backup WHERE deleted_at IS NULL"), BACKUPS);
}

/* A plan that is old or of another policy is nobody's order; the last good one never goes whatever
 * was planned; a suspicious source and a frozen repository lose nothing. */
static void what_may_not_go_does_not(void **state)
{
    Stage *stage = *state;
    StageEnd end;
    fleet_do(stage->fleet, "UPDATE setting SET value = 0 WHERE name = 'retention_plan_s'");
    stage_run(stage, "retention", "b.sequence <= 2", &end);
    assert_string_equal(end.cause, "retention.stale");
    assert_true(end.retry);
    assert_string_equal(stage->state, "pending");
    stage_end_free(&end);
    assert_int_equal(stage_counted(stage, "retention_due(10)"), 1); /* planned anew */
    drop_waiting(stage);
    fleet_do(stage->fleet, "UPDATE setting SET value = 6000 WHERE name = 'retention_plan_s'");
    refused(stage, "true", "retention.last_good");
    fleet_do(stage->fleet, "UPDATE source SET suspicious_at = now(), suspicious_reason = 'shrank'");
    refused(stage, "b.sequence <= 2", "retention.suspicious");
    fleet_do(stage->fleet, "UPDATE source SET suspicious_at = NULL, suspicious_reason = NULL");
    fleet_do(stage->fleet, "SELECT repository_freeze(no, 'rebuilt') FROM repository");
    refused(stage, "b.sequence <= 2", "repo.frozen");
    fleet_do(stage->fleet, "UPDATE repository SET frozen_at = NULL, frozen_reason = NULL");
    left(stage, BACKUPS);
}

/* kill -9 at each place; the next attempt does the rest, and nothing twice. */
static void a_killed_run_is_ended_by_the_next(void **state)
{
    Stage *stage = *state;
    static const char *const places[] = {"retention.taken", "forget.deleted", "forget.objects"};
    StageEnd end;
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        char which[40];
        snprintf(which, sizeof which, "b.sequence = %zu", i + 1);
        stage_killed(stage, "retention", which, places[i]);
        stage_reap(stage);
        stage_again(stage, &end);
        assert_string_equal(end.outcome, "completed");
        stage_end_free(&end);
    }
    left(stage, BACKUPS - 3);
    assert_int_equal(stage_counted(stage, "audit_event WHERE action = 'backup.delete'"), 3);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(int argc, char **argv)
{
    if (argc > 1) /* one of them */
        cmocka_set_test_filter(argv[1]);
    const struct CMUnitTest tests[] = {
        TEST(what_the_plan_lets_go_is_gone_and_the_rest_comes_back),
        TEST(what_came_between_the_plan_and_the_job_wins),
        TEST(a_hold_that_comes_last_of_all_wins_too),
        TEST(what_may_not_go_does_not),
        TEST(a_killed_run_is_ended_by_the_next),
    };
    return cmocka_run_group_tests_name("integration.job.retention", tests, NULL, NULL);
}
