/* SPDX-License-Identifier: Apache-2.0 */
#include "common/base/crashpoint.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

/* Passes four points in a child; gives how it ended. */
static int child_with(const char *number, const char *only, const char *log)
{
    int status = 0;
    pid_t child = fork();
    if (child == 0) {
        if (number != NULL)
            setenv("HOLDFAST_CRASHPOINT", number, 1);
        if (only != NULL)
            setenv("HOLDFAST_CRASHPOINT_ONLY", only, 1);
        if (log != NULL)
            setenv("HOLDFAST_CRASHPOINT_LOG", log, 1);
        CRASHPOINT("claim.sent");
        CRASHPOINT("commit.before");
        CRASHPOINT("commit.after");
        CRASHPOINT("restore.done");
        _exit(0);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    return status;
}

static void killed_at(const char *number, const char *only)
{
    int status = child_with(number, only, NULL);
    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), SIGKILL);
}

static void lives(const char *number, const char *only)
{
    int status = child_with(number, only, NULL);
    assert_true(WIFEXITED(status));
}

static void the_nth_point_kills_and_one_beyond_the_last_does_not(void **state)
{
    (void)state;
    lives(NULL, NULL);
    lives("0", NULL);
    killed_at("1", NULL);
    killed_at("4", NULL);
    lives("5", NULL);
}

static void a_prefix_limits_what_is_counted(void **state)
{
    (void)state;
    killed_at("2", "commit.");
    lives("3", "commit.");
}

static void the_log_names_each_point_that_was_passed(void **state)
{
    (void)state;
    char path[] = "/tmp/hf-crash.XXXXXX";
    char text[256];
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_true(WIFSIGNALED(child_with("3", NULL, path)));
    ssize_t got = read(fd, text, sizeof text - 1);
    assert_true(got > 0);
    text[got] = 0;
    assert_string_equal(text, "claim.sent\ncommit.before\ncommit.after\n");
    close(fd);
    unlink(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_nth_point_kills_and_one_beyond_the_last_does_not),
        cmocka_unit_test(a_prefix_limits_what_is_counted),
        cmocka_unit_test(the_log_names_each_point_that_was_passed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
