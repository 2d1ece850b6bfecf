/* SPDX-License-Identifier: Apache-2.0
 * Files that change, vanish or cannot be read while they are backed up. */
#include "common/base/json.h"
#include "common/base/mem.h"
#include "tests/harness/file_tree.h"
#include "tests/harness/memory_backup.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <cmocka.h>

static const Engine *files(void)
{
    return engine_find(TEXT("files"));
}

static const FileTree *changing;
static unsigned changes, most_changes;

static void shrink(MemoryBackup *memory, const Entry *entry, unsigned reads)
{
    char path[400];
    (void)memory;
    if (reads != 1 || changes++ >= most_changes)
        return;
    snprintf(path, sizeof path, "/%.*s", TEXT_ARG(entry->path));
    assert_int_equal(truncate(path, (off_t)(20000 - changes * 1000)), 0);
}

static void run_change(void **state, unsigned most,
                       void (*during)(MemoryBackup *, const Entry *, unsigned),
                       MemoryBackup *memory)
{
    static uint8_t bytes[20000];
    Err err = {0};
    changing = *state;
    changes = 0;
    most_changes = most;
    memory->during = during;
    file_tree_put(changing, "file", bytes, sizeof bytes);
    json_t *config = file_tree_config(changing);
    assert_true(memory_backup_take(memory, files(), config, &err));
    json_decref(config);
}

static void a_file_steady_on_the_second_reading_is_a_note(void **state)
{
    MemoryBackup memory = {0};
    run_change(state, 1, shrink, &memory);
    assert_int_equal(memory.issues[ISSUE_NOTE], 1);
    assert_int_equal(memory.issues[ISSUE_TORN], 0);
    assert_int_equal(memory.count, 2);
    assert_int_equal(memory.kept[1].entry.size, 19000);
    assert_int_equal(memory.kept[1].bytes.len, 19000);
    memory_backup_free(&memory);
}

static void a_file_that_shrinks_twice_is_torn(void **state)
{
    MemoryBackup memory = {0};
    run_change(state, 9, shrink, &memory);
    assert_int_equal(memory.issues[ISSUE_TORN], 1);
    assert_int_equal(memory.count, 2);
    assert_int_equal(memory.kept[1].entry.size, memory.kept[1].bytes.len);
    memory_backup_free(&memory);
}

static void vanish(MemoryBackup *memory, const Entry *entry, unsigned reads)
{
    char path[400];
    (void)memory;
    (void)entry;
    (void)reads;
    snprintf(path, sizeof path, "%s/z-later", changing->tree);
    unlink(path);
}

static void a_file_that_vanished_is_a_note(void **state)
{
    MemoryBackup memory = {0};
    file_tree_put(*state, "z-later", "x", 1);
    run_change(state, 1, vanish, &memory);
    assert_int_equal(memory.issues[ISSUE_NOTE], 1);
    assert_int_equal(memory.count, 2);
    memory_backup_free(&memory);
}

static void replace(MemoryBackup *memory, const Entry *entry, unsigned reads)
{
    (void)memory;
    if (reads == 1 && changes++ == 0)
        file_tree_shell("cd %s && echo new > n && mv n file", changing->tree);
    (void)entry;
}

static void a_file_that_was_replaced_is_whole_in_one_of_its_versions(void **state)
{
    MemoryBackup memory = {0};
    run_change(state, 1, replace, &memory);
    assert_int_equal(memory.count, 2);
    assert_true(memory.kept[1].bytes.len == 20000 || memory.kept[1].bytes.len == 4);
    assert_int_equal(memory.kept[1].entry.size, memory.kept[1].bytes.len);
    memory_backup_free(&memory);
}

static void what_may_not_be_read_is_told_and_the_rest_is_kept(void **state)
{
    const FileTree *place = *state;
    MemoryBackup memory = {0};
    Err err = {0};
    file_tree_shell("cd %s && echo a > a && echo b > secret && chmod 0 secret && mkdir closed && "
                    "chmod 0 closed && echo c > z && chmod 755 .. && chmod 755 .",
                    place->tree);
    json_t *config = file_tree_config(place);
    bool root = geteuid() == 0;
    if (root)
        assert_int_equal(seteuid(65534), 0);
    bool fine = memory_backup_take(&memory, files(), config, &err);
    if (root)
        assert_int_equal(seteuid(0), 0);
    assert_true(fine);
    assert_int_equal(memory.issues[ISSUE_DENIED], 2);
    assert_int_equal(memory.count, 4); /* tree, a, closed, z */
    assert_non_null(strstr(buf_cstr(&memory.told), "/secret: permission refused: the content"));
    assert_non_null(strstr(buf_cstr(&memory.told), "/closed: permission refused: nothing below"));
    assert_non_null(strstr(buf_cstr(&memory.told), "CAP_DAC_READ_SEARCH, or exclude it"));
    json_decref(config);
    memory_backup_free(&memory);
}

static void special_files_are_left_out_by_option_and_told(void **state)
{
    const FileTree *place = *state;
    MemoryBackup memory = {0};
    Err err = {0};
    file_tree_shell("cd %s && mkfifo fifo && ln fifo again && echo f > file && ln -s file link && "
                    "python3 -c 'import socket; socket.socket(socket.AF_UNIX).bind(\"sock\")'",
                    place->tree);
    bool root = geteuid() == 0;
    if (root)
        file_tree_shell("mknod %s/null c 1 3", place->tree);
    json_t *config = file_tree_config(place);
    json_object_set_new(config, "specials", json_false());
    assert_true(memory_backup_take(&memory, files(), config, &err));
    assert_int_equal(memory.count, 3); /* tree, file, link */
    assert_int_equal(memory.issues[ISSUE_NOTE], root ? 4 : 3);
    assert_non_null(strstr(buf_cstr(&memory.told), "/fifo: a fifo: `specials: false`"));
    assert_non_null(strstr(buf_cstr(&memory.told), "/sock: a socket: `specials: false`"));
    json_decref(config);
    memory_backup_free(&memory);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, file_tree_set_up, file_tree_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_file_steady_on_the_second_reading_is_a_note),
        TEST(a_file_that_shrinks_twice_is_torn),
        TEST(a_file_that_vanished_is_a_note),
        TEST(a_file_that_was_replaced_is_whole_in_one_of_its_versions),
        TEST(what_may_not_be_read_is_told_and_the_rest_is_kept),
        TEST(special_files_are_left_out_by_option_and_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
