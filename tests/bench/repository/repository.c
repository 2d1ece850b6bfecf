/* SPDX-License-Identifier: Apache-2.0
 * repository.c — times the repository alone on a real tree: no queue, no catalogue.
 *     bench_repository SOURCE [threads [level [memory_mib]]]
 * Backs SOURCE up three times (initial; unchanged with yesterday's list; unchanged without it),
 * verifies it and reads it back, and prints seconds, CPU seconds, megabytes and the peak of
 * memory. Peers are run beside it by whoever compares: `tar -c SOURCE | zstd -3 -T2`. */
#include "tests/harness/repository.h"
#include "common/base/clock.h"
#include "common/base/mem.h"
#include "common/repo/verify.h"
#include "worker/engine/engine.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>

static void must(bool good, const Err *err)
{
    if (good)
        return;
    fprintf(stderr, "%s: %s\n", err->cause, err->text);
    exit(1);
}

static void issue(void *ctx, const Issue *found)
{
    (void)ctx;
    (void)found;
}

static void note(void *ctx, const char *event, const char *text)
{
    (void)ctx;
    fprintf(stderr, "%s %s\n", event, text);
}

static bool cancelled(void *ctx)
{
    (void)ctx;
    return false;
}

static void stream(Source *source, RepoWriter *w)
{
    Err err = {0};
    Entry entry;
    bool more, known, keep;
    for (;;) {
        must(source->ops->next(source, 0, &entry, &more, &err), &err);
        if (!more)
            return;
        must(writer_entry_begin(w, 0, &entry, &known, &err), &err);
        if (!writer_entry_bare(w, 0))
            must(source->ops->attributes(source, 0, &entry, &err), &err);
        size_t got = 1;
        uint64_t zeros = 1;
        bool content = entry.type == ENTRY_FILE && !known;
        while (content && (got > 0 || zeros > 0)) {
            uint8_t *at;
            size_t room;
            zeros = 0;
            must(writer_reserve(w, 0, &at, &room, &err), &err);
            must(source->ops->read(source, 0, at, room, &got, &zeros, &err), &err);
            must(got == 0 || writer_advance(w, 0, got, &err), &err);
            must(zeros == 0 || writer_zeros(w, 0, zeros, &err), &err);
        }
        must(source->ops->end(source, 0, &entry, &keep, &err), &err);
        must(writer_entry_end(w, 0, &entry, keep, &err), &err);
    }
}

typedef struct Watch {
    int64_t wall;
    double cpu;
} Watch;

static double cpu_now(void)
{
    struct rusage use;
    getrusage(RUSAGE_SELF, &use);
    return (double)(use.ru_utime.tv_sec + use.ru_stime.tv_sec) +
           (double)(use.ru_utime.tv_usec + use.ru_stime.tv_usec) / 1e6;
}

static Watch watch(void)
{
    return (Watch){clock_mono_ns(), cpu_now()};
}

static void print(const char *what, Watch from, uint64_t bytes, uint64_t stored)
{
    struct rusage use;
    getrusage(RUSAGE_SELF, &use);
    double wall = (double)(clock_mono_ns() - from.wall) / 1e9;
    printf("%-24s %7.2f s  cpu %7.2f s  %8.1f MB  %7.1f MB/s  stored %8.1f MB  rss %ld MiB\n", what,
           wall, cpu_now() - from.cpu, (double)bytes / 1e6, (double)bytes / 1e6 / wall,
           (double)stored / 1e6, use.ru_maxrss / 1024);
    fflush(stdout);
}

static void backup(Repository *r, const char *what, const char *path, const WriterParams *shape,
                   const RepoBackup *previous, RepoBackup *out)
{
    Err err = {0};
    EngineHost host = {.issue = issue, .note = note, .cancelled = cancelled, .scratch = r->dir};
    json_t *config = json_pack("{s:[s]}", "paths", path);
    EngineParams engine = {.config = config, .host = &host, .lanes = 1};
    Source *source;
    RepoWriter *w;
    WriterParams params;
    Receipt receipt;
    Watch start = watch();
    repository_params(r, previous, &params);
    params.threads = shape->threads;
    params.level = shape->level;
    params.memory_bytes = shape->memory_bytes;
    must(engine_find(TEXT("files"))->open_source(&source, &engine, &err), &err);
    must(writer_open(&w, &params, &err), &err);
    stream(source, w);
    must(source->ops->finish(source, &receipt, &err), &err);
    must(writer_finish(w, &receipt, out, &err), &err);
    writer_close(w);
    source->ops->close(source);
    json_decref(config);
    repository_commit(r, out);
    print(what, start, out->bytes, out->stored_bytes);
}

static void report(void *ctx, const VerifyDamage *damage)
{
    (void)ctx;
    fprintf(stderr, "damaged: %s\n", damage->why.text);
}

static bool take_data(void *ctx, Slice bytes, Err *err)
{
    (void)err;
    *(uint64_t *)ctx += bytes.len;
    return true;
}

static bool take_zeros(void *ctx, uint64_t count, Err *err)
{
    (void)err;
    *(uint64_t *)ctx += count;
    return true;
}

static bool read_entry(void *ctx, const Entry *entry, const ReaderContent *content, bool *stop,
                       Err *err)
{
    static uint64_t bytes;
    ReaderSink sink = {&bytes, take_data, take_zeros};
    (void)entry;
    (void)stop;
    return reader_content(ctx, content, &sink, err);
}

static void read_back(Repository *r, const RepoBackup *backup)
{
    Err err = {0};
    RepoLocator *locator;
    RepoReader *reader;
    VerifyCounts counts;
    Watch start = watch();
    must(locator_open_index(&locator, r->repo, NULL, &err), &err);
    ReaderParams params = {.repo = r->repo, .locator = locator, .backup = backup->id};
    must(reader_open(&reader, &params, &err), &err);
    VerifyWatch told = {.damaged = report};
    must(verify_content(reader, &told, &counts, &err), &err);
    print("verify content", start, counts.bytes, 0);
    reader_close(reader);
    start = watch();
    must(reader_open(&reader, &params, &err), &err);
    must(reader_walk(reader, NULL, read_entry, reader, &err), &err);
    print("read in order, 1 lane", start, backup->bytes, 0);
    reader_close(reader);
    locator_close(locator);
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        fprintf(stderr, "usage: bench_repository SOURCE [threads [level [memory_mib]]]\n");
        return 2;
    }
    WriterParams shape = {.threads = argc > 2 ? (unsigned)atoi(argv[2]) : 0,
                          .level = argc > 3 ? atoi(argv[3]) : 0,
                          .memory_bytes = argc > 4 ? (size_t)atoi(argv[4]) << 20 : 0};
    Repository *r = repository_new(false);
    RepoBackup first, second, third;
    backup(r, "initial", argv[1], &shape, NULL, &first);
    backup(r, "unchanged", argv[1], &shape, &first, &second);
    backup(r, "unchanged, read again", argv[1], &shape, NULL, &third);
    read_back(r, &second);
    repo_backup_free(&first);
    repo_backup_free(&second);
    repo_backup_free(&third);
    repository_free(r);
    return 0;
}
