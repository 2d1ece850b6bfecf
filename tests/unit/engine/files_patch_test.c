/* SPDX-License-Identifier: Apache-2.0
 * files_patch_test.c — a file becomes equal to what comes, in pieces cut anywhere, and no page that
 * was equal is written. */
#include "worker/engine/files_patch.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

enum { PAGE = 8192, MOST = 80 * PAGE };

static uint8_t was[MOST], wanted[MOST], is[MOST];

static uint64_t state = 7;

static uint32_t draw(uint32_t below)
{
    state = state * UINT64_C(6364136223846793005) + 1442695040888963407U;
    return (uint32_t)(state >> 33) % below;
}

static int file_of(size_t len)
{
    int fd = memfd_create("patched", MFD_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, was, len), len);
    return fd;
}

/* How many bytes lie in pages that are not equal already. */
static uint64_t different(size_t before, size_t after)
{
    uint64_t sum = 0;
    for (size_t at = 0; at < after; at += PAGE) {
        size_t page = after - at < PAGE ? after - at : PAGE;
        if (at + page > before || memcmp(was + at, wanted + at, page) != 0)
            sum += page;
    }
    return sum;
}

/* whole: pieces end where pages do, so that what is written is exactly what differs. */
static void patch(FilesPatch *patched, size_t before, size_t after, bool whole)
{
    struct stat about;
    int fd = file_of(before);
    files_patch_begin(patched, fd, before);
    for (size_t at = 0; at < after;) {
        size_t len = whole ? (1 + draw(70)) * PAGE : 1 + draw(100000);
        len = len < after - at ? len : after - at;
        size_t zeros = 0;
        while (zeros < len && wanted[at + zeros] == 0)
            zeros++;
        if (zeros == len)
            assert_true(files_patch_zeros(patched, len));
        else
            assert_true(files_patch_write(patched, (Slice){wanted + at, len}));
        at += len;
    }
    assert_true(files_patch_end(patched));
    assert_int_equal(fstat(fd, &about), 0);
    assert_int_equal(about.st_size, after);
    assert_int_equal(pread(fd, is, after, 0), after);
    assert_memory_equal(is, wanted, after);
    close(fd);
}

static void any_file_becomes_any_other(void **ignored)
{
    FilesPatch patched = {.fd = -1};
    (void)ignored;
    for (int round = 0; round < 300; round++) {
        size_t before = draw(4) == 0 ? 0 : draw(MOST), after = draw(5) == 0 ? 0 : draw(MOST);
        for (size_t i = 0; i < MOST; i++)
            was[i] = wanted[i] = (uint8_t)(i / 4096 % 3 == 0 ? 0 : i * 31);
        for (uint32_t changes = draw(6); changes > 0; changes--)
            wanted[draw(MOST)] ^= (uint8_t)(1 + draw(255));
        if (draw(3) == 0)
            memset(wanted + draw(MOST / 2), 0, MOST / 3);
        patch(&patched, before, after, round % 2 == 0);
        /* Zeros behind the old end are a hole, so less may be written, never more. */
        if (round % 2 == 0)
            assert_true(patched.written <= different(before, after));
        assert_int_equal(patched.changed, before != after || memcmp(was, wanted, after) != 0);
    }
    files_patch_free(&patched);
}

static void what_is_equal_is_not_written(void **ignored)
{
    FilesPatch patched = {.fd = -1};
    (void)ignored;
    for (size_t i = 0; i < MOST; i++)
        was[i] = wanted[i] = (uint8_t)(i * 7 + 1);
    patch(&patched, MOST, MOST, false);
    assert_int_equal(patched.written, 0);
    assert_false(patched.changed);
    wanted[3 * PAGE + 5] ^= 1;
    wanted[4 * PAGE] ^= 1;
    patch(&patched, MOST, MOST, true);
    assert_int_equal(patched.written, 2 * PAGE);
    patch(&patched, MOST, MOST - 1, true);
    assert_true(patched.changed);
    files_patch_free(&patched);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(any_file_becomes_any_other),
        cmocka_unit_test(what_is_equal_is_not_written),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
