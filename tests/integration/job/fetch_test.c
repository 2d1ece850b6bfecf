/* SPDX-License-Identifier: Apache-2.0
 * One file of a backup, streamed to a stand-in for the scheduler's API. */
#include "tests/harness/stage.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static pid_t api;

static void read_text(const Stage *stage, const char *name, char out[64])
{
    char path[200];
    snprintf(path, sizeof path, "%s/%s", stage->tree->top, name);
    FILE *file = fopen(path, "r");
    out[file == NULL ? 0 : fread(out, 1, 63, file)] = '\0';
    if (file != NULL)
        fclose(file);
}

static int set_up(void **state)
{
    Stage *stage = stage_new("");
    char port[64] = "", line[100], allow[200];
    file_tree_shell("cd %s && head -c 5000000 /dev/urandom > big && : > empty && "
                    "printf odd > 'a%%b\n$(id)' && truncate -s 3000000 hole && mkdir d",
                    stage->tree->tree);
    api = fork();
    if (api == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        execlp("python3", "python3", "-B", "tests/harness/stream_api.py", stage->tree->top, NULL);
        _exit(127);
    }
    for (int tries = 0; tries < 100 && port[0] == '\0'; tries++) {
        usleep(50000);
        read_text(stage, "port", port);
    }
    snprintf(line, sizeof line, "api: http://127.0.0.1:%s\n", port);
    snprintf(allow, sizeof allow, "{read: {paths: [%s]}}", stage->tree->top);
    stage_config(stage, allow, line);
    *state = stage;
    return 0;
}

static int tear_down(void **state)
{
    kill(api, SIGKILL);
    waitpid(api, NULL, 0);
    stage_free(*state);
    return 0;
}

static void fetch(Stage *stage, const char *path, const char *outcome)
{
    char params[500], id[UUID_TEXT];
    stage_back_up(stage);
    stage_backup(stage, id);
    snprintf(params, sizeof params,
             "{\"backup\":\"%s\",\"fetch\":{\"path\":\"%s%s\",\"stream\":\"t1\"}}", id,
             stage->tree->tree, path);
    stage_must(stage, "restore", params, outcome);
}

static void assert_over(const Stage *stage, const char *expected)
{
    char over[64];
    read_text(stage, "over", over);
    assert_string_equal(over, expected);
}

static void a_large_file_arrives_whole_although_an_answer_is_lost(void **state)
{
    Stage *stage = *state;
    fetch(stage, "/big", "completed");
    assert_over(stage, "end");
    file_tree_shell("cmp %s/stream %s/big", stage->tree->top, stage->tree->tree);
}

static void a_hole_and_a_strange_name_arrive(void **state)
{
    Stage *stage = *state;
    fetch(stage, "/hole", "completed");
    file_tree_shell("cmp %s/stream %s/hole && : > %s/stream", stage->tree->top, stage->tree->tree,
                    stage->tree->top);
    fetch(stage, "/a%25b%0A$(id)", "completed");
    file_tree_shell("test \"$(cat %s/stream)\" = odd", stage->tree->top);
}

static void an_empty_file_is_an_empty_stream_that_ends(void **state)
{
    Stage *stage = *state;
    fetch(stage, "/empty", "completed");
    assert_over(stage, "end");
}

static void what_cannot_be_fetched_is_told_to_whoever_waits(void **state)
{
    Stage *stage = *state;
    fetch(stage, "/nothing", "failed");
    assert_over(stage, "fetch.missing");
    fetch(stage, "/d", "failed");
    assert_over(stage, "fetch.not_a_file");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_large_file_arrives_whole_although_an_answer_is_lost),
        TEST(a_hole_and_a_strange_name_arrive),
        TEST(an_empty_file_is_an_empty_stream_that_ends),
        TEST(what_cannot_be_fetched_is_told_to_whoever_waits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
