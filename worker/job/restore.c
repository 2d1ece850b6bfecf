/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/job/restore.h"

#include "common/base/crashpoint.h"
#include "common/base/json.h"
#include "worker/job/apps.h"
#include "worker/job/ceiling.h"
#include "worker/job/cluster_place.h"
#include "worker/job/counts.h"
#include "worker/job/feed.h"
#include "worker/job/fetch.h"
#include "worker/job/opened.h"
#include "worker/job/restore_file.h"
#include "worker/job/restore_log.h"
#include "worker/job/restored.h"
#include "worker/job/safety.h"

#include <inttypes.h>
#include <stdio.h>

enum { LANES = 4 };

typedef struct Restore {
    Job *job;
    Opened opened;
    OpenedSelect select;
    EngineHost host;
    json_t *request;
    const Engine *engine;
    Target *target;
    bool to_an_instant; /* the log goes on where the backup ends */
    bool whole;         /* of the backup everything was asked for */
    bool files; /* entries stand alone; a database's belong together, its engine selects them */
    atomic_uint_fast64_t damaged;
    size_t stopped; /* applications */
    bool began;     /* the target may be other than it was */
} Restore;

static void on_issue(void *ctx, const Issue *issue)
{
    Job *job = ctx;
    scoped(buf_free) Buf path = {0};
    json_escape_bytes(slice_of_text(issue->path), &path);
    if (issue->kind != ISSUE_NOTE)
        job->counters.errors++;
    job_log(job, issue->kind == ISSUE_NOTE ? LOG_INFO : LOG_WARN, "restore.issue", "%s: %.*s",
            buf_cstr(&path), TEXT_ARG(issue->text));
}

static void on_fed(void *ctx, uint64_t bytes, bool entry)
{
    Restore *restore = ctx;
    restore->job->counters.bytes_done += bytes;
    if (entry)
        restore->job->counters.items_done++;
}

static void on_damage(void *ctx, Text path, const Err *err)
{
    Restore *restore = ctx;
    scoped(buf_free) Buf name = {0};
    json_escape_bytes(slice_of_text(path), &name);
    restore->damaged++;
    restore->job->counters.errors++;
    job_log(restore->job, LOG_ERROR, "restore.damaged", "%s: %s", buf_cstr(&name), err->text);
}

static void on_damaged_page(void *ctx, Text from_path, const Err *err)
{
    on_damage(ctx, from_path, err);
}

static bool on_go_on(void *ctx, Err *err)
{
    Restore *restore = ctx;
    return job_go_on(restore->job, err);
}

bool restore_confirmed(const Job *job, Err *err)
{
    Text name = job_source_name(job);
    if ((!json_bool_or(job->params, "in_place", false) &&
         !json_bool_or(job->params, "delta", false)) ||
        text_equal(json_text_or(job->params, "confirm", TEXT("")), name))
        return true;
    return err_set(err, ERR_USAGE, "restore.confirm",
                   "a restore in place, or with --delta, overwrites what is there: confirm it with "
                   "the source's "
                   "name, %.*s",
                   TEXT_ARG(name));
}

bool restore_details(const RepoReader *reader, json_t *request, Err *err)
{
    scoped(json_release) json_t *details = NULL;
    const Receipt *receipt = reader_receipt(reader);
    json_object_del(request, "details");
    if (receipt->details.len == 0)
        return true;
    if (!json_parse(receipt->details, &details, err))
        return err_note(err, "the backup's receipt");
    if (text_equal(json_text_or(details, "method", TEXT("")), TEXT("physical")))
        json_object_set(request, "details", details);
    json_t *expected = counts_expected(details);
    if (expected != NULL)
        json_object_set_new(request, "expected", expected);
    return true;
}

/* Whoever asks for a table must not get a whole tree or cluster. */
static bool may_select(const json_t *request, bool files, Err *err)
{
    const json_t *select = json_object_get(request, "select");
    if (json_array_size(json_object_get(select, "tables")) == 0 ||
        (!files && json_object_get(request, "details") == NULL))
        return true;
    return err_set(err, ERR_USAGE, "restore.select",
                   "a table comes back alone from a logical backup only: restore this one whole, "
                   "or  --only  a path of it");
}

/* A map of tablespaces that nothing reads would be believed. */
static bool may_map(const json_t *request, Err *err)
{
    const json_t *target = json_object_get(request, "target");
    if (json_object_size(json_object_get(target, "tablespaces")) == 0 ||
        json_object_get(request, "details") != NULL)
        return true;
    return err_set(err, ERR_USAGE, "restore.tablespaces",
                   "only a physical backup of PostgreSQL has tablespaces to map; a logical one "
                   "comes back into those of its server: leave --tablespace out");
}

/* Nor would a word that only files know be heard by a database. */
static bool may_ask(const json_t *request, bool files, Err *err)
{
    if (files || json_object_size(json_object_get(request, "options")) == 0)
        return true;
    return err_set(err, ERR_USAGE, "restore.with",
                   "devices, setuid, security and numeric-owner are asked for of files, which this "
                   "backup does not hold: leave --with out");
}

bool restore_request(const Job *job, const RepoReader *reader, json_t **request, Err *err)
{
    char mark[JOB_ID_TEXT];
    bool files = text_equal(json_text_or(job->source, "type", TEXT("")), TEXT("files"));
    if (!restore_confirmed(job, err))
        return false;
    ids_job_text(job->fence.job, mark);
    *request = json_deep_copy(job->params);
    json_object_set_new(*request, "mark", json_string(mark));
    json_object_set_new(*request, "confirmed",
                        json_boolean(json_bool_or(job->params, "in_place", false)));
    /* Files in place go back to where they came from. */
    if (files && !json_is_object(json_object_get(*request, "target")))
        json_object_set_new(*request, "target", json_pack("{s:s}", "path", "/"));
    return restore_details(reader, *request, err) && may_select(*request, files, err) &&
           may_map(*request, err) && may_ask(*request, files, err) &&
           cluster_place(job, *request, err);
}

static bool open_all(Restore *restore, Err *err)
{
    Job *job = restore->job;
    if (!safety_check(job, err) || !restore_log_check(job, &restore->to_an_instant, err) ||
        !opened_open(&restore->opened, job, err) ||
        !opened_select(&restore->select, job->params, err) ||
        !restore_request(job, restore->opened.reader, &restore->request, err))
        return false;
    Text type = text_of(restore->opened.row.source_type);
    if (!job_engine(job, type, &restore->engine, err) ||
        !ceiling_target(job, type, restore->request, err))
        return false;
    CRASHPOINT("restore.opened");
    if (!apps_stop(job, &restore->stopped, err))
        return false;
    CRASHPOINT("restore.stopped");
    EngineParams params = {.config = json_object_get(job->source, "config"),
                           .request = restore->request,
                           .host = &restore->host,
                           .lanes = LANES};
    restore->files = text_equal(type, TEXT("files"));
    json_object_set_new(restore->request, "keep_mark", json_boolean(restore->files));
    if (restore->files)
        reader_on_damage(restore->opened.reader, on_damaged_page, restore);
    restore->began = true;
    return restore->engine->open_target(&restore->target, &params, err);
}

static bool go(Restore *restore, json_t **report, Err *err)
{
    Job *job = restore->job;
    const RepoBackup *backup = reader_backup(restore->opened.reader);
    static const ReaderSelection everything = {.phase = -1};
    bool all = opened_selects_all(&restore->select);
    FeedParams feed = {.reader = restore->opened.reader,
                       .target = restore->target,
                       .selection = restore->files ? &restore->select.selection : &everything,
                       .whole = all || !restore->files,
                       .tolerant = restore->files,
                       .ctx = restore,
                       .fed = on_fed,
                       .damaged = on_damage,
                       .go_on = on_go_on};
    char id[BACKUP_ID_TEXT];
    uuid_backup_text(&restore->opened.row.backup, id);
    job_log(job, LOG_INFO, "restore.opened", "%s: %" PRIu64 " entries, %" PRIu64 " bytes%s", id,
            backup->entries, backup->bytes, all ? "" : "; a part of them was asked for");
    if (all) {
        job->counters.bytes_total = backup->bytes;
        job->counters.total_basis = "plan";
    }
    job_phase(job, "restore");
    if (!feed_run(&feed, err))
        return false;
    CRASHPOINT("restore.fed");
    if (!all && job->counters.items_done == 0 && job->counters.errors == 0)
        return err_set(err, ERR_MISSING, "restore.nothing",
                       "nothing in %s is what was asked for: holdfast backup files %s", id, id);
    job_phase(job, "finish");
    if (!restore->target->ops->finish(restore->target, report, err))
        return false;
    /* What was told to be damaged or not written makes it partial; it is not missing unseen. */
    restore->whole = all;
    if (all && job->counters.errors == 0 && restore->damaged == 0 &&
        !counts_fed(&job->counters, backup, restore->files, err))
        return false;
    return !restore->to_an_instant ||
           restore_log(job, &restore->opened, restore->engine, &restore->host,
                       json_text_or(json_object_get(restore->request, "target"), "path", TEXT("")),
                       *report, err);
}

static void tell_result(Restore *restore, json_t *report, JobResult *result)
{
    Job *job = restore->job;
    scoped(buf_free) Buf said = {0};
    char id[BACKUP_ID_TEXT];
    uuid_backup_text(&restore->opened.row.backup, id);
    json_object_set_new(report, "backup", json_string(id));
    opened_tell(&restore->opened, report);
    safety_tell(job, report);
    json_object_set_new(report, "damaged", json_integer((json_int_t)restore->damaged));
    json_object_set_new(report, "entries", json_integer((json_int_t)job->counters.items_done));
    json_object_set_new(report, "bytes_restored",
                        json_integer((json_int_t)job->counters.bytes_done));
    counts_tell(report, &job->counters, restore->damaged, restore->whole, &said);
    if (json_is_integer(json_object_get(report, "written_bytes")))
        buf_printf(&said, "; a delta: %llu bytes written, %llu names removed",
                   (unsigned long long)json_u64_or(report, "written_bytes", 0),
                   (unsigned long long)json_u64_or(report, "removed", 0));
    result->answer = report;
    result->outcome = job->counters.errors > 0 ? OUTCOME_PARTIAL : OUTCOME_COMPLETED;
    snprintf(result->text, sizeof result->text, "%s", buf_cstr(&said));
}

bool restore_run(Job *job, JobResult *result, Err *err)
{
    Restore restore = {.job = job};
    json_t *report = NULL;
    if (json_is_object(json_object_get(job->params, "fetch")))
        return fetch_run(job, result, err);
    if (restore_file_asked(job))
        return restore_file_run(job, result, err);
    bool done = false;
    if (!restored_before(job, &done, result, err) || done)
        return done;
    restore.host = job_host(job, on_issue);
    bool fine = open_all(&restore, err) && go(&restore, &report, err);
    if (restore.target != NULL)
        restore.target->ops->close(restore.target);
    if (!apps_start(job, restore.stopped))
        job->counters.errors++;
    if (fine)
        tell_result(&restore, report == NULL ? json_object() : report, result);
    else
        json_decref(report);
    fine = fine && restored_tell(job, result, err);
    if (!fine && restore.target != NULL && json_bool_or(restore.request, "delta", false))
        (void)err_note(err, "what is there does not start until a restore over it ends well");
    if (!fine && restore.began)
        safety_note(job, err);
    json_decref(restore.request);
    opened_select_free(&restore.select);
    opened_close(&restore.opened);
    return fine;
}
