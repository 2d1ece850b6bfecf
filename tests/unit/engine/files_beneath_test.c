/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/engine/files_beneath.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static void hostile_names_are_refused(void **state)
{
    (void)state;
    char long_name[257];
    memset(long_name, 'a', 256);
    long_name[256] = '\0';
    const Text wrong[] = {TEXT(""),       TEXT("/"),    TEXT("/etc/passwd"), TEXT(".."),
                          TEXT("a/../b"), TEXT("a//b"), TEXT("a/"),          TEXT("."),
                          TEXT("a/."),    TEXT("a\0b"), TEXT("../x"),        text_of(long_name)};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        Err err = {0};
        assert_false(files_beneath_check(wrong[i], &err));
        assert_string_equal(err.cause, "files.hostile_name");
    }
}

static void strange_but_harmless_names_pass(void **state)
{
    (void)state;
    Err err = {0};
    const Text fine[] = {TEXT("..."), TEXT("a\nb"),  TEXT("$(id)"),  TEXT("\xff\xfe"),
                         TEXT("-rf"), TEXT("a/..b"), TEXT("'; DROP")};
    for (size_t i = 0; i < sizeof fine / sizeof fine[0]; i++)
        assert_true(files_beneath_check(fine[i], &err));
}

static void a_symbolic_link_in_any_part_ends_the_way(void **state)
{
    (void)state;
    char top[] = "/tmp/files-beneath.XXXXXX";
    assert_non_null(mkdtemp(top));
    int fd = open(top, O_PATH | O_DIRECTORY | O_CLOEXEC);
    assert_int_equal(mkdirat(fd, "real", 0700), 0);
    assert_int_equal(symlinkat("/etc", fd, "link"), 0);
    assert_int_equal(symlinkat("real", fd, "inner"), 0);
    int opened = files_beneath_open(fd, TEXT("real"), O_RDONLY | O_DIRECTORY);
    assert_true(opened >= 0);
    close(opened);
    assert_int_equal(files_beneath_open(fd, TEXT("link/passwd"), O_RDONLY), -1);
    assert_int_equal(errno, ELOOP);
    assert_int_equal(files_beneath_open(fd, TEXT("inner"), O_RDONLY | O_DIRECTORY), -1);
    assert_int_equal(errno, ELOOP);
    assert_int_equal(files_beneath_open(fd, TEXT(".."), O_RDONLY | O_DIRECTORY), -1);
    assert_int_equal(errno, EXDEV);
    unlinkat(fd, "inner", 0);
    unlinkat(fd, "link", 0);
    unlinkat(fd, "real", AT_REMOVEDIR);
    close(fd);
    rmdir(top);
}

static void a_path_splits_into_directory_and_name(void **state)
{
    (void)state;
    Text directory, name;
    files_beneath_split(TEXT("a/b/c"), &directory, &name);
    assert_true(text_equal(directory, TEXT("a/b")));
    assert_true(text_equal(name, TEXT("c")));
    files_beneath_split(TEXT("c"), &directory, &name);
    assert_int_equal(directory.len, 0);
    assert_true(text_equal(name, TEXT("c")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hostile_names_are_refused),
        cmocka_unit_test(strange_but_harmless_names_pass),
        cmocka_unit_test(a_symbolic_link_in_any_part_ends_the_way),
        cmocka_unit_test(a_path_splits_into_directory_and_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
