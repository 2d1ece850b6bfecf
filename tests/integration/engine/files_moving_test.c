/* SPDX-License-Identifier: Apache-2.0
 * Trees that are written to without a pause while they are read: each file that changed is told for
 * what it is, and what is kept of it is a content that it had. */
#include "common/base/json.h"
#include "tests/harness/file_tree.h"
#include "tests/harness/memory_backup.h"

#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

enum { LINE = 10, MANY = 1500 };

static const Engine *files(void)
{
    return engine_find(TEXT("files"));
}

/* Somebody who writes as fast as he can, and after each read once more, so that none is spared. */
typedef struct Writer {
    pthread_t thread;
    pthread_mutex_t lock;
    atomic_bool stop;
    int fd;
    char path[120];
    unsigned turn;
    void (*write)(struct Writer *writer);
} Writer;

static Writer writer;

static void write_once(void)
{
    pthread_mutex_lock(&writer.lock);
    writer.write(&writer);
    writer.turn++;
    pthread_mutex_unlock(&writer.lock);
}

static void *write_on(void *ctx)
{
    (void)ctx;
    while (!atomic_load(&writer.stop)) {
        write_once();
        usleep(500);
    }
    return NULL;
}

static void during(MemoryBackup *memory, const Entry *entry, unsigned reads)
{
    (void)memory;
    (void)reads;
    if (entry->path.len > 4 && memcmp(entry->path.at + entry->path.len - 4, "/log", 4) == 0)
        write_once();
}

static void append(Writer *w)
{
    char line[LINE + 1];
    snprintf(line, sizeof line, "%09u\n", w->turn);
    assert_int_equal(write(w->fd, line, LINE), LINE);
}

/* Taken while it is written to; the entry of the file `log`, which stays memory's. */
static const MemoryEntry *take(const FileTree *place, MemoryBackup *memory, void (*write)(Writer *))
{
    Err err = {0};
    writer = (Writer){.write = append};
    pthread_mutex_init(&writer.lock, NULL);
    snprintf(writer.path, sizeof writer.path, "%s/log", place->tree);
    writer.fd = open(writer.path, O_CREAT | O_RDWR | O_APPEND | O_CLOEXEC, 0644);
    assert_true(writer.fd >= 0);
    for (unsigned i = 0; i < 3000; i++)
        write_once();
    writer.write = write;
    json_t *config = file_tree_config(place);
    memory->during = during;
    assert_int_equal(pthread_create(&writer.thread, NULL, write_on, NULL), 0);
    bool fine = memory_backup_take(memory, files(), config, &err);
    atomic_store(&writer.stop, true);
    pthread_join(writer.thread, NULL);
    close(writer.fd);
    pthread_mutex_destroy(&writer.lock);
    json_decref(config);
    assert_true(fine);
    for (size_t i = 0; i < memory->count; i++)
        if (memory->kept[i].entry.type == ENTRY_FILE)
            return &memory->kept[i];
    return NULL;
}

static void a_log_that_never_stands_still_is_a_note_and_a_state_that_it_had(void **state)
{
    const FileTree *place = *state;
    MemoryBackup memory = {0};
    const MemoryEntry *log = take(place, &memory, append);
    assert_non_null(log);
    assert_non_null(strstr(buf_cstr(&memory.told), "/log: it grew while it was read"));
    assert_int_equal(memory.issues[ISSUE_NOTE], 1);
    assert_int_equal(memory.issues[ISSUE_TORN], 0);
    assert_int_equal(log->entry.size, log->bytes.len);
    assert_true(log->bytes.len >= 3000 * LINE && log->bytes.len % LINE == 0);
    for (size_t at = 0; at < log->bytes.len; at += LINE)
        assert_int_equal(strtoul((const char *)log->bytes.at + at, NULL, 10), at / LINE);
    memory_backup_free(&memory);
}

/* The first line changes with every line that comes. */
static void append_and_count(Writer *w)
{
    char line[LINE + 1];
    append(w);
    snprintf(line, sizeof line, "%09u\n", w->turn);
    int fd = open(w->path, O_WRONLY | O_CLOEXEC);
    assert_int_equal(pwrite(fd, line, LINE, 0), LINE);
    close(fd);
}

static void a_file_that_grows_and_is_changed_too_is_torn(void **state)
{
    MemoryBackup memory = {0};
    assert_non_null(take(*state, &memory, append_and_count));
    assert_int_equal(memory.issues[ISSUE_TORN], 1);
    assert_non_null(strstr(buf_cstr(&memory.told), "/log: it changed while it was read, and"));
    memory_backup_free(&memory);
}

/* As a program does that begins its log anew when it was copied. */
static void begin_anew(Writer *w)
{
    char line[LINE + 1];
    snprintf(line, sizeof line, "%09u\n", w->turn);
    int fd = open(w->path, O_WRONLY | O_CLOEXEC);
    assert_int_equal(ftruncate(fd, LINE), 0);
    assert_int_equal(pwrite(fd, line, LINE, 0), LINE);
    close(fd);
}

static void a_file_that_is_emptied_again_and_again_is_torn(void **state)
{
    MemoryBackup memory = {0};
    const MemoryEntry *log = take(*state, &memory, begin_anew);
    assert_non_null(log);
    assert_int_equal(memory.issues[ISSUE_TORN], 1);
    assert_int_equal(log->entry.size, log->bytes.len);
    memory_backup_free(&memory);
}

/* Every version has one number on all its lines and takes the name when it is whole. */
static void replace(Writer *w)
{
    char made[140];
    snprintf(made, sizeof made, "%.*s/../made", (int)strlen(w->path) - 4, w->path);
    FILE *file = fopen(made, "w");
    assert_non_null(file);
    for (unsigned i = 0; i < 1000 + w->turn % 7 * 100; i++)
        fprintf(file, "%09u\n", w->turn);
    fclose(file);
    assert_int_equal(rename(made, w->path), 0);
}

static void a_file_that_is_replaced_again_and_again_is_one_of_its_versions(void **state)
{
    const FileTree *place = *state;
    MemoryBackup memory = {0};
    const MemoryEntry *log = take(place, &memory, replace);
    assert_non_null(log);
    assert_int_equal(log->entry.size, log->bytes.len);
    assert_true(log->bytes.len >= 1000 * LINE);
    for (size_t at = LINE; at < log->bytes.len; at += LINE)
        assert_memory_equal(log->bytes.at + at, log->bytes.at, LINE);
    memory_backup_free(&memory);
}

static const FileTree *moving;
static const char *move;

/* Once, in the middle of a directory of which the walk cannot have seen the end. */
static void rearrange(MemoryBackup *memory, const Entry *entry, unsigned reads)
{
    (void)memory;
    (void)reads;
    if (strstr(entry->path.at, "/d/0300") != NULL)
        file_tree_shell("cd %s && %s", moving->tree, move);
}

static void take_many(const FileTree *place, MemoryBackup *memory, const char *command)
{
    Err err = {0};
    moving = place;
    move = command;
    memory->during = rearrange;
    file_tree_shell("cd %s && mkdir d && cd d && for i in $(seq -w 1 %d); do echo $i > $i; done",
                    place->tree, MANY);
    json_t *config = file_tree_config(place);
    assert_true(memory_backup_take(memory, files(), config, &err));
    json_decref(config);
}

static void a_directory_that_is_moved_meanwhile_is_whole_under_its_old_name(void **state)
{
    MemoryBackup memory = {0};
    take_many(*state, &memory, "mv d ../elsewhere");
    assert_int_equal(memory.count, MANY + 2);
    assert_int_equal(memory.issues[ISSUE_NOTE], 1 + 1); /* and the tree, which lost a name */
    assert_non_null(strstr(buf_cstr(&memory.told), "/d: the directory was moved or removed"));
    memory_backup_free(&memory);
}

static void names_that_come_and_go_meanwhile_are_told_by_their_directory(void **state)
{
    MemoryBackup memory = {0};
    take_many(*state, &memory, "mv d/1400 d/0001-moved");
    assert_int_equal(memory.count, MANY + 1);
    assert_int_equal(memory.issues[ISSUE_NOTE], 2);
    assert_non_null(strstr(buf_cstr(&memory.told), "/d: names came, went or were changed in it"));
    assert_non_null(strstr(buf_cstr(&memory.told), "/d/1400: vanished"));
    memory_backup_free(&memory);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, file_tree_set_up, file_tree_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_log_that_never_stands_still_is_a_note_and_a_state_that_it_had),
        TEST(a_file_that_grows_and_is_changed_too_is_torn),
        TEST(a_file_that_is_emptied_again_and_again_is_torn),
        TEST(a_file_that_is_replaced_again_and_again_is_one_of_its_versions),
        TEST(a_directory_that_is_moved_meanwhile_is_whole_under_its_old_name),
        TEST(names_that_come_and_go_meanwhile_are_told_by_their_directory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
