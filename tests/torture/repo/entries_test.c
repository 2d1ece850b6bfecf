/* SPDX-License-Identifier: Apache-2.0
 * A backup of many millions of entries: no list of them is one object, or in memory as a whole. */
#include "tests/harness/repository.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/resource.h>

#include <cmocka.h>

/* 28 bytes a row: all rows in one object would be above DISK_OBJECT_MOST. */
enum { MANY = 2600000 };

static const int64_t LONG_AGO = 1500000000000000000;

static uint64_t peak_mib(void)
{
    struct rusage use;
    getrusage(RUSAGE_SELF, &use);
    return (uint64_t)use.ru_maxrss / 1024;
}

/* Empty files: nothing to read, everything to list. */
static void back_up(Repository *r, unsigned count, const RepoBackup *previous, RepoBackup *backup,
                    WriterProgress *progress)
{
    WriterParams params;
    RepoWriter *w;
    Err err = {0};
    char path[48];
    Receipt receipt = {.consistent_ns = 5};
    repository_params(r, previous, &params);
    params.memory_bytes = 1;
    params.level = -5;
    assert_true(writer_open(&w, &params, &err));
    for (unsigned i = 0; i < count; i++) {
        bool known;
        snprintf(path, sizeof path, "mail/%05u/%08u", i / 1000, i);
        Entry entry = {.path = text_of(path),
                       .type = ENTRY_FILE,
                       .mtime_ns = LONG_AGO,
                       .ctime_ns = LONG_AGO,
                       .inode = i};
        if (!writer_entry_begin(w, 0, &entry, &known, &err) ||
            !writer_entry_end(w, 0, &entry, true, &err))
            fail_msg("%s", err.text);
    }
    if (!writer_finish(w, &receipt, backup, &err))
        fail_msg("%s", err.text);
    writer_progress(w, progress);
    writer_close(w);
    repository_commit(r, backup);
}

static void many_millions_of_entries_take_the_memory_of_few(void **state)
{
    (void)state;
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    skip(); /* slow there, and sanitizers keep what is freed */
#endif
    Repository *r = repository_new(false);
    RepoBackup few, first, second;
    WriterProgress progress;
    back_up(r, MANY / 40, NULL, &few, &progress);
    uint64_t before = peak_mib();
    back_up(r, MANY, NULL, &first, &progress);
    assert_int_equal(first.entries, MANY);
    back_up(r, MANY, &first, &second, &progress);
    assert_int_equal(progress.known, MANY);
    print_message("peak %llu MiB for %d entries, %llu for %d\n", (unsigned long long)peak_mib(),
                  MANY, (unsigned long long)before, MANY / 40);
    assert_true(peak_mib() <= before + 24);
    repo_backup_free(&few);
    repo_backup_free(&first);
    repo_backup_free(&second);
    repository_free(r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(many_millions_of_entries_take_the_memory_of_few),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
