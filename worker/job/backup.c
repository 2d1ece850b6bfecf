/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/job/backup.h"

#include "common/base/clock.h"
#include "common/base/crashpoint.h"
#include "common/base/hash.h"
#include "common/base/json.h"
#include "common/base/mem.h"
#include "common/base/rand.h"
#include "common/catalog/catalog_backup.h"
#include "common/catalog/catalog_log.h"
#include "common/codec/codec.h"
#include "common/repo/writer.h"
#include "worker/job/ceiling.h"
#include "worker/job/commit.h"
#include "worker/job/group.h"
#include "worker/job/hooks.h"
#include "worker/job/ledger_catalog.h"
#include "worker/job/read_back.h"
#include "worker/job/session.h"
#include "worker/job/set_back.h"
#include "worker/job/stream.h"
#include "worker/job/tell.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <time.h>

enum {
    LANES = 4,            /* connections or readers that an engine may use unless its config says */
    ISSUES_KEPT = 200,    /* in the catalogue; the manifest keeps more */
    WATCH_NS = 200000000, /* between two looks at the counts */
};

typedef struct Backup {
    Job *job;
    Session session;
    const Engine *engine;
    EngineHost host;
    Source *source;
    Group *group; /* NULL: a member of none */
    RepoLedger *ledger;
    RepoWriter *writer;
    atomic_bool writing; /* the writer is there, for threads of the source */
    RepoBackup made;
    ManifestOrigin origin;
    Uuid id;
    bool idle;            /* nothing came since the last backup: none is made */
    pthread_mutex_t lock; /* of the issues */
    json_t *issues;
    uint64_t issue_count, faults; /* faults: issues that are not notes */
} Backup;

static const char *const issue_names[] = {
    [ISSUE_NOTE] = "note", [ISSUE_DENIED] = "denied",   [ISSUE_IO] = "io",
    [ISSUE_TORN] = "torn", [ISSUE_SKIPPED] = "skipped",
};

static void on_issue(void *ctx, const Issue *issue)
{
    Job *job = ctx;
    Backup *backup = job->kind;
    pthread_mutex_lock(&backup->lock);
    backup->issue_count++;
    tell_issue(job, backup->issue_count, issue, issue_names[issue->kind]);
    if (issue->kind != ISSUE_NOTE) {
        backup->faults++;
        job->counters.errors++;
    }
    if (json_array_size(backup->issues) < ISSUES_KEPT) {
        json_t *row = json_object();
        json_object_set_new(row, "kind", json_string(issue_names[issue->kind]));
        json_object_set_new(row, "path", json_bytes(slice_of_text(issue->path)));
        json_object_set_new(row, "text", json_bytes(slice_of_text(issue->text)));
        json_array_append_new(backup->issues, row);
    }
    pthread_mutex_unlock(&backup->lock);
    if (backup->writer != NULL)
        writer_issue(backup->writer, issue);
}

/* A lane that waits for the source's server must not outlive what it reads for. */
static bool on_cancelled(void *ctx)
{
    Err why;
    Job *job = ctx;
    Backup *backup = job->kind;
    return job_cancelled(job) || (backup->writing && writer_failed(backup->writer, &why));
}

static bool take_parent(const Job *job, WriterParams *params, Err *err)
{
    const json_t *parent = json_object_get(job->order, "parent");
    if (!json_is_object(parent))
        return true;
    params->has_parent = true;
    params->parent_sequence = json_u64_or(parent, "sequence", 0);
    return uuid_parse(json_text_or(parent, "backup", TEXT("")), &params->parent, err) &&
           ids_unhex(json_text_or(parent, "manifest_sha256", TEXT("")),
                     params->parent_manifest.bytes, sizeof params->parent_manifest.bytes, err);
}

/* What the store alone must be able to tell again. A slot that does not parse is left out: it is
 * worth no backup. */
static void take_origin(Backup *backup)
{
    const Job *job = backup->job;
    const char *slot = json_string_value(json_object_get(job->order, "slot"));
    int64_t slot_s = 0;
    backup->origin = (ManifestOrigin){.job = job->fence.job,
                                      .attempt = job->fence.attempt,
                                      .schedule = json_text_or(job->order, "schedule", TEXT("")),
                                      .policy = json_text_or(job->policy, "name", TEXT("")),
                                      .type = json_text_or(job->source, "type", TEXT("")),
                                      .started_ns = clock_wall_ns()};
    if (slot != NULL && clock_parse(slot, &slot_s))
        backup->origin.slot_ns = slot_s * 1000000000;
}

static bool call_begin(Catalog *catalog, void *ctx, Err *err)
{
    const Backup *backup = ctx;
    return catalog_backup_begin(catalog, &backup->job->fence, &backup->id, err);
}

static bool open_writer(Backup *backup, Err *err)
{
    Job *job = backup->job;
    const json_t *compression = json_object_get(job->policy, "compression");
    LedgerCatalogParams ledger = {
        .catalog = job->catalog, .repo = backup->session.repo, .fence = job->fence};
    backup->ledger = ledger_catalog_new(&ledger);
    WriterParams params = {.repo = backup->session.repo,
                           .ledger = backup->ledger,
                           .source = job_source_name(job),
                           .backup = backup->id,
                           .lanes = backup->source->ops->lanes(backup->source),
                           .ordered = strcmp(backup->engine->name, "files") == 0,
                           .memory_bytes = job->settings->memory_bytes,
                           .level = (int)json_u64_or(compression, "level", 0),
                           .rate = json_u64_or(job->policy, "rate", 0),
                           .origin = &backup->origin};
    Text codec = json_text_or(compression, "codec", TEXT("zstd"));
    if (!codec_find(codec, &params.codec, err))
        return false;
    backup->writing = take_parent(job, &params, err) &&
                      patient_call(job->catalog, call_begin, backup, err) &&
                      writer_open(&backup->writer, &params, err);
    return backup->writing;
}

/* A member of a group whose engine can do that lets the application go on before it reads. */
static bool fix_instant(Backup *backup, Err *err)
{
    const SourceOps *ops = backup->source->ops;
    if (backup->group == NULL || ops->fix == NULL)
        return true;
    return ops->fix(backup->source, err) && group_pass(backup->group, err);
}

static bool open_all(Backup *backup, Err *err)
{
    Job *job = backup->job;
    Text type = json_text_or(job->source, "type", TEXT(""));
    const json_t *config = json_object_get(job->source, "config");
    if (!job_engine(job, type, &backup->engine, err) || !ceiling_source(job, type, config, err))
        return false;
    if (!session_open(&backup->session, job, SESSION_WRITE, err) ||
        !session_markers(&backup->session, job, err) ||
        !set_back_parent(&backup->session, job, err))
        return false;
    CRASHPOINT("backup.opened");
    if (!hooks_before(job, err) || !group_open(&backup->group, job, err))
        return false;
    EngineParams params = {.config = config,
                           .request = job->params,
                           .host = &backup->host,
                           .lanes = (unsigned)json_u64_or(config, "jobs", LANES)};
    if (!backup->engine->open_source(&backup->source, &params, err))
        return false;
    backup->idle = backup->source->ops->idle != NULL && backup->source->ops->idle(backup->source);
    if (backup->idle)
        return true;
    if (!fix_instant(backup, err) || !open_writer(backup, err))
        return false;
    tell_opened(job, backup->engine->name, params.lanes,
                backup->source->ops->lanes(backup->source));
    return true;
}

/* Copies the writer's counts into the job's until the streaming is over. */
typedef struct Watch {
    Backup *backup;
    pthread_t thread;
    pthread_mutex_t lock; /* of `over` */
    pthread_cond_t ended;
    bool over;
} Watch;

static void take_counts(Backup *backup)
{
    WriterProgress now;
    JobCounters *counters = &backup->job->counters;
    writer_progress(backup->writer, &now);
    counters->bytes_done = now.bytes;
    counters->items_done = now.entries;
    counters->stored = now.stored;
}

/* Until the next look; true: it is over. */
static bool rest(Watch *watching)
{
    struct timespec next;
    clock_gettime(CLOCK_MONOTONIC, &next);
    next.tv_nsec += WATCH_NS;
    next.tv_sec += next.tv_nsec / 1000000000;
    next.tv_nsec %= 1000000000;
    pthread_mutex_lock(&watching->lock);
    while (!watching->over && pthread_cond_timedwait(&watching->ended, &watching->lock, &next) == 0)
        ;
    bool over = watching->over;
    pthread_mutex_unlock(&watching->lock);
    return over;
}

static void *watch(void *ctx)
{
    Watch *watching = ctx;
    do {
        take_counts(watching->backup);
        if (job_cancelled(watching->backup->job))
            writer_cancel(watching->backup->writer);
    } while (!rest(watching));
    take_counts(watching->backup);
    return NULL;
}

static bool stream_and_finish(Backup *backup, Receipt *receipt, Err *err)
{
    Source *source = backup->source;
    job_phase(backup->job, "read");
    if (!stream_run(source, backup->writer, err))
        return false;
    CRASHPOINT("backup.streamed");
    *receipt = (Receipt){0};
    if (!source->ops->finish(source, receipt, err))
        return false;
    if (!group_settle(backup->group, receipt, err))
        return false;
    tell_read(backup->job, receipt);
    job_phase(backup->job, "store");
    backup->origin.faults = backup->faults;
    backup->origin.written_ns = clock_wall_ns();
    if (!writer_finish(backup->writer, receipt, &backup->made, err))
        return false;
    CRASHPOINT("backup.stored");
    return true;
}

static bool watched(Backup *backup, Receipt *receipt, Err *err)
{
    Watch watching = {.backup = backup, .lock = PTHREAD_MUTEX_INITIALIZER};
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&watching.ended, &attributes);
    pthread_condattr_destroy(&attributes);
    if (pthread_create(&watching.thread, NULL, watch, &watching) != 0)
        return err_set(err, ERR_FULL, "job.thread", "no thread could be started: raise the limits");
    bool fine = stream_and_finish(backup, receipt, err);
    pthread_mutex_lock(&watching.lock);
    watching.over = true;
    pthread_cond_signal(&watching.ended);
    pthread_mutex_unlock(&watching.lock);
    pthread_join(watching.thread, NULL);
    pthread_cond_destroy(&watching.ended);
    /* A cancelled writer reports itself; why it was cancelled is the better answer. */
    if (!fine && job_cancelled(backup->job))
        return job_go_on(backup->job, err);
    return fine;
}

static bool look_again(Backup *backup, Err *err)
{
    size_t count, seen;
    const PackRow *rows = ledger_catalog_staged(backup->ledger, &count);
    if (!read_back(backup->job, backup->session.repo, rows, count, &seen, err))
        return false;
    tell_stored(backup->job, &backup->made, count, seen);
    return true;
}

/* allow_partial {items, share}: more faults than both permit are a failure, not a backup. */
static bool faults_are_tolerable(const Backup *backup, Err *err)
{
    const json_t *limits = json_object_get(backup->job->policy, "allow_partial");
    if (backup->faults == 0 || !json_is_object(limits))
        return true;
    double share = json_real_or(limits, "share", 0);
    uint64_t items = json_u64_or(limits, "items", 0);
    if (backup->faults <= items ||
        (double)backup->faults <= share * (double)(backup->made.entries + backup->faults))
        return true;
    return err_set(err, ERR_SOURCE, "backup.too_partial",
                   "%llu entries could not be read, more than allow_partial permits: see the job's "
                   "issues",
                   (unsigned long long)backup->faults);
}

static bool validate(Backup *backup, Err *err)
{
    HookStored stored = {.backup = backup->id,
                         .entries = backup->made.entries,
                         .bytes = backup->made.bytes,
                         .issues = backup->issue_count};
    return hooks_validate(backup->job, &stored, err);
}

static bool commit(Backup *backup, const Receipt *receipt, JobResult *result, Err *err)
{
    CommitFacts facts = {.made = &backup->made,
                         .receipt = receipt,
                         .partial = backup->faults > 0,
                         .stored_verified = true,
                         .issues = backup->issues,
                         .issue_count = backup->issue_count};
    job_phase(backup->job, "commit");
    if (!commit_run(backup->job, &backup->session, &facts, err))
        return false;
    result->committed = true;
    result->outcome = facts.partial ? OUTCOME_PARTIAL : OUTCOME_COMPLETED;
    tell_committed(backup->job, &backup->made, facts.partial, backup->issue_count);
    snprintf(
        result->text, sizeof result->text, "%llu entries, %llu bytes, %llu stored, %llu issues",
        (unsigned long long)backup->made.entries, (unsigned long long)backup->made.bytes,
        (unsigned long long)backup->made.stored_bytes, (unsigned long long)backup->issue_count);
    return true;
}

/* The backup stands whatever comes of this. */
static void tell_source(Backup *backup)
{
    Err err = {0};
    CRASHPOINT("backup.committed");
    if (backup->source->ops->stored != NULL && !backup->source->ops->stored(backup->source, &err))
        job_log(backup->job, LOG_WARN, "backup.untold", "%s", err.text);
}

static const char nothing_came[] = "nothing came since the last backup";

static bool call_idle(Catalog *catalog, void *ctx, Err *err)
{
    const Backup *backup = ctx;
    return catalog_log_idle(catalog, &backup->job->fence, text_of(nothing_came), err);
}

static bool end_idle(Backup *backup, JobResult *result, Err *err)
{
    if (!patient_call(backup->job->catalog, call_idle, backup, err))
        return false;
    result->committed = true;
    result->outcome = OUTCOME_COMPLETED;
    snprintf(result->text, sizeof result->text, "%s", nothing_came);
    return true;
}

static bool run(Backup *backup, JobResult *result, Err *err)
{
    Receipt receipt;
    Job *job = backup->job;
    const json_t *last = json_object_get(job->order, "last");
    job->counters.bytes_total = json_u64_or(last, "bytes", 0);
    job->counters.total_basis = job->counters.bytes_total > 0 ? "last_run" : "";
    take_origin(backup);
    if (!open_all(backup, err))
        return false;
    if (backup->idle)
        return end_idle(backup, result, err);
    if (!watched(backup, &receipt, err) || !look_again(backup, err) ||
        !faults_are_tolerable(backup, err) || !validate(backup, err) || !job_go_on(job, err) ||
        !commit(backup, &receipt, result, err))
        return false;
    tell_source(backup);
    return true;
}

bool backup_run(Job *job, JobResult *result, Err *err)
{
    Backup backup = {.job = job, .id = rand_backup_id(), .issues = json_array()};
    pthread_mutex_init(&backup.lock, NULL);
    job->kind = &backup;
    backup.host = job_host(job, on_issue);
    backup.host.cancelled = on_cancelled;
    bool fine = run(&backup, result, err);
    if (backup.source != NULL) /* first: its threads look at the writer */
        backup.source->ops->close(backup.source);
    group_close(backup.group);
    writer_close(backup.writer);
    ledger_catalog_free(backup.ledger);
    repo_backup_free(&backup.made);
    session_close(&backup.session);
    hooks_after(job, fine);
    json_decref(backup.issues);
    pthread_mutex_destroy(&backup.lock);
    job->kind = NULL;
    return fine;
}
