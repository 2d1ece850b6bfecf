/* SPDX-License-Identifier: Apache-2.0
 * What a proof leaves is removed whole, however deep, whatever its rights; what a link leads to
 * stays. */
#include "worker/job/proof_clear.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static char top[64], path[200];

static const char *below(const char *name)
{
    snprintf(path, sizeof path, "%s/%s", top, name);
    return path;
}

static void put(int folder, const char *name)
{
    int fd = openat(folder, name, O_WRONLY | O_CREAT, 0600);
    assert_true(fd >= 0);
    close(fd);
}

static int make_top(void **state)
{
    (void)state;
    snprintf(top, sizeof top, "%s", "/tmp/hf-clear.XXXXXX");
    assert_non_null(mkdtemp(top));
    assert_int_equal(mkdir(below("gone"), 0700), 0);
    assert_int_equal(mkdir(below("kept"), 0700), 0);
    int kept = open(below("kept"), O_RDONLY | O_DIRECTORY);
    put(kept, "file");
    close(kept);
    return 0;
}

static int drop_top(void **state)
{
    (void)state;
    assert_int_equal(unlink(below("kept/file")), 0);
    assert_int_equal(rmdir(below("kept")), 0);
    assert_int_equal(rmdir(top), 0);
    return 0;
}

static void all_of_it_goes_and_nothing_else(void **state)
{
    (void)state;
    char kept[100];
    int fd = open(below("gone"), O_RDONLY | O_DIRECTORY);
    snprintf(kept, sizeof kept, "%s/kept", top);
    assert_int_equal(symlinkat(kept, fd, "link"), 0);
    assert_int_equal(symlinkat("file", fd, "dangling"), 0);
    assert_int_equal(mkfifoat(fd, "fifo", 0600), 0);
    assert_int_equal(mkdirat(fd, "closed", 0700), 0);
    int closed = openat(fd, "closed", O_RDONLY | O_DIRECTORY);
    put(closed, "inside");
    assert_int_equal(fchmod(closed, 0), 0);
    close(closed);
    for (int i = 0; i < 5000; i++) {
        char name[20];
        snprintf(name, sizeof name, "f%d", i);
        put(fd, name);
    }
    close(fd);
    assert_true(proof_clear(below("gone")));
    assert_int_equal(access(below("gone"), F_OK), -1);
    assert_int_equal(access(below("kept/file"), F_OK), 0);
    assert_true(proof_clear(below("gone")));
}

static void however_deep_it_is(void **state)
{
    (void)state;
    int fd = open(below("gone"), O_RDONLY | O_DIRECTORY);
    for (int i = 0; i < 2000; i++) {
        put(fd, "file");
        assert_int_equal(mkdirat(fd, "deeper", 0700), 0);
        int next = openat(fd, "deeper", O_RDONLY | O_DIRECTORY);
        assert_true(next >= 0);
        close(fd);
        fd = next;
    }
    close(fd);
    assert_true(proof_clear(below("gone")));
    assert_int_equal(access(below("gone"), F_OK), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(all_of_it_goes_and_nothing_else, make_top, drop_top),
        cmocka_unit_test_setup_teardown(however_deep_it_is, make_top, drop_top),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
