/* SPDX-License-Identifier: Apache-2.0
 * Trees that are restored by another user or onto another file system: the content is whole, what
 * cannot be kept is told once, and nothing is open to more people than it was. */
#include "common/base/json.h"
#include "tests/harness/file_tree.h"
#include "tests/harness/memory_backup.h"

#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

enum { NOBODY = 65534 };

static const Engine *files(void)
{
    return engine_find(TEXT("files"));
}

static void take(const FileTree *place, MemoryBackup *memory)
{
    Err err = {0};
    json_t *config = file_tree_config(place);
    assert_true(memory_backup_take(memory, files(), config, &err));
    assert_int_equal(memory->told.len, 0);
    json_decref(config);
}

static json_t *restore(const FileTree *place, MemoryBackup *memory)
{
    Err err = {0};
    json_t *request = file_tree_request(place), *report = NULL;
    bool fine = memory_backup_restore(memory, files(), request, &report, &err);
    json_decref(request);
    if (!fine)
        fail_msg("%s: %s", err.cause, err.text);
    return report;
}

/* As somebody who may nothing, with a /proc/self of his own. */
static json_t *restore_as_nobody(const FileTree *place, MemoryBackup *memory)
{
    file_tree_shell("chmod 755 %s && mkdir %s && chown %d:%d %s", place->top, place->out, NOBODY,
                    NOBODY, place->out);
    assert_int_equal(setegid(NOBODY) + seteuid(NOBODY), 0);
    assert_int_equal(prctl(PR_SET_DUMPABLE, 1), 0);
    json_t *report = restore(place, memory);
    assert_int_equal(seteuid(0) + setegid(0), 0);
    return report;
}

static void assert_content(const FileTree *place)
{
    file_tree_shell("diff -r --no-dereference %s %s%s", place->tree, place->out, place->tree);
}

static unsigned mode_of(const FileTree *place, const char *name)
{
    char path[300];
    struct stat status;
    snprintf(path, sizeof path, "%s%s/%s", place->out, place->tree, name);
    assert_int_equal(lstat(path, &status), 0);
    return status.st_mode & 07777;
}

static int64_t number(const json_t *report, const char *key)
{
    return json_integer_value(json_object_get(report, key));
}

/* The text was told, of this many. */
static void assert_told(MemoryBackup *memory, const char *text, unsigned of)
{
    char count[40];
    const char *found = strstr(buf_cstr(&memory->told), text);
    if (found == NULL)
        fail_msg("not told: %s; but: %s", text, buf_cstr(&memory->told));
    assert_null(strstr(found + 1, text));
    snprintf(count, sizeof count, "it is of %u in all", of);
    const char *end = strchr(found, '\n');
    if (of > 1 && (strstr(found, count) == NULL || strstr(found, count) > end))
        fail_msg("not of %u: %.*s", of, (int)(end - found), found);
}

/* False, and said so: this must be mounted, and nobody may here. */
static bool mounted(const FileTree *place, const char *make, const char *options)
{
    char command[500];
    static bool alone;
    if (geteuid() != 0)
        return print_message("only root can mount\n"), false;
    if (!alone) {
        assert_int_equal(unshare(CLONE_NEWNS), 0);
        assert_int_equal(mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL), 0);
        alone = true;
    }
    snprintf(command, sizeof command,
             "mkdir -p %s && truncate -s 16M %s/disk && %s && mount %s %s && rm -rf "
             "%s/lost+found",
             place->out, place->top, make, options, place->out, place->out);
    if (system(command) == 0)
        return true;
    return print_message("cannot be made or mounted here: mount %s\n", options), false;
}

static void as_another_user_content_is_whole_and_no_power_is_gained(void **state)
{
    const FileTree *place = *state;
    MemoryBackup memory = {0};
    if (geteuid() != 0)
        skip();
    file_tree_shell("cd %s && mkdir d && for i in 1 2 3; do echo $i > d/$i; chown $i:$i d/$i; done "
                    "&& ln -s 1 d/link && cp /bin/true d/suid && chmod 6755 d/suid && mkdir sgid "
                    "&& chmod 2755 sgid && mknod null c 1 3 && mknod zero c 1 5 && mkfifo fifo && "
                    "setfattr -n user.n -v v d/1 && setfattr -n trusted.n -v v d/2 && chmod 640 "
                    "d/3",
                    place->tree);
    take(place, &memory);
    json_t *report = restore_as_nobody(place, &memory);
    file_tree_shell("rm %s/null %s/zero %s/fifo %s%s/fifo", place->tree, place->tree, place->tree,
                    place->out, place->tree);
    assert_content(place);
    assert_int_equal(mode_of(place, "d/suid"), 0755);
    assert_int_equal(mode_of(place, "sgid"), 0755);
    assert_int_equal(mode_of(place, "d/3"), 0640);
    assert_told(&memory, "restored as the worker's own", 9);
    assert_told(&memory, "restored without its set-user-id", 2);
    assert_told(&memory, "not restored: a device is made by root only", 2);
    assert_told(&memory, "an extended attribute could not be set", 1);
    assert_int_equal(memory.issues[ISSUE_NOTE], 2);
    assert_int_equal(memory.issues[ISSUE_DENIED], 2);
    assert_int_equal(number(report, "errors"), 3);
    assert_int_equal(number(json_object_get(report, "skipped"), "owners"), 9);
    json_decref(report);
    memory_backup_free(&memory);
}

static void a_file_system_without_attributes_and_lists_opens_nothing(void **state)
{
    const FileTree *place = *state;
    MemoryBackup memory = {0};
    if (!mounted(place, "true", "-t ramfs none"))
        skip();
    file_tree_shell("cd %s && for i in $(seq 30); do head -c $((i * 5000)) /dev/urandom > $i; "
                    "setfattr -n user.n -v $i $i; done && mkdir d && setfacl -m d:u:1:rwx d && "
                    "echo x > held && setfacl -m g::r,u:1:rwx,m::rwx held && chown 1:2 held && "
                    "truncate -s 3M hole && ln 1 d/one && chmod 4755 2",
                    place->tree);
    take(place, &memory);
    json_t *report = restore(place, &memory);
    /* Looked at before it is read: reading fills the holes of a file system in memory. */
    file_tree_shell("test \"$(stat -c %%u:%%g %s%s/held)\" = 1:2 && test $(stat -c %%b "
                    "%s%s/hole) -lt 128",
                    place->out, place->tree, place->out, place->tree);
    assert_content(place);
    assert_told(&memory, "restored without its extended attributes", 30);
    assert_told(&memory, "restored without its access list", 2);
    assert_int_equal(memory.issues[ISSUE_NOTE], 2);
    assert_int_equal(number(report, "errors"), 0);
    /* The mask of the list was rwx, which is what stat shows as the group's; it had only r. */
    assert_int_equal(mode_of(place, "held"), 0644);
    assert_int_equal(mode_of(place, "2"), 04755);
    json_decref(report);
    memory_backup_free(&memory);
}

static void a_coarser_clock_is_a_note_and_a_time_that_is_lost_a_fault(void **state)
{
    const FileTree *place = *state;
    MemoryBackup memory = {0};
    char make[200], options[200];
    snprintf(make, sizeof make, "mkfs.ext4 -q -I 128 %s/disk 2>/dev/null", place->top);
    snprintf(options, sizeof options, "-o loop %s/disk", place->top);
    if (!mounted(place, make, options))
        skip();
    file_tree_shell("cd %s && mkdir d && echo 1 > d/1 && echo 2 > d/2 && ln -s 1 d/l && touch -h "
                    "-d @1000000000.5 d/1 d/2 d/l && echo 3 > d/3 && touch -d @1000000000 d/3 && "
                    "echo 4 > d/4 && touch -d 2107-01-01 d/4 && touch -d @1000000000.5 d . ..",
                    place->tree);
    take(place, &memory);
    json_t *report = restore(place, &memory);
    assert_content(place);
    assert_told(&memory, "restored with a coarser time", 5); /* d, 1, 2, l, and the tree */
    assert_told(&memory, "its time could not be set", 1);
    assert_non_null(strstr(buf_cstr(&memory.told), "d/4: restored, but its time"));
    assert_int_equal(number(report, "errors"), 1);
    json_decref(report);
    memory_backup_free(&memory);
}

static void a_file_that_is_too_large_there_ends_only_itself(void **state)
{
    const FileTree *place = *state;
    MemoryBackup memory = {0};
    char make[200], options[200];
    snprintf(make, sizeof make, "mkfs.ext2 -q -b 1024 %s/disk 2>/dev/null", place->top);
    snprintf(options, sizeof options, "-o loop %s/disk", place->top);
    if (!mounted(place, make, options))
        skip();
    file_tree_shell("cd %s && echo a > a && truncate -s 40G large && printf x | dd of=large "
                    "conv=notrunc bs=1 seek=30G status=none && echo z > z",
                    place->tree);
    take(place, &memory);
    json_t *report = restore(place, &memory);
    assert_told(&memory, "tree/large: not restored: it is larger than a file can be", 1);
    assert_int_equal(number(report, "errors"), 1);
    assert_int_equal(number(report, "files"), 2);
    file_tree_shell("rm %s/large", place->tree);
    assert_content(place);
    json_decref(report);
    memory_backup_free(&memory);
}

static int tear_down(void **state)
{
    const FileTree *place = *state;
    (void)umount2(place->out, MNT_DETACH); /* most tests mount nothing */
    return file_tree_tear_down(state);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, file_tree_set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(as_another_user_content_is_whole_and_no_power_is_gained),
        TEST(a_file_system_without_attributes_and_lists_opens_nothing),
        TEST(a_coarser_clock_is_a_note_and_a_time_that_is_lost_a_fault),
        TEST(a_file_that_is_too_large_there_ends_only_itself),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
