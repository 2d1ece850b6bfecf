/* SPDX-License-Identifier: Apache-2.0
 * files_bulk_test.c — whatever pieces a content comes in, the file holds it, and zeros are holes.
 */
#include "worker/engine/files_bulk.h"

#include "common/base/buf.h"
#include "common/base/mem.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

enum { ROUNDS = 60, LARGE = 9 * 1024 * 1024 };

static uint64_t state_of_dice = 88172645463325252u;

static uint64_t dice(uint64_t sides)
{
    state_of_dice ^= state_of_dice << 13;
    state_of_dice ^= state_of_dice >> 7;
    state_of_dice ^= state_of_dice << 17;
    return state_of_dice % sides;
}

static void assert_holds(const char *path, const Buf *content)
{
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    assert_int_equal(fstat(fd, &st), 0);
    assert_int_equal(st.st_size, content->len);
    uint8_t *back = mem_resize(NULL, content->len + 1);
    for (size_t at = 0; at < content->len;) {
        ssize_t got = pread(fd, back + at, content->len - at, (off_t)at);
        assert_true(got > 0);
        at += (size_t)got;
    }
    assert_memory_equal(back, content->at, content->len);
    mem_free(back);
    close(fd);
}

/* One piece: bytes of no pattern, or zeros. */
static void add_piece(FilesBulk *bulk, Buf *content, size_t most)
{
    size_t len = (size_t)dice(most);
    if (dice(3) == 0) {
        if (len > 0)
            memset(buf_extend(content, len), 0, len);
        assert_true(files_bulk_zeros(bulk, len));
        return;
    }
    size_t from = content->len;
    for (size_t i = 0; i < len; i++)
        buf_add_byte(content, (uint8_t)(1 + dice(255)));
    assert_true(len == 0 || files_bulk_write(bulk, content->at + from, len));
}

static void run(const char *directory)
{
    char path[128];
    FilesBulk bulk = {.fd = -1};
    snprintf(path, sizeof path, "%s/files-bulk.XXXXXX", directory);
    close(mkstemp(path));
    for (unsigned round = 0; round < ROUNDS; round++) {
        scoped(buf_free) Buf content = {0};
        bool large = round % 2 == 0;
        size_t most = 1 + (size_t)dice(large ? 700000 : 9000);
        int fd = open(path, O_WRONLY | O_TRUNC | O_CLOEXEC);
        files_bulk_begin(&bulk, fd, large ? LARGE : 5000);
        for (uint64_t pieces = dice(20); pieces > 0; pieces--)
            add_piece(&bulk, &content, most);
        assert_true(files_bulk_end(&bulk));
        assert_holds(path, &content);
        close(fd);
    }
    files_bulk_free(&bulk);
    unlink(path);
}

static void a_content_in_any_pieces_is_the_files(void **state)
{
    (void)state;
    run("/var/tmp");
}

static void where_no_write_goes_around_the_cache_it_is_the_same(void **state)
{
    (void)state;
    run("/dev/shm");
}

static void long_zeros_take_no_room(void **state)
{
    (void)state;
    char path[] = "/var/tmp/files-bulk.XXXXXX";
    FilesBulk bulk = {.fd = -1};
    struct stat st;
    int fd = mkstemp(path);
    files_bulk_begin(&bulk, fd, LARGE);
    assert_true(files_bulk_write(&bulk, (const uint8_t *)"head", 4));
    assert_true(files_bulk_zeros(&bulk, LARGE - 8));
    assert_true(files_bulk_write(&bulk, (const uint8_t *)"tail", 4));
    assert_true(files_bulk_end(&bulk));
    assert_int_equal(fstat(fd, &st), 0);
    assert_int_equal(st.st_size, LARGE);
    assert_in_range(st.st_blocks * 512, 1, 256 * 1024);
    files_bulk_free(&bulk);
    close(fd);
    unlink(path);
}

static void a_full_disk_is_told(void **state)
{
    (void)state;
    FilesBulk bulk = {.fd = -1};
    int fd = open("/dev/full", O_WRONLY | O_CLOEXEC);
    uint8_t *bytes = mem_zeroed(1, LARGE);
    files_bulk_begin(&bulk, fd, 0);
    assert_false(files_bulk_write(&bulk, bytes, LARGE));
    mem_free(bytes);
    files_bulk_free(&bulk);
    close(fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_content_in_any_pieces_is_the_files),
        cmocka_unit_test(where_no_write_goes_around_the_cache_it_is_the_same),
        cmocka_unit_test(long_zeros_take_no_room),
        cmocka_unit_test(a_full_disk_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
