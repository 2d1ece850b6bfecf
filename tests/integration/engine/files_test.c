/* SPDX-License-Identifier: Apache-2.0
 * The files engine against a real file system: what its source yields, its target makes again. */
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

static void round_trip(const FileTree *place, MemoryBackup *memory)
{
    Err err = {0};
    json_t *config = file_tree_config(place), *request = file_tree_request(place), *report = NULL;
    assert_true(memory_backup_take(memory, files(), config, &err));
    if (!memory_backup_restore(memory, files(), request, &report, &err))
        fail_msg("%s: %s", err.cause, err.text);
    assert_int_equal(json_integer_value(json_object_get(report, "errors")), 0);
    json_decref(report);
    json_decref(config);
    json_decref(request);
    file_tree_assert_equal(place);
}

static void strange_names_come_back(void **state)
{
    const FileTree *place = *state;
    MemoryBackup memory = {0};
    char longest[256];
    memset(longest, 'x', 255);
    longest[255] = '\0';
    const char *const names[] = {"new\nline", "quo\"te'", "$(id)",  "`id`", "\xff\xfe not utf-8",
                                 " ",         "-rf",      "a%41b",  "\x01", "*",
                                 "back\\",    "...",      ".hidden"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        file_tree_put(place, names[i], names[i], strlen(names[i]));
    file_tree_put(place, longest, "long", 4);
    round_trip(place, &memory);
    assert_int_equal(memory.count, 15);
    memory_backup_free(&memory);
}

static void a_directory_sorts_before_and_behind_its_neighbours(void **state)
{
    const FileTree *place = *state;
    MemoryBackup memory = {0};
    file_tree_shell("cd %s && mkdir a a.d a-b && touch a/x a-b/y a.d/z a0 a!", place->tree);
    round_trip(place, &memory); /* back_up asserts the bytewise order of whole paths */
    assert_int_equal(memory.count, 9);
    memory_backup_free(&memory);
}

static void links_holes_times_and_modes_come_back(void **state)
{
    const FileTree *place = *state;
    MemoryBackup memory = {0};
    struct stat status;
    char path[200];
    file_tree_shell(
        "cd %s && mkdir -p sub/deep empty && echo data > sub/file && ln sub/file sub/deep/second "
        "&& ln sub/file third && ln -s sub/file link && ln -s /nowhere dangling && "
        "ln -P link sub/same-link && truncate -s 3000000 hole && "
        "printf tail | dd of=hole conv=notrunc bs=1 seek=1500000 status=none && "
        "truncate -s 100000 all-hole && chmod 0400 sub/file && chmod 4755 hole && "
        "chmod 1777 empty && mkfifo fifo && touch -d '2001-02-03 04:05:06.789' sub link hole && "
        "touch -h -d '1999-01-01' dangling && touch -d '1960-05-05' all-hole && : > nothing",
        place->tree);
    round_trip(place, &memory);
    snprintf(path, sizeof path, "%s%s/hole", place->out, place->tree);
    assert_int_equal(stat(path, &status), 0);
    assert_true(status.st_blocks * 512 < 100000);
    snprintf(path, sizeof path, "%s%s/third", place->out, place->tree);
    assert_int_equal(stat(path, &status), 0);
    assert_int_equal(status.st_nlink, 3);
    memory_backup_free(&memory);
}

static void attributes_lists_and_owners_come_back(void **state)
{
    const FileTree *place = *state;
    MemoryBackup memory = {0};
    file_tree_shell("cd %s && mkdir d && echo x > f && setfattr -n user.note -v hello f && "
                    "setfattr -n user.raw -v 0x00ff00 d && setfacl -m u:1:rw,g:2:r f && "
                    "setfacl -m u:1:rwx -m d:u:3:rx d && ln -s f l",
                    place->tree);
    if (geteuid() == 0)
        file_tree_shell(
            "cd %s && chown 1:2 f && chown 3:4 d && chown -h 5:6 l && mknod null c 1 3 && "
            "mknod disk b 7 200 && setfattr -n trusted.note -v t f && "
            "python3 -c 'import socket; socket.socket(socket.AF_UNIX).bind(\"s\")'",
            place->tree);
    round_trip(place, &memory);
    memory_backup_free(&memory);
}

static void power_is_not_given_back_unless_asked_for(void **state)
{
    const FileTree *place = *state;
    MemoryBackup memory = {0};
    Err err = {0};
    struct stat status;
    char path[200];
    if (geteuid() != 0)
        skip();
    file_tree_shell("cd %s && cp /bin/true suid && chmod 6755 suid && mknod null c 1 3 && "
                    "setfattr -n trusted.note -v t suid",
                    place->tree);
    json_t *config = file_tree_config(place), *report = NULL;
    json_t *request = json_pack("{s:{s:s}}", "target", "path", place->out);
    assert_true(memory_backup_take(&memory, files(), config, &err));
    assert_true(memory_backup_restore(&memory, files(), request, &report, &err));
    snprintf(path, sizeof path, "%s%s/suid", place->out, place->tree);
    assert_int_equal(stat(path, &status), 0);
    assert_int_equal(status.st_mode & 07777, 0755);
    assert_true(getxattr(path, "trusted.note", NULL, 0) < 0);
    snprintf(path, sizeof path, "%s%s/null", place->out, place->tree);
    assert_int_not_equal(lstat(path, &status), 0);
    const json_t *skipped = json_object_get(report, "skipped");
    assert_int_equal(json_integer_value(json_object_get(skipped, "devices")), 1);
    assert_int_equal(json_integer_value(json_object_get(skipped, "setuid")), 1);
    assert_int_equal(json_integer_value(json_object_get(skipped, "attributes")), 1);
    json_decref(report);
    json_decref(config);
    json_decref(request);
    memory_backup_free(&memory);
}

static void a_path_longer_than_the_kernel_takes_comes_back(void **state)
{
    const FileTree *place = *state;
    MemoryBackup memory = {0};
    Err err = {0};
    char name[201];
    memset(name, 'p', 200);
    name[200] = '\0';
    int fd = open(place->tree, O_PATH | O_DIRECTORY | O_CLOEXEC);
    for (int i = 0; i < 100; i++) {
        assert_int_equal(mkdirat(fd, name, 0755), 0);
        int next = openat(fd, name, O_PATH | O_DIRECTORY | O_CLOEXEC);
        close(fd);
        fd = next;
    }
    close(openat(fd, "bottom", O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
    close(fd);
    json_t *config = file_tree_config(place), *request = file_tree_request(place), *report = NULL;
    assert_true(memory_backup_take(&memory, files(), config, &err));
    assert_int_equal(memory.count, 102);
    assert_true(memory_backup_restore(&memory, files(), request, &report, &err));
    assert_int_equal(json_integer_value(json_object_get(report, "errors")), 0);
    assert_int_equal(json_integer_value(json_object_get(report, "files")), 1);
    json_decref(report);
    json_decref(config);
    json_decref(request);
    memory_backup_free(&memory);
}

static void excluded_names_and_other_file_systems_stay_out(void **state)
{
    const FileTree *place = *state;
    MemoryBackup memory = {0};
    Err err = {0};
    file_tree_shell(
        "cd %s && mkdir -p node_modules/x keep/node_modules cache mnt && touch a.tmp keep/b.tmp "
        "keep/c node_modules/x/y .env cache/z mnt/under",
        place->tree);
    bool mounted = geteuid() == 0 && system("true") == 0;
    if (mounted) {
        char command[300];
        snprintf(command, sizeof command, "mount -t tmpfs none %s/mnt && touch %s/mnt/over",
                 place->tree, place->tree);
        mounted = system(command) == 0;
    }
    json_t *config = json_pack("{s:[s],s:[s,s,s,s],s:b}", "paths", place->tree, "exclude", "*.tmp",
                               "node_modules/", "/cache", ".env", "one_file_system", 1);
    bool fine = memory_backup_take(&memory, files(), config, &err);
    if (mounted)
        file_tree_shell("umount %s/mnt", place->tree);
    assert_true(fine);
    /* tree, keep, keep/c, mnt; and mnt/under where nothing could be mounted */
    assert_int_equal(memory.count, mounted ? 4 : 5);
    assert_non_null(strstr(memory.receipt, "\"excluded\":6"));
    json_decref(config);
    memory_backup_free(&memory);
}

/* The directory and its mark are kept: restored, a cache is still known as one. */
static void marked_directories_are_kept_with_nothing_but_the_mark(void **state)
{
    const FileTree *place = *state;
    MemoryBackup memory = {0};
    Err err = {0};
    file_tree_shell(
        "cd %s && mkdir -p cache/deep not none/.nobackup plain named && touch cache/big "
        "cache/deep/x not/kept none/lost plain/kept named/kept && printf 'Signature: "
        "8a477f597d28d172789f06886806bc55 of a test' | tee cache/CACHEDIR.TAG named/CACHEDIR.TAG > "
        "/dev/null && echo 'Signature: other' > not/CACHEDIR.TAG",
        place->tree);
    scoped(buf_free) Buf named = {0};
    buf_printf(&named, "%s/named", place->tree);
    json_t *config = json_pack("{s:[s,s],s:b,s:[s]}", "paths", place->tree, buf_cstr(&named),
                               "exclude_caches", 1, "exclude_if_present", ".nobackup");
    assert_true(memory_backup_take(&memory, files(), config, &err));
    /* tree, cache, its tag, not, its tag, not/kept, none, its mark, plain, plain/kept, and of what
     * is named itself all: named, its tag, named/kept */
    assert_int_equal(memory.count, 13);
    assert_non_null(strstr(memory.receipt, "\"excluded\":2"));
    memory_backup_free(&memory);
    json_object_set_new(config, "exclude_if_present", json_pack("[s]", "a/b"));
    MemoryBackup none = {0};
    assert_false(memory_backup_take(&none, files(), config, &err));
    assert_string_equal(err.cause, "files.mark");
    json_decref(config);
    memory_backup_free(&none);
}

static void several_roots_keep_their_absolute_paths(void **state)
{
    const FileTree *place = *state;
    MemoryBackup memory = {0};
    Err err = {0};
    char a[100], b[100], c[100];
    file_tree_shell("cd %s && mkdir -p r r-2 && echo 1 > r/x && echo 2 > r-2/y && echo 3 > single",
                    place->tree);
    snprintf(a, sizeof a, "%s/r/", place->tree);
    snprintf(b, sizeof b, "%s/r-2", place->tree);
    snprintf(c, sizeof c, "%s/single", place->tree);
    json_t *config = json_pack("{s:[s,s,s,s]}", "paths", c, a, b, a);
    assert_true(memory_backup_take(&memory, files(), config, &err));
    assert_int_equal(memory.count, 5);
    assert_memory_equal(memory.kept[0].entry.path.at, a + 1, strlen(a) - 2);
    json_decref(config);
    memory_backup_free(&memory);
}

static void a_root_that_is_not_there_ends_the_backup(void **state)
{
    const FileTree *place = *state;
    static const char *const causes[] = {"files.root_missing", "files.root_is_symlink",
                                         "files.root_not_absolute", "files.root_not_absolute"};
    const char *const roots[] = {"/nowhere/at/all", NULL, "relative", "/tmp/../etc"};
    char link[100];
    snprintf(link, sizeof link, "%s/link", place->top);
    assert_int_equal(symlink(place->tree, link), 0);
    for (size_t i = 0; i < 4; i++) {
        MemoryBackup memory = {0};
        Err err = {0};
        json_t *config = json_pack("{s:[s]}", "paths", roots[i] == NULL ? link : roots[i]);
        assert_false(memory_backup_take(&memory, files(), config, &err));
        assert_string_equal(err.cause, causes[i]);
        json_decref(config);
        memory_backup_free(&memory);
    }
}

static void an_inherited_access_list_does_not_stay(void **state)
{
    const FileTree *place = *state;
    MemoryBackup memory = {0};
    file_tree_shell(
        "mkdir %s && setfacl -m d:u:1:rwx %s && cd %s && mkdir d && touch d/f && chmod 600 d/f",
        place->out, place->out, place->tree);
    round_trip(place, &memory);
    memory_backup_free(&memory);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, file_tree_set_up, file_tree_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(strange_names_come_back),
        TEST(a_directory_sorts_before_and_behind_its_neighbours),
        TEST(links_holes_times_and_modes_come_back),
        TEST(attributes_lists_and_owners_come_back),
        TEST(power_is_not_given_back_unless_asked_for),
        TEST(a_path_longer_than_the_kernel_takes_comes_back),
        TEST(excluded_names_and_other_file_systems_stay_out),
        TEST(marked_directories_are_kept_with_nothing_but_the_mark),
        TEST(several_roots_keep_their_absolute_paths),
        TEST(an_inherited_access_list_does_not_stay),
        TEST(a_root_that_is_not_there_ends_the_backup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
