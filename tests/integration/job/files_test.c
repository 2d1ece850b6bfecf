/* SPDX-License-Identifier: Apache-2.0
 * Jobs that back up and restore a tree with everything that gives power: what comes back without
 * being asked for, what a worker's own file allows, and what is equal when all of it is. */
#include "tests/harness/stage.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
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

static void plant(const Stage *stage)
{
    file_tree_shell("cd %s && mkdir d && cp /bin/true d/suid && chown 1:2 d/suid && chmod 6755 "
                    "d/suid && mknod d/null c 1 3 && mkfifo d/fifo && echo x > d/f && setfattr -n "
                    "trusted.n -v t d/f && setfattr -n security.capability -v "
                    "0x0100000200200000000000000000000000000000 d/f && setfattr -n user.n -v u d/f "
                    "&& ln d/f g && ln -s d/f l && touch -h -d @1000000000.123456789 d/suid d/null "
                    "d/fifo d/f l d .",
                    stage->tree->tree);
}

/* Ends as the caller must see for itself. */
static void restore(Stage *stage, const char *options, StageEnd *end)
{
    char params[600], id[UUID_TEXT];
    stage_backup(stage, id);
    snprintf(params, sizeof params, "{\"backup\":\"%s\",\"target\":{\"path\":\"%s\"}%s}", id,
             stage->tree->out, options);
    stage_run(stage, "restore", params, end);
}

static void assert_logged(Stage *stage, const char *text)
{
    if (strstr(buf_cstr(&stage->log), text) == NULL)
        fail_msg("not in the log: %s\n%s", text, buf_cstr(&stage->log));
}

static void what_gives_power_is_told_and_comes_back_when_both_ask_for_it(void **state)
{
    Stage *stage = *state;
    StageEnd end;
    char line[300];
    if (geteuid() != 0)
        skip();
    plant(stage);
    stage_back_up(stage);
    restore(stage, "", &end);
    assert_string_equal(end.outcome, "completed");
    stage_end_free(&end);
    assert_logged(stage, "d/null: not restored: a device is made only when it is asked for");
    assert_logged(stage, "d/suid: restored without its set-user-id or set-group-id bit");
    assert_logged(stage, "d/f: restored without its attributes of security.* and trusted.*");
    assert_logged(stage, "(so it is of 2 in all)"); /* the two attributes */
    file_tree_differs(stage->tree, line, sizeof line);
    assert_true(line[0] != '\0');
    file_tree_shell("rm -rf %s", stage->tree->out);
    stage_restore(stage, "");
    file_tree_assert_equal(stage->tree);
}

static void a_workers_own_file_forbids_what_gives_power(void **state)
{
    static const char *const powers[] = {"devices", "setuid", "security"};
    Stage *stage = *state;
    char allow[400], options[60];
    file_tree_shell("echo x > %s/f", stage->tree->tree);
    stage_back_up(stage);
    snprintf(allow, sizeof allow, "{read: {paths: [%s]}, restore: {paths: [%s]}}", stage->tree->top,
             stage->tree->top);
    stage_config(stage, allow, "");
    for (size_t i = 0; i < sizeof powers / sizeof *powers; i++) {
        StageEnd end;
        snprintf(options, sizeof options, ",\"options\":{\"%s\":true}", powers[i]);
        restore(stage, options, &end);
        assert_string_equal(end.cause, "not-allowed-here");
        assert_non_null(strstr(end.text, "allow.restore.with in worker.yaml"));
        assert_int_not_equal(access(stage->tree->out, F_OK), 0);
        stage_end_free(&end);
    }
    StageEnd end;
    restore(stage, ",\"options\":{\"numeric_owner\":true}", &end);
    assert_string_equal(end.outcome, "completed");
    stage_end_free(&end);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(what_gives_power_is_told_and_comes_back_when_both_ask_for_it),
        TEST(a_workers_own_file_forbids_what_gives_power),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
