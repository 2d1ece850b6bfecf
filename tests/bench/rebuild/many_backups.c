/* SPDX-License-Identifier: Apache-2.0
 * many_backups.c — bench_rebuild BACKUPS SOURCES [SOURCE RECEIPT]...: a sealed repository of the
 * library's writer, with so many small backups in all, each the child of the one before of its
 * source, and behind them one for each SOURCE whose receipt says RECEIPT, as somebody writes it who
 * stole a writer's keys. Prints its directory (keys/ and store/), which the caller removes, then a
 * line for each backup: its id, source, sequence and the hash of its manifest. */
#include "common/base/mem.h"
#include "tests/harness/repository.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

enum { FILES = 3, SIZE = 2000 };

static void fill(uint8_t *at, uint64_t seed)
{
    for (size_t i = 0; i < SIZE; i++) {
        seed = seed * 6364136223846793005u + 1442695040888963407u;
        at[i] = (uint8_t)(seed >> 56);
    }
}

/* Two files are those of the source's first backup, one is new. */
static void entries_of(uint64_t source, uint64_t sequence, uint8_t bytes[FILES][SIZE],
                       RepositoryEntry entries[FILES])
{
    static const char *const paths[FILES] = {"a/first", "a/second", "b/changes"};
    for (unsigned i = 0; i < FILES; i++) {
        fill(bytes[i], source * 1000003 + i + (i == FILES - 1 ? sequence * 7919 : 0));
        entries[i] = (RepositoryEntry){.entry = {.path = text_of(paths[i]),
                                                 .type = ENTRY_FILE,
                                                 .cut = CUT_DUMP,
                                                 .mode = 0644,
                                                 .mtime_ns = 1500000000000000000,
                                                 .size = SIZE},
                                       .content = {bytes[i], SIZE}};
    }
}

static void say(const RepoBackup *backup)
{
    char id[UUID_TEXT];
    uuid_text(&backup->id, id);
    printf("%s %s %" PRIu64 " ", id, backup->source, backup->sequence);
    for (size_t i = 0; i < sizeof backup->manifest.bytes; i++)
        printf("%02x", backup->manifest.bytes[i]);
    putchar('\n');
}

static void back_up(Repository *r, RepoBackup *last, uint64_t source, uint64_t number)
{
    static uint8_t bytes[FILES][SIZE];
    char name[24];
    RepositoryEntry entries[FILES];
    RepoBackup made = {0};
    WriterParams params;
    Err err = {0};
    ManifestOrigin origin = {.job = number + 1, .attempt = 1, .type = TEXT("files")};
    snprintf(name, sizeof name, "s%" PRIu64, source);
    entries_of(source, last->sequence + 1, bytes, entries);
    repository_params(r, uuid_is_nil(&last->id) ? NULL : last, &params);
    params.source = text_of(name);
    params.origin = &origin;
    params.threads = 1;
    if (!repository_try(&params, entries, FILES, &made, NULL, &err)) {
        fprintf(stderr, "bench_rebuild: %s\n", err.text);
        exit(1);
    }
    repository_commit(r, &made);
    say(&made);
    repo_backup_free(last);
    *last = made;
}

static bool try_forge(const WriterParams *params, const char *details, RepoBackup *made, Err *err)
{
    static uint8_t bytes[FILES][SIZE];
    RepositoryEntry entries[FILES];
    Receipt receipt = {.consistent_ns = 1700000000000000000, .details = text_of(details)};
    RepoWriter *w;
    bool known, good = true;
    entries_of(1, 1, bytes, entries);
    if (!writer_open(&w, params, err))
        return false;
    for (size_t i = 0; good && i < FILES; i++)
        good = repository_write(w, 0, &entries[i], &known, err);
    good = good && writer_finish(w, &receipt, made, err);
    writer_close(w);
    return good;
}

static void forge(Repository *r, const char *source, const char *details, uint64_t number)
{
    RepoBackup made = {0};
    WriterParams params;
    Err err = {0};
    ManifestOrigin origin = {.job = number, .attempt = 1, .type = TEXT("files")};
    repository_params(r, NULL, &params);
    params.source = text_of(source);
    params.origin = &origin;
    params.threads = 1;
    if (!try_forge(&params, details, &made, &err)) {
        fprintf(stderr, "bench_rebuild: %s\n", err.text);
        exit(1);
    }
    repository_commit(r, &made);
    say(&made);
    repo_backup_free(&made);
}

int main(int count, char **words)
{
    uint64_t backups = count > 2 && count % 2 == 1 ? strtoull(words[1], NULL, 10) : 0;
    uint64_t sources = count > 2 ? strtoull(words[2], NULL, 10) : 0;
    if (backups == 0 || sources == 0) {
        fprintf(stderr, "usage: bench_rebuild BACKUPS SOURCES [SOURCE RECEIPT]...\n");
        return 2;
    }
    Repository *r = repository_new(false);
    RepoBackup *last = mem_array(RepoBackup, sources);
    printf("%s\n", r->dir);
    for (uint64_t i = 0; i < backups; i++)
        back_up(r, &last[i % sources], i % sources, i);
    for (int i = 3; i < count; i += 2)
        forge(r, words[i], words[i + 1], backups + (uint64_t)i);
    for (uint64_t i = 0; i < sources; i++)
        repo_backup_free(&last[i]);
    mem_free(last);
    return 0;
}
