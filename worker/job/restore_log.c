/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/job/restore_log.h"

#include "common/base/crashpoint.h"
#include "common/base/json.h"
#include "common/base/mem.h"
#include "worker/job/feed.h"
#include "worker/job/job.h"

#include <stdio.h>

enum { HISTORY_NAME = 24 };

typedef struct Laying {
    Job *job;
    const Opened *opened;
    Target *target;
    char history[HISTORY_NAME];
    uint64_t entries; /* of the batch */
} Laying;

bool restore_log_check(const Job *job, bool *asked, Err *err)
{
    const json_t *log = json_object_get(job->order, "log");
    *asked = json_is_object(json_object_get(job->params, "recover"));
    if (!*asked)
        return true;
    if (!json_is_object(log))
        return err_set(err, ERR_INVALID, "job.order_version",
                       "the order names no log: upgrade the catalogue's schema");
    Text refused = json_text_or(log, "refused", TEXT(""));
    if (refused.len == 0)
        return true;
    scoped(mem_release) char *cause = mem_text(json_text_or(log, "cause", TEXT("log.refused")));
    return err_set(err, ERR_CONFLICT, cause, "%.*s", TEXT_ARG(refused));
}

static void tell_line(const json_t *log, json_t *out)
{
    static const char *const told[] = {"log",  "timeline", "to_lsn", "to_at",
                                       "time", "lsn",      "xid",    "name"};
    for (size_t n = 0; n < sizeof told / sizeof *told; n++)
        if (json_object_get(log, told[n]) != NULL)
            json_object_set(out, told[n], json_object_get(log, told[n]));
}

void restore_log_tell(const Job *job, json_t *answer)
{
    const json_t *log = json_object_get(job->order, "log");
    json_t *line = json_object();
    tell_line(log, line);
    json_object_set_new(line, "batches",
                        json_integer((json_int_t)json_array_size(json_object_get(log, "batches"))));
    json_object_set_new(answer, "log", line);
}

static void on_fed(void *ctx, uint64_t bytes, bool entry)
{
    Laying *laying = ctx;
    laying->job->counters.bytes_done += bytes;
    laying->entries += entry;
}

static void on_damage(void *ctx, Text path, const Err *err)
{
    Laying *laying = ctx;
    job_log(laying->job, LOG_ERROR, "restore.damaged", "%.*s: %s", TEXT_ARG(path), err->text);
}

static bool on_go_on(void *ctx, Err *err)
{
    Laying *laying = ctx;
    return job_go_on(laying->job, err);
}

static bool lay(Laying *laying, RepoReader *reader, const json_t *names, Err *err)
{
    size_t count = json_array_size(names);
    Text *paths = mem_array(Text, count + 1);
    for (size_t i = 0; i < count; i++)
        paths[i] = text_of(json_string_value(json_array_get(names, i)));
    paths[count] = text_of(laying->history);
    ReaderSelection selection = {.paths = paths, .path_count = count + 1, .phase = -1};
    FeedParams feed = {.reader = reader,
                       .target = laying->target,
                       .selection = &selection,
                       .ctx = laying,
                       .fed = on_fed,
                       .damaged = on_damage,
                       .go_on = on_go_on};
    laying->entries = 0;
    bool fine = feed_run(&feed, err);
    mem_free(paths);
    if (fine && laying->entries < count)
        return err_set(err, ERR_CORRUPT, "log.segment_missing",
                       "it has %llu of the %zu segments that the catalogue names: holdfast verify "
                       "--level content, then holdfast windows",
                       (unsigned long long)laying->entries, count);
    return fine;
}

static bool lay_batch(Laying *laying, const json_t *batch, Err *err)
{
    Sha256 manifest;
    RepoReader *reader = NULL;
    char id[BACKUP_ID_TEXT];
    ReaderParams params = {.repo = laying->opened->session.repo,
                           .locator = laying->opened->locator,
                           .manifest = &manifest,
                           .memory_bytes = laying->job->settings->memory_bytes / 4};
    if (!uuid_parse(json_text_or(batch, "backup", TEXT("")), &params.backup, err) ||
        !ids_unhex(json_text_or(batch, "manifest_sha256", TEXT("")), manifest.bytes,
                   sizeof manifest.bytes, err))
        return err_note(err, "a batch of the log");
    uuid_backup_text(&params.backup, id);
    bool fine = reader_open(&reader, &params, err) &&
                lay(laying, reader, json_object_get(batch, "names"), err);
    reader_close(reader);
    return fine || err_note(err, "%s, a batch of the log", id);
}

/* What the engine is told: the order's instant, and where. */
static json_t *request_of(const Job *job, Text path)
{
    const json_t *log = json_object_get(job->order, "log");
    static const char *const told[] = {"time", "lsn", "xid", "name", "timeline"};
    json_t *archive = json_object();
    json_object_set_new(archive, "path", json_stringn(path.at, path.len));
    for (size_t i = 0; i < sizeof told / sizeof *told; i++)
        if (json_object_get(log, told[i]) != NULL)
            json_object_set(archive, told[i], json_object_get(log, told[i]));
    return json_pack("{s:o}", "archive", archive);
}

static bool lay_all(Laying *laying, const json_t *log, json_t *report, Err *err)
{
    size_t i;
    const json_t *batch;
    json_t *laid = NULL;
    json_array_foreach(json_object_get(log, "batches"), i, batch)
    {
        if (!lay_batch(laying, batch, err))
            return false;
    }
    CRASHPOINT("restore.log_laid");
    if (!laying->target->ops->finish(laying->target, &laid, err))
        return false;
    tell_line(log, laid);
    json_object_set_new(report, "log", laid);
    return true;
}

bool restore_log(Job *job, const Opened *opened, const Engine *engine, const EngineHost *host,
                 Text path, json_t *report, Err *err)
{
    const json_t *log = json_object_get(job->order, "log");
    scoped(json_release) json_t *request = request_of(job, path);
    Laying laying = {.job = job, .opened = opened};
    EngineParams params = {.config = json_object_get(job->source, "config"),
                           .request = request,
                           .host = host,
                           .lanes = 1};
    snprintf(laying.history, sizeof laying.history, "%08X.history",
             (unsigned)json_u64_or(log, "timeline", 1));
    job_phase(job, "log");
    if (!engine->open_target(&laying.target, &params, err))
        return false;
    bool fine = lay_all(&laying, log, report, err);
    laying.target->ops->close(laying.target);
    return fine;
}
