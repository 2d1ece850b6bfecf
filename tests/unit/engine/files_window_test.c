/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/engine/files_window.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

enum { FILES = 3000 };

static void empty(int fd)
{
    for (int i = 0; i < FILES; i++) {
        char name[32];
        snprintf(name, sizeof name, "f%d", i);
        unlinkat(fd, name, 0);
        snprintf(name, sizeof name, "d%d", i);
        unlinkat(fd, name, AT_REMOVEDIR);
    }
}

/* Every key comes once and in order, whatever the budget. */
static void take_all(int fd, size_t budget, size_t *fillings)
{
    FilesWindow window = {0};
    scoped(buf_free) Buf before = {0};
    size_t taken = 0;
    *fillings = 0;
    do {
        Text key;
        assert_true(files_window_fill(&window, fd, budget));
        ++*fillings;
        while (files_window_take(&window, &key)) {
            if (taken > 0)
                assert_true(text_compare(buf_text(&before), key) < 0);
            buf_clear(&before);
            buf_add_text(&before, key);
            taken++;
        }
    } while (!files_window_done(&window));
    assert_int_equal(taken, FILES + 2 * (FILES / 10));
    files_window_free(&window);
}

static void a_small_budget_costs_passes_and_loses_nothing(void **state)
{
    (void)state;
    char top[] = "/tmp/files-window.XXXXXX";
    size_t fillings;
    assert_non_null(mkdtemp(top));
    int fd = open(top, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    for (int i = 0; i < FILES; i++) {
        char name[32];
        snprintf(name, sizeof name, "f%d", i);
        close(openat(fd, name, O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
        snprintf(name, sizeof name, "d%d", i);
        if (i % 10 == 0)
            assert_int_equal(mkdirat(fd, name, 0700), 0);
    }
    take_all(fd, 1 << 20, &fillings);
    assert_int_equal(fillings, 1);
    take_all(fd, 4096, &fillings);
    assert_true(fillings > 5);
    empty(fd);
    close(fd);
    assert_int_equal(rmdir(top), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_small_budget_costs_passes_and_loses_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
