/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/job/plain_form.h"

#include "common/base/json.h"
#include "common/base/mem.h"
#include "worker/engine/postgresql_export.h"
#include "worker/job/feed.h"
#include "worker/job/plain_tar.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <unistd.h>

enum { PIECE = 256 * 1024 };

static const struct {
    const char *type, *extension;
} forms[] = {{"files", ".tar.gz"}, {"postgresql", ".sql.gz"}};

const char *plain_form_extension(Text type, bool tar)
{
    for (size_t i = 0; i < sizeof forms / sizeof forms[0]; i++)
        if (text_equal(type, text_of(forms[i].type)))
            return tar ? ".tar.gz" : forms[i].extension;
    return NULL;
}

/* Whoever makes the stream; its end is the end of the file it writes. */
typedef struct Maker {
    const PlainForm *form;
    int fd;
    bool fine;
    uint64_t entries;
    bool counts; /* what is fed: not where it is fed a second time */
    Err err;
} Maker;

static void on_fed(void *ctx, uint64_t bytes, bool entry)
{
    const Maker *maker = ctx;
    if (!maker->counts)
        return;
    maker->form->job->counters.bytes_done += bytes;
    if (entry)
        maker->form->job->counters.items_done++;
}

static void on_damaged(void *ctx, Text path, const Err *err)
{
    Maker *maker = ctx;
    (void)path;
    maker->err = *err;
}

static bool on_go_on(void *ctx, Err *err)
{
    return job_go_on(((Maker *)ctx)->form->job, err);
}

/* sink NULL: compressed, into the maker's pipe. */
static bool make_sql(Maker *maker, const PostgresqlExportSink *sink, Err *err)
{
    RepoReader *reader = maker->form->opened->reader;
    scoped(json_release) json_t *details = NULL;
    scoped(json_release) json_t *report = NULL;
    static const ReaderSelection everything = {.phase = -1};
    if (!json_parse(reader_receipt(reader)->details, &details, err))
        return err_note(err, "the receipt of the backup");
    PostgresqlExportParams params = {.fd = maker->fd,
                                     .sink = sink,
                                     .all = json_array_size(json_object_get(details, "databases")) >
                                            1};
    Target *target;
    if (!postgresql_export_open(&target, &params, err))
        return false;
    FeedParams feed = {.reader = reader,
                       .target = target,
                       .selection = &everything,
                       .whole = true,
                       .ctx = maker,
                       .fed = on_fed,
                       .damaged = on_damaged,
                       .go_on = on_go_on};
    bool fine = feed_run(&feed, err) && target->ops->finish(target, &report, err);
    target->ops->close(target);
    return fine;
}

static bool count_text(void *ctx, Slice text, Err *err)
{
    (void)err;
    *(uint64_t *)ctx += text.len;
    return true;
}

static bool give_text(void *ctx, Slice text, Err *err)
{
    return plain_tar_give(ctx, text, err);
}

static bool fill_archive(void *ctx, PlainTar *tar, Err *err)
{
    Maker *maker = ctx;
    PostgresqlExportSink sink = {tar, give_text};
    maker->counts = true;
    return make_sql(maker, &sink, err);
}

/* The same bytes both times: what is read is the backup, which does not change. */
static bool make_sql_in_tar(Maker *maker, Err *err)
{
    const Opened *opened = maker->form->opened;
    PlainTarFile file = {.name = maker->form->holds,
                         .mtime_s = reader_backup(opened->reader)->consistent_ns / 1000000000,
                         .ctx = maker,
                         .fill = fill_archive};
    PostgresqlExportSink sink = {&file.size, count_text};
    maker->counts = false;
    maker->entries = 1;
    return make_sql(maker, &sink, err) && plain_tar_file(&file, maker->fd, err);
}

static bool make_database(Maker *maker, Err *err)
{
    return maker->form->holds.len > 0 ? make_sql_in_tar(maker, err) : make_sql(maker, NULL, err);
}

static bool make_tar(Maker *maker, Err *err)
{
    static const ReaderSelection everything = {.phase = -1};
    return plain_tar_write(maker->form->opened->reader, &everything, maker->fd, true,
                           &maker->entries, err);
}

static void *make(void *ctx)
{
    Maker *maker = ctx;
    bool files = strcmp(maker->form->opened->row.source_type, "files") == 0;
    maker->fine = (files ? make_tar : make_database)(maker, &maker->err);
    close(maker->fd);
    return NULL;
}

static bool take_all(const PlainForm *form, int fd, uint8_t *piece, Err *err)
{
    for (;;) {
        ssize_t got = read(fd, piece, PIECE);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return err_set_sys(err, ERR_IO, "plain.pipe", "reading what is made");
        if (got == 0)
            return true;
        if (!job_go_on(form->job, err) || !form->take(form->ctx, (Slice){piece, (size_t)got}, err))
            return false;
    }
}

bool plain_form_stream(const PlainForm *form, uint64_t *entries, Err *err)
{
    int ends[2];
    pthread_t thread;
    Maker maker = {.form = form, .counts = true};
    if (plain_form_extension(text_of(form->opened->row.source_type), false) == NULL)
        return err_set(err, ERR_USAGE, "plain.type",
                       "backups of sources of type %s have no plain form",
                       form->opened->row.source_type);
    if (pipe2(ends, O_CLOEXEC) != 0)
        return err_set_sys(err, ERR_FULL, "plain.pipe", "no pipe could be made");
    maker.fd = ends[1];
    if (pthread_create(&thread, NULL, make, &maker) != 0) {
        close(ends[0]);
        close(ends[1]);
        return err_set(err, ERR_FULL, "job.thread", "no thread could be started: raise the limits");
    }
    scoped(mem_release) uint8_t *piece = mem_resize(NULL, PIECE);
    bool taken = take_all(form, ends[0], piece, err);
    close(ends[0]); /* a maker that nobody takes from ends with an error */
    pthread_join(thread, NULL);
    *entries = maker.entries;
    if (taken && !maker.fine)
        *err = maker.err;
    return taken && maker.fine;
}
