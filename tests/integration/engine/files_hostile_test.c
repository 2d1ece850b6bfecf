/* SPDX-License-Identifier: Apache-2.0
 * Backups that lie and targets that are not what they seem: nothing is made outside the target. */
#include "common/base/json.h"
#include "common/base/mem.h"
#include "tests/harness/file_tree.h"
#include "tests/harness/memory_backup.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
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

static bool begin(MemoryBackup *memory, const json_t *request, EngineHost *host, Target **target,
                  Err *err)
{
    *host = memory_backup_host(memory);
    EngineParams params = {.request = request, .host = host, .lanes = 1};
    return files()->open_target(target, &params, err);
}

static void feed(const FileTree *place, const Entry *entries, size_t count, bool in_place,
                 MemoryBackup *memory)
{
    Err err = {0};
    EngineHost host;
    Target *target;
    json_t *request =
        json_pack("{s:{s:s},s:b}", "target", "path", place->out, "in_place", in_place);
    json_t *report = NULL;
    if (!begin(memory, request, &host, &target, &err))
        fail_msg("%s", err.text);
    for (size_t i = 0; i < count; i++) {
        bool want;
        assert_true(target->ops->begin(target, 0, &entries[i], &want, &err));
        if (want)
            assert_true(target->ops->write(target, 0, (Slice){(const uint8_t *)"evil", 4}, &err));
        assert_true(target->ops->end(target, 0, &entries[i], &err));
    }
    assert_true(target->ops->finish(target, &report, &err));
    assert_int_equal(json_integer_value(json_object_get(report, "errors")),
                     memory->issues[ISSUE_DENIED] + memory->issues[ISSUE_IO]);
    json_decref(report);
    json_decref(request);
    target->ops->close(target);
}

static void a_name_that_would_leave_the_target_is_refused(void **state)
{
    const FileTree *place = *state;
    MemoryBackup memory = {0};
    struct stat status;
    char path[200];
    const Entry entries[] = {{.path = TEXT("../escaped"), .type = ENTRY_FILE},
                             {.path = TEXT("/tmp/escaped"), .type = ENTRY_FILE},
                             {.path = TEXT("a/../../escaped"), .type = ENTRY_FILE},
                             {.path = TEXT("a\0b"), .type = ENTRY_FILE},
                             {.path = TEXT(""), .type = ENTRY_DIRECTORY},
                             {.path = TEXT("fine"), .type = ENTRY_FILE, .mode = 0600}};
    feed(place, entries, sizeof entries / sizeof entries[0], false, &memory);
    assert_int_equal(memory.issues[ISSUE_DENIED], 5);
    snprintf(path, sizeof path, "%s/escaped", place->top);
    assert_int_not_equal(stat(path, &status), 0);
    snprintf(path, sizeof path, "%s/fine", place->out);
    assert_int_equal(stat(path, &status), 0);
}

static void a_link_is_never_followed(void **state)
{
    const FileTree *place = *state;
    MemoryBackup memory = {0};
    struct stat status;
    char path[200];
    const Entry entries[] = {
        {.path = TEXT("out"), .type = ENTRY_SYMLINK, .link = TEXT("../tree")},
        {.path = TEXT("out/evil"), .type = ENTRY_FILE, .mode = 0600},
        {.path = TEXT("out"), .type = ENTRY_FILE, .mode = 0600},
        {.path = TEXT("hard"), .type = ENTRY_HARDLINK, .link = TEXT("../tree/passwd")},
        {.path = TEXT("hard"), .type = ENTRY_HARDLINK, .link = TEXT("there")}};
    file_tree_shell("mkdir %s && echo mine > %s/there", place->out, place->out);
    feed(place, entries, sizeof entries / sizeof entries[0], true, &memory);
    assert_int_equal(memory.issues[ISSUE_DENIED], 3);
    snprintf(path, sizeof path, "%s/evil", place->tree);
    assert_int_not_equal(stat(path, &status), 0);
    snprintf(path, sizeof path, "%s/out", place->out);
    assert_int_equal(lstat(path, &status), 0);
    assert_true(S_ISREG(status.st_mode)); /* in place: the link itself was replaced */
    snprintf(path, sizeof path, "%s/hard", place->out);
    assert_int_not_equal(lstat(path, &status), 0);
}

static void a_target_that_is_not_empty_is_refused(void **state)
{
    const FileTree *place = *state;
    MemoryBackup memory = {0};
    Err err = {0};
    json_t *request = file_tree_request(place), *report = NULL;
    file_tree_shell("mkdir %s && echo mine > %s/there", place->out, place->out);
    assert_false(memory_backup_restore(&memory, files(), request, &report, &err));
    assert_string_equal(err.cause, "files.target_not_empty");
    json_decref(request);
    request = json_pack("{s:{s:s}}", "target", "path", "/tmp/x/../y");
    assert_false(memory_backup_restore(&memory, files(), request, &report, &err));
    assert_string_equal(err.cause, "files.target_path");
    json_decref(request);
}

static void a_second_attempt_empties_what_the_first_left(void **state)
{
    const FileTree *place = *state;
    MemoryBackup memory = {0};
    Err err = {0};
    EngineHost host;
    Target *target;
    json_t *config = file_tree_config(place), *request = file_tree_request(place);
    file_tree_shell("cd %s && mkdir -p a/b/c && echo x > a/b/c/x && echo y > y", place->tree);
    assert_true(memory_backup_take(&memory, files(), config, &err));
    assert_true(begin(&memory, request, &host, &target, &err));
    for (size_t i = 0; i < 3; i++)
        memory_backup_feed(target, &memory.kept[i], 0);
    target->ops->close(target); /* never finished */
    file_tree_shell(
        "mkdir -p %s/left/over/deep && touch %s/left/over/deep/file && chmod 0 %s/left/over",
        place->out, place->out, place->out);
    json_t *other = json_pack("{s:{s:s},s:s}", "target", "path", place->out, "mark", "jb_2");
    json_t *report = NULL;
    assert_false(memory_backup_restore(&memory, files(), other, &report,
                                       &err)); /* another job's restore is not touched */
    assert_true(memory_backup_restore(&memory, files(), request, &report, &err));
    file_tree_assert_equal(place);
    file_tree_shell("test \"$(find %s -name 'left*' -o -name '.holdfast*')\" = ''", place->out);
    json_decref(report);
    json_decref(other);
    json_decref(config);
    json_decref(request);
    memory_backup_free(&memory);
}

/* --- somebody who swaps a directory for a link while it is restored into ------------------------
 */

static atomic_bool swapping;

static void *swap(void *ctx)
{
    const FileTree *place = ctx;
    char real[120], link[120];
    snprintf(real, sizeof real, "%s/d", place->out);
    snprintf(link, sizeof link, "%s/link", place->top);
    if (symlink(place->tree, link) != 0)
        return NULL;
    while (swapping)
        renameat2(AT_FDCWD, real, AT_FDCWD, link, RENAME_EXCHANGE);
    return NULL;
}

static void a_swapped_directory_never_leads_outside(void **state)
{
    FileTree *place = *state;
    MemoryBackup memory = {0};
    pthread_t thread;
    Entry entries[400];
    char names[400][24];
    file_tree_shell("mkdir -p %s/d", place->out);
    for (size_t i = 0; i < 400; i++) {
        /* Another directory in between makes the lane resolve the way again. */
        snprintf(names[i], sizeof names[i], i % 2 == 0 ? "d/evil%zu" : "e/fine%zu", i);
        entries[i] = (Entry){.path = text_of(names[i]), .type = ENTRY_FILE, .mode = 0600};
    }
    swapping = true;
    assert_int_equal(pthread_create(&thread, NULL, swap, place), 0);
    for (int round = 0; round < 10; round++) {
        memory = (MemoryBackup){0};
        feed(place, entries, 400, true, &memory);
    }
    swapping = false;
    pthread_join(thread, NULL);
    file_tree_shell("test \"$(ls -A %s)\" = ''", place->tree);
    file_tree_shell("find %s -type l -delete", place->top);
}

/* --- the same against a backup: the source is rearranged while it is read ------------------------
 */

static void *swap_source(void *ctx)
{
    const FileTree *place = ctx;
    char real[120], link[120];
    snprintf(real, sizeof real, "%s/d", place->tree);
    snprintf(link, sizeof link, "%s/link", place->top);
    while (swapping)
        renameat2(AT_FDCWD, real, AT_FDCWD, link, RENAME_EXCHANGE);
    return NULL;
}

static void a_swapped_source_never_leads_outside(void **state)
{
    FileTree *place = *state;
    pthread_t thread;
    file_tree_shell("mkdir -p %s/d/e %s/outside/e && echo inside > %s/d/e/f && "
                    "echo outside > %s/outside/e/f && ln -s %s/outside %s/link",
                    place->tree, place->top, place->tree, place->top, place->top, place->top);
    swapping = true;
    assert_int_equal(pthread_create(&thread, NULL, swap_source, place), 0);
    for (int round = 0; round < 200; round++) {
        MemoryBackup memory = {0};
        Err err = {0};
        json_t *config = file_tree_config(place);
        assert_true(memory_backup_take(&memory, files(), config, &err));
        for (size_t i = 0; i < memory.count; i++)
            assert_false(memory.kept[i].bytes.len == 8); /* "outside\n" */
        json_decref(config);
        memory_backup_free(&memory);
    }
    swapping = false;
    pthread_join(thread, NULL);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, file_tree_set_up, file_tree_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_name_that_would_leave_the_target_is_refused),
        TEST(a_link_is_never_followed),
        TEST(a_target_that_is_not_empty_is_refused),
        TEST(a_second_attempt_empties_what_the_first_left),
        TEST(a_swapped_directory_never_leads_outside),
        TEST(a_swapped_source_never_leads_outside),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
