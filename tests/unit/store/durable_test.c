/* SPDX-License-Identifier: Apache-2.0
 * The order in which a local store asks the kernel to make things last, seen by standing between it
 * and libc: this program's fsync, linkat and renameat are the ones it calls. */
#include "common/store/store.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cmocka.h>

static char calls[1024];
static bool failing;

static void note(const char *word)
{
    size_t len = strlen(calls);
    snprintf(calls + len, sizeof calls - len, "%s ", word);
}

int fsync(int fd)
{
    struct stat st;
    note(fstat(fd, &st) == 0 && S_ISDIR(st.st_mode) ? "sync-directory" : "sync-file");
    if (failing) {
        errno = EIO;
        return -1;
    }
    return (int)syscall(SYS_fsync, fd);
}

int linkat(int from_fd, const char *from, int to_fd, const char *to, int flags)
{
    note("name");
    return (int)syscall(SYS_linkat, from_fd, from, to_fd, to, flags);
}

int renameat(int from_fd, const char *from, int to_fd, const char *to)
{
    note("name");
    return (int)syscall(SYS_renameat2, from_fd, from, to_fd, to, 0);
}

static char folder[] = "/tmp/hf-durable.XXXXXX";
static Store *store;

static void a_put_syncs_the_file_before_its_name_and_the_directory_after(void **state)
{
    (void)state;
    Err err = {0};
    assert_true(store_put(store, "packs/one", slice_of_text(TEXT("content")), &err));
    calls[0] = 0;
    assert_true(store_put(store, "packs/two", slice_of_text(TEXT("content")), &err));
    assert_string_equal(calls, "sync-file name sync-directory ");
}

static void a_new_directory_is_synced_into_its_parent_first(void **state)
{
    (void)state;
    Err err = {0};
    calls[0] = 0;
    assert_true(store_put(store, "index/one", slice_of_text(TEXT("x")), &err));
    assert_string_equal(calls, "sync-directory sync-file name sync-directory ");
}

static void a_replacement_is_synced_before_and_after_it_takes_the_name(void **state)
{
    (void)state;
    Err err = {0};
    assert_true(store_replace(store, "config", slice_of_text(TEXT("1")), &err));
    calls[0] = 0;
    assert_true(store_replace(store, "config", slice_of_text(TEXT("2")), &err));
    assert_string_equal(calls, "sync-file name sync-directory ");
}

static void a_file_that_cannot_be_synced_gets_no_name(void **state)
{
    (void)state;
    Err err = {0};
    bool found = true;
    uint64_t size;
    calls[0] = 0;
    failing = true;
    assert_false(store_put(store, "packs/three", slice_of_text(TEXT("x")), &err));
    failing = false;
    assert_string_equal(calls, "sync-file ");
    assert_string_equal(err.cause, "store.sync");
    assert_true(store_head(store, "packs/three", &found, &size, &err));
    assert_false(found);
}

static int setup(void **state)
{
    Err err = {0};
    (void)state;
    return mkdtemp(folder) != NULL && store_local_open(&store, folder, &err) ? 0 : -1;
}

static int teardown(void **state)
{
    static const char *const names[] = {"packs/one", "packs/two", "index/one", "config"};
    char path[64];
    Err err = {0};
    (void)state;
    store_let_remove(store);
    for (size_t i = 0; i < 4; i++)
        if (!store_remove(store, names[i], &err))
            return -1;
    store_close(store);
    snprintf(path, sizeof path, "%s/packs", folder);
    rmdir(path);
    snprintf(path, sizeof path, "%s/index", folder);
    rmdir(path);
    return rmdir(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_put_syncs_the_file_before_its_name_and_the_directory_after),
        cmocka_unit_test(a_new_directory_is_synced_into_its_parent_first),
        cmocka_unit_test(a_replacement_is_synced_before_and_after_it_takes_the_name),
        cmocka_unit_test(a_file_that_cannot_be_synced_gets_no_name),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
