/* SPDX-License-Identifier: Apache-2.0
 * A million small files, or 50 000 where it is not run whole: first backup, an unchanged one and a
 * restore, each in a process that stays below 256 MB with 96 MiB of buffers. */
#include "tests/harness/stage.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

enum { IN_ONE = 1000, FOLDERS = 50, FOLDERS_WHOLE = 1000, MOST_KB = 256 * 1000 * 1000 / 1024 };

static unsigned folders(void)
{
    const char *faults = getenv("HOLDFAST_FAULTS");
    return faults != NULL && strcmp(faults, "whole") == 0 ? FOLDERS_WHOLE : FOLDERS;
}

static int set_up(void **state)
{
    Stage *stage = stage_new("");
    fleet_settled(stage->fleet);
    fleet_do(stage->fleet,
             "UPDATE setting SET value = 3600 WHERE name IN ('lease_s', 'liveness_s')");
    file_tree_shell("sed -i 's/^memory: .*/memory: 96MiB/' %s", stage->config);
    *state = stage;
    return 0;
}

static int tear_down(void **state)
{
    stage_free(*state);
    return 0;
}

/* Not by a program: what children took at most is measured. */
static void plant(const Stage *stage)
{
    int top = open(stage->tree->tree, O_PATH | O_DIRECTORY | O_CLOEXEC);
    assert_true(top >= 0);
    for (unsigned i = 0; i < folders(); i++) {
        char name[24], bytes[1200];
        snprintf(name, sizeof name, "folder-%u", i);
        assert_int_equal(mkdirat(top, name, 0755), 0);
        int folder = openat(top, name, O_PATH | O_DIRECTORY | O_CLOEXEC);
        for (unsigned j = 0; j < IN_ONE; j++) {
            snprintf(name, sizeof name, "a file %u", j);
            int fd = openat(folder, name, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0644);
            size_t len = (i * 131 + j * 17) % 1000;
            for (size_t k = 0; k < len; k += 8)
                snprintf(bytes + k, 9, "%08x", (unsigned)(i * 2654435761U + j * 40503U + k));
            assert_int_equal(write(fd, bytes, len), (ssize_t)len);
            close(fd);
        }
        close(folder);
    }
    close(top);
}

static long peak_kb(void)
{
    struct rusage usage;
    assert_int_equal(getrusage(RUSAGE_CHILDREN, &usage), 0);
    return usage.ru_maxrss;
}

static void assert_small(const char *after)
{
    long peak = peak_kb();
    print_message("%u files: at most %ld KiB in one process, after %s\n", folders() * IN_ONE, peak,
                  after);
    assert_true(peak < MOST_KB);
}

static void many_small_files_take_little_memory(void **state)
{
    Stage *stage = *state;
    char sql[200];
    plant(stage);
    print_message("at most %ld KiB before\n", peak_kb());
    stage_back_up(stage);
    assert_small("the first backup");
    stage_back_up(stage);
    assert_small("an unchanged one");
    snprintf(sql, sizeof sql, "backup WHERE entries = %u AND issue_count = 0",
             folders() * (IN_ONE + 1) + 1);
    assert_int_equal(stage_counted(stage, sql), 2);
    stage_restore(stage, "");
    assert_small("a restore");
    file_tree_assert_equal(stage->tree);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(many_small_files_take_little_memory, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
