/* SPDX-License-Identifier: Apache-2.0
 * Hooks of a backup: in order, with names as data, bounded in time, refused when anybody could have
 * written them, and run although the attempt failed or was killed. */
#include "common/base/json.h"
#include "tests/harness/stage.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static int set_up(void **state)
{
    *state = stage_new("");
    return 0;
}

static int tear_down(void **state)
{
    stage_free(*state);
    return 0;
}

/* A hook that adds what it sees to a file beside the tree. */
static void put_hook(const Stage *stage, const char *name, const char *body)
{
    char path[200];
    snprintf(path, sizeof path, "%s/%s", stage->hooks, name);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fprintf(file,
            "#!/bin/sh\necho \"$HOLDFAST_HOOK $HOLDFAST_SOURCE $HOLDFAST_OUTCOME\" >> %s/ran\n"
            "printf '%%s ' %s >> %s/order\n%s\n",
            stage->tree->top, name, stage->tree->top, body);
    fclose(file);
    assert_int_equal(chmod(path, 0755), 0);
}

static void assert_ran(const Stage *stage, const char *expected)
{
    char path[200], have[400] = "";
    snprintf(path, sizeof path, "%s/ran", stage->tree->top);
    FILE *file = fopen(path, "r");
    if (file != NULL) {
        have[fread(have, 1, sizeof have - 1, file)] = '\0';
        fclose(file);
    }
    assert_string_equal(have, expected);
}

/* The names of the hooks that ran, in their order. */
static void assert_order(const Stage *stage, const char *expected)
{
    char path[200], have[400] = "";
    snprintf(path, sizeof path, "%s/order", stage->tree->top);
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    have[fread(have, 1, sizeof have - 1, file)] = '\0';
    fclose(file);
    assert_string_equal(have, expected);
}

static void policy(Stage *stage, const char *hooks)
{
    char extra[500];
    snprintf(extra, sizeof extra, ",\"hooks\":{%s}", hooks);
    stage_policy(stage, "files", NULL, extra);
}

static void before_and_after_surround_the_backup(void **state)
{
    Stage *stage = *state;
    put_hook(stage, "before", "echo words of the hook; env | grep -c SECRET");
    put_hook(stage, "after", "");
    setenv("A_SECRET", "x", 1);
    policy(stage, "\"before\":{\"run\":\"before\",\"timeout\":\"5s\",\"on_error\":\"warn\"},"
                  "\"after\":{\"run\":\"after\"}");
    stage_back_up(stage);
    assert_ran(stage, "before s1 \nafter s1 completed\n");
    assert_non_null(strstr((char *)stage->log.at, "words of the hook"));
    assert_non_null(strstr((char *)stage->log.at, "%0A0")); /* nothing of ours was inherited */
    unsetenv("A_SECRET");
}

static void a_failing_before_ends_the_attempt_and_the_owed_after_still_runs(void **state)
{
    Stage *stage = *state;
    StageEnd end;
    put_hook(stage, "before", "exit 3");
    put_hook(stage, "after", "");
    policy(stage, "\"before\":{\"run\":\"before\"},\"after\":{\"run\":\"after\",\"always\":true}");
    stage_run(stage, "backup", "", &end);
    assert_string_equal(end.outcome, "failed");
    assert_string_equal(end.cause, "hook.failed");
    stage_end_free(&end);
    assert_ran(stage, "before s1 \nafter s1 failed\n");
}

static void a_hook_that_does_not_end_is_ended_with_all_it_started(void **state)
{
    Stage *stage = *state;
    StageEnd end;
    put_hook(stage, "slow", "sleep 1000 & sleep 1000");
    policy(stage, "\"before\":{\"run\":\"slow\",\"timeout_s\":1}");
    stage_run(stage, "backup", "", &end);
    assert_string_equal(end.cause, "hook.timeout");
    stage_end_free(&end);
}

static void a_hook_that_others_may_write_or_that_is_not_allowed_is_refused(void **state)
{
    static const struct {
        const char *name, *cause;
    } wrong[] = {{"before", "hook.unsafe"},
                 {"gone", "hook.missing"},
                 {"other", "not-allowed-here"},
                 {"../before", "not-allowed-here"}};
    Stage *stage = *state;
    char path[200], hooks[200];
    put_hook(stage, "before", "");
    snprintf(path, sizeof path, "%s/before", stage->hooks);
    assert_int_equal(chmod(path, 0777), 0);
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        StageEnd end;
        snprintf(hooks, sizeof hooks, "\"before\":{\"run\":\"%s\"}", wrong[i].name);
        policy(stage, hooks);
        stage_run(stage, "backup", "", &end);
        assert_string_equal(end.cause, wrong[i].cause);
        stage_end_free(&end);
    }
    assert_ran(stage, "");
}

static void the_parent_has_the_owed_hook_run_after_a_kill(void **state)
{
    Stage *stage = *state;
    StageEnd end = {0};
    put_hook(stage, "before", "");
    put_hook(stage, "after", "");
    policy(stage, "\"before\":{\"run\":\"before\"},\"after\":{\"run\":\"after\",\"always\":true}");
    stage_killed(stage, "backup", "", "backup.streamed");
    assert_ran(stage, "before s1 \n");
    json_t *order = json_loadb((char *)stage->order.at, stage->order.len, 0, NULL);
    json_object_set_new(order, "cleanup", json_pack("{s:s}", "why", "was killed"));
    stage_run_order(stage, order, &end);
    json_decref(order);
    assert_string_equal(end.outcome, "completed");
    stage_end_free(&end);
    assert_ran(stage, "before s1 \nafter s1 lost\n");
}

static void with_validate(Stage *stage, const char *body)
{
    put_hook(stage, "before", "");
    put_hook(stage, "after", "");
    put_hook(stage, "validate", body);
    policy(stage, "\"before\":{\"run\":\"before\"},\"validate\":{\"run\":\"validate\"},"
                  "\"after\":{\"run\":\"after\",\"always\":true}");
}

static void what_validate_does_not_agree_to_is_not_committed(void **state)
{
    Stage *stage = *state;
    StageEnd end;
    with_validate(stage, "exit 4");
    stage_run(stage, "backup", "", &end);
    assert_string_equal(end.outcome, "failed");
    assert_string_equal(end.cause, "backup.not_valid");
    stage_end_free(&end);
    assert_ran(stage, "before s1 \nvalidate s1 \nafter s1 failed\n");
    assert_int_equal(stage_counted(stage, "backup"), 0);
}

static void what_validate_agrees_to_is_told_to_it_and_committed(void **state)
{
    Stage *stage = *state;
    with_validate(stage, "case $HOLDFAST_BACKUP in bk_*) ;; *) exit 5;; esac\n"
                         "test $HOLDFAST_ENTRIES -eq 1 -a $HOLDFAST_BYTES -eq 0 -a "
                         "$HOLDFAST_ISSUES -eq 0");
    stage_back_up(stage);
    assert_int_equal(stage_counted(stage, "backup"), 1);
    assert_order(stage, "before validate after ");
}

/* --- applications around a restore in place ----------------------------------------------------
 */

static void apps_policy(Stage *stage)
{
    static const char *const names[] = {"stop-web", "start-web", "stop-queue", "start-queue"};
    for (size_t i = 0; i < 4; i++) {
        char body[200];
        snprintf(body, sizeof body, "test ! -e %s/%s.broken", stage->hooks, names[i]);
        put_hook(stage, names[i], body);
    }
    scoped(buf_free) Buf allow = {0};
    buf_printf(&allow,
               "{read: {paths: [%s]}, restore: {paths: [/], with: [devices, setuid, security]}, "
               "hooks: [stop-web, start-web, "
               "stop-queue, start-queue]}",
               stage->tree->top);
    stage_config(stage, buf_cstr(&allow), "");
    policy(stage, "\"apps\":[{\"stop\":\"stop-web\",\"start\":\"start-web\"},{\"stop\":"
                  "\"stop-queue\",\"start\":\"start-queue\"}]");
}

static void broken(const Stage *stage, const char *hook)
{
    file_tree_shell("touch %s/%s.broken", stage->hooks, hook);
}

static void in_place(Stage *stage, StageEnd *end)
{
    char params[200], id[UUID_TEXT];
    stage_backup(stage, id);
    snprintf(params, sizeof params, "{\"backup\":\"%s\",\"in_place\":true,\"confirm\":\"s1\"}", id);
    stage_run(stage, "restore", params, end);
}

static void what_must_not_run_is_stopped_in_order_and_started_in_reverse(void **state)
{
    Stage *stage = *state;
    StageEnd end;
    apps_policy(stage);
    file_tree_shell("echo before > %s/file", stage->tree->tree);
    stage_back_up(stage);
    stage_restore(stage, "");
    assert_ran(stage, ""); /* nothing is in the way of a backup, or of a restore to elsewhere */
    file_tree_shell("echo after > %s/file", stage->tree->tree);
    in_place(stage, &end);
    assert_string_equal(end.outcome, "completed");
    stage_end_free(&end);
    file_tree_shell("grep -qx before %s/file", stage->tree->tree);
    assert_ran(stage, "stop s1 \nstop s1 \nstart s1 \nstart s1 \n");
    assert_order(stage, "stop-web stop-queue start-queue start-web ");
}

static void a_stop_that_fails_starts_again_what_was_stopped_and_restores_nothing(void **state)
{
    Stage *stage = *state;
    StageEnd end;
    apps_policy(stage);
    file_tree_shell("echo before > %s/file", stage->tree->tree);
    stage_back_up(stage);
    file_tree_shell("echo after > %s/file", stage->tree->tree);
    broken(stage, "stop-queue");
    in_place(stage, &end);
    assert_string_equal(end.outcome, "failed");
    assert_string_equal(end.cause, "hook.failed");
    assert_non_null(strstr(end.text, "the restore, which did not begin"));
    stage_end_free(&end);
    file_tree_shell("grep -qx after %s/file", stage->tree->tree);
    assert_order(stage, "stop-web stop-queue start-queue start-web ");
}

static void an_application_that_does_not_start_again_is_never_a_whole_success(void **state)
{
    Stage *stage = *state;
    StageEnd end;
    apps_policy(stage);
    stage_back_up(stage);
    broken(stage, "start-queue");
    in_place(stage, &end);
    assert_string_equal(end.outcome, "partial");
    stage_end_free(&end);
    assert_non_null(strstr((char *)stage->log.at, "app.not_started start-queue"));
    assert_order(stage, "stop-web stop-queue start-queue start-web ");
}

/* attempt: as the order of the dead one says; 0: its own. */
static void clean_up(Stage *stage, int attempt)
{
    StageEnd end = {0};
    json_t *order = json_loadb((char *)stage->order.at, stage->order.len, 0, NULL);
    json_object_set_new(order, "cleanup", json_pack("{s:s}", "why", "was killed"));
    if (attempt > 0)
        json_object_set_new(order, "attempt", json_integer(attempt));
    stage_run_order(stage, order, &end);
    json_decref(order);
    assert_string_equal(end.cause, "");
    stage_end_free(&end);
}

static void a_killed_restore_leaves_nothing_stopped(void **state)
{
    Stage *stage = *state;
    char params[200], id[UUID_TEXT];
    apps_policy(stage);
    stage_back_up(stage);
    stage_backup(stage, id);
    snprintf(params, sizeof params, "{\"backup\":\"%s\",\"in_place\":true,\"confirm\":\"s1\"}", id);
    stage_killed(stage, "restore", params, "restore.fed");
    assert_order(stage, "stop-web stop-queue ");
    /* A later attempt has begun elsewhere: what it restores into must not be started. */
    fleet_do(stage->fleet, "UPDATE job SET attempt = attempt + 1 WHERE kind = 'restore'");
    clean_up(stage, 0);
    assert_order(stage, "stop-web stop-queue ");
    fleet_do(stage->fleet, "UPDATE job SET attempt = attempt - 1 WHERE kind = 'restore'");
    clean_up(stage, 0);
    assert_order(stage, "stop-web stop-queue start-queue start-web ");
    /* A catalogue that was lost and made anew knows nothing of it. */
    clean_up(stage, 77);
    assert_order(stage, "stop-web stop-queue start-queue start-web start-queue start-web ");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(before_and_after_surround_the_backup),
        TEST(a_failing_before_ends_the_attempt_and_the_owed_after_still_runs),
        TEST(a_hook_that_does_not_end_is_ended_with_all_it_started),
        TEST(a_hook_that_others_may_write_or_that_is_not_allowed_is_refused),
        TEST(what_validate_does_not_agree_to_is_not_committed),
        TEST(what_validate_agrees_to_is_told_to_it_and_committed),
        TEST(the_parent_has_the_owed_hook_run_after_a_kill),
        TEST(what_must_not_run_is_stopped_in_order_and_started_in_reverse),
        TEST(a_stop_that_fails_starts_again_what_was_stopped_and_restores_nothing),
        TEST(an_application_that_does_not_start_again_is_never_a_whole_success),
        TEST(a_killed_restore_leaves_nothing_stopped),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
