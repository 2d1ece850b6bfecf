/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/job/job.h"

#include "common/base/json.h"
#include "common/base/mem.h"
#include "worker/job/backup.h"
#include "worker/job/copy.h"
#include "worker/job/probe.h"
#include "worker/job/prune.h"
#include "worker/job/rebuild.h"
#include "worker/job/restore.h"
#include "worker/job/retention.h"
#include "worker/job/verify.h"

#include <pthread.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

enum { REPORT_MS = 500, LINE = 1000 };

static const struct {
    const char *kind;
    bool (*run)(Job *job, JobResult *result, Err *err);
} kinds[] = {
    {"backup", backup_run},       {"restore", restore_run}, {"verify", verify_run},
    {"probe", probe_run},         {"prune", prune_run},     {"rebuild", rebuild_run},
    {"retention", retention_run}, {"copy", copy_run},
};

/* --- opening -------------------------------------------------------------------------------- */

static bool take_order(Job *job, Text text, Err *err)
{
    static const char *const parts[] = {"source", "policy", "repository", "params"};
    const json_t **places[] = {&job->source, &job->policy, &job->repository, &job->params};
    if (!json_parse(text, &job->order, err))
        return err_note(err, "reading the order");
    if (json_u64_or(job->order, "v", 0) != 1)
        return err_set(err, ERR_INVALID, "job.order_version",
                       "the order has a version this worker does not know: upgrade the worker");
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
        json_t *part = json_object_get(job->order, parts[i]);
        if (!json_is_object(part)) {
            part = json_object();
            json_object_set_new(job->order, parts[i], part);
        }
        *places[i] = part;
    }
    return true;
}

static bool open_catalog(Job *job, Err *err)
{
    SecretScope own = {.credentials = job->settings->credentials, .daemon = true};
    if (job->settings->catalogue_password != NULL &&
        !secret_resolve(job->settings->catalogue_password, &own, &job->catalogue_password, err))
        return err_note(err, "the catalogue's password");
    PatientParams params = {.conninfo = job->settings->catalogue,
                            .password = job->catalogue_password,
                            .application = "holdfast-job",
                            .cancelled = job_cancelled,
                            .ctx = job};
    return patient_open(&job->catalog, &params, err);
}

bool job_open(Job **out, const JobParams *params, Err *err)
{
    Job *job = mem_new(Job);
    job->settings = params->settings;
    job->fence = params->fence;
    job->scratch = params->scratch;
    job->report = params->report;
    job->secrets = (SecretScope){.credentials = params->settings->credentials};
    job->counters.phase = "open";
    job->counters.total_basis = "";
    if (!take_order(job, params->order, err) || !open_catalog(job, err)) {
        job_close(job);
        return false;
    }
    *out = job;
    return true;
}

void job_close(Job *job)
{
    if (job == NULL)
        return;
    patient_close(job->catalog);
    secret_free(job->catalogue_password);
    json_decref(job->order);
    mem_free(job);
}

/* --- reporting ------------------------------------------------------------------------------ */

void job_log(Job *job, LogLevel level, const char *event, const char *format, ...)
{
    char line[LINE];
    va_list args;
    va_start(args, format);
    vsnprintf(line, sizeof line, format, args);
    va_end(args);
    job->report.log(job->report.ctx, level, event, line);
}

static void report_now(Job *job)
{
    JobCounters *now = &job->counters;
    /* While the catalogue is away nothing moves, and that is no stall. */
    const char *phase = patient_waits(job->catalog) ? "wait-catalogue" : now->phase;
    JobProgress progress = {.phase = text_of(phase),
                            .bytes_done = now->bytes_done,
                            .bytes_total = now->bytes_total,
                            .total_basis = text_of(now->total_basis),
                            .items_done = now->items_done,
                            .errors = now->errors,
                            .stored = now->stored};
    job->report.progress(job->report.ctx, &progress);
}

/* At once: by the phase the worker knows what it may still be patient with. */
void job_phase(Job *job, const char *literal)
{
    job->counters.phase = literal;
    report_now(job);
}

typedef struct Reporter {
    Job *job;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    bool over;
} Reporter;

static void *report_loop(void *ctx)
{
    Reporter *reporter = ctx;
    pthread_mutex_lock(&reporter->lock);
    while (!reporter->over) {
        struct timespec until;
        report_now(reporter->job);
        clock_gettime(CLOCK_REALTIME, &until);
        until.tv_nsec += REPORT_MS * 1000000L;
        until.tv_sec += until.tv_nsec / 1000000000L;
        until.tv_nsec %= 1000000000L;
        pthread_cond_timedwait(&reporter->wake, &reporter->lock, &until);
    }
    pthread_mutex_unlock(&reporter->lock);
    return NULL;
}

static bool reporter_start(Reporter *reporter, Job *job, Err *err)
{
    *reporter = (Reporter){.job = job};
    pthread_mutex_init(&reporter->lock, NULL);
    pthread_cond_init(&reporter->wake, NULL);
    if (pthread_create(&reporter->thread, NULL, report_loop, reporter) == 0)
        return true;
    return err_set(err, ERR_FULL, "job.thread", "no thread could be started: raise the limits");
}

static void reporter_stop(Reporter *reporter)
{
    pthread_mutex_lock(&reporter->lock);
    reporter->over = true;
    pthread_cond_signal(&reporter->wake);
    pthread_mutex_unlock(&reporter->lock);
    pthread_join(reporter->thread, NULL);
    report_now(reporter->job);
    pthread_mutex_destroy(&reporter->lock);
    pthread_cond_destroy(&reporter->wake);
}

/* --- cancelling ----------------------------------------------------------------------------- */

void job_cancel(Job *job, const char *reason)
{
    if (job->cancelled)
        return;
    snprintf(job->reason, sizeof job->reason, "%s", reason);
    job->cancelled = true;
}

bool job_cancelled(void *job)
{
    return ((Job *)job)->cancelled;
}

bool job_go_on(const Job *job, Err *err)
{
    return !job->cancelled || err_set(err, ERR_CANCELLED, "job.cancelled",
                                      "the worker was told to stop: %s", job->reason);
}

/* --- running -------------------------------------------------------------------------------- */

static bool run_kind(Job *job, JobResult *result, Err *err)
{
    Text kind = json_text_or(job->order, "kind", TEXT(""));
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++)
        if (text_equal(kind, text_of(kinds[i].kind)))
            return kinds[i].run(job, result, err);
    return err_set(err, ERR_INVALID, "job.kind",
                   "this worker does not do jobs of kind %.*s: upgrade it", TEXT_ARG(kind));
}

static const char *outcome_of(const JobEnd *end, const Job *job)
{
    if (end->err.code == ERR_NONE)
        return end->result.outcome == OUTCOME_PARTIAL ? "partial" : "completed";
    if (job == NULL || !job->cancelled)
        return "failed";
    if (strcmp(job->reason, "drain") == 0)
        return "released";
    return strcmp(job->reason, "cancelled") == 0 ? "cancelled" : "failed";
}

static void fill_verdict(JobEnd *end, const Job *job)
{
    const Err *err = &end->err;
    bool fine = err->code == ERR_NONE;
    /* A watchdog's stop is worth another try; the same request met a passing fault. */
    bool stopped = job != NULL && job->cancelled;
    end->verdict = (JobVerdict){.outcome = text_of(outcome_of(end, job)),
                                .code = text_of(err_name(err->code)),
                                .cause = text_of(fine ? "" : err->cause),
                                .text = text_of(fine ? end->result.text : err->text),
                                .retry = !fine && (stopped || err_retry(err->code)),
                                .committed = fine && end->result.committed};
    if (end->result.answer != NULL) {
        json_canonical(end->result.answer, &end->answer);
        end->verdict.answer = buf_text(&end->answer);
    }
}

static void tell_start(Job *job)
{
    Text kind = json_text_or(job->order, "kind", TEXT("?"));
    Text source = job_source_name(job);
    job_log(job, LOG_INFO, "job.started",
            "%.*s%s%.*s, attempt %llu, holdfast-worker " HOLDFAST_VERSION ", pid %d",
            TEXT_ARG(kind), source.len == 0 ? "" : " of ", TEXT_ARG(source),
            (unsigned long long)job->fence.attempt, (int)getpid());
}

static void tell_end(Job *job, const JobVerdict *verdict)
{
    bool failed = text_equal(verdict->outcome, TEXT("failed"));
    job_log(job, failed ? LOG_ERROR : LOG_INFO, "job.ended", "%.*s%s%.*s%s%.*s",
            TEXT_ARG(verdict->outcome), verdict->cause.len == 0 ? "" : " ",
            TEXT_ARG(verdict->cause), verdict->text.len == 0 ? "" : ": ", TEXT_ARG(verdict->text));
}

void job_run(Job *job, JobEnd *end)
{
    Reporter reporter;
    *end = (JobEnd){.result = {.outcome = OUTCOME_COMPLETED}};
    tell_start(job);
    if (reporter_start(&reporter, job, &end->err)) {
        if (run_kind(job, &end->result, &end->err))
            end->err = (Err){0};
        reporter_stop(&reporter);
    }
    fill_verdict(end, job);
    tell_end(job, &end->verdict);
}

void job_end_failed(const Err *err, JobEnd *end)
{
    Err kept = *err; /* it may be the one in `end` */
    *end = (JobEnd){.err = kept};
    fill_verdict(end, NULL);
}

void job_end_free(JobEnd *end)
{
    json_decref(end->result.answer);
    buf_free(&end->answer);
    *end = (JobEnd){0};
}

/* --- engines -------------------------------------------------------------------------------- */

static bool host_secret(void *ctx, const json_t *reference, Buf *out, Err *err)
{
    Job *job = ctx;
    Secret *secret = NULL;
    const char *below[] = {job->settings->credentials};
    SecretScope scope = job->secrets;
    /* A policy may name a file only where this worker keeps credentials anyway. */
    scope.below = below;
    scope.below_count = job->settings->credentials == NULL ? 0 : 1;
    if (!secret_resolve(reference, &scope, &secret, err))
        return false;
    buf_add_slice(out, secret_slice(secret));
    secret_free(secret);
    return true;
}

static void host_note(void *ctx, const char *event, const char *text)
{
    job_log(ctx, LOG_INFO, event, "%s", text);
}

EngineHost job_host(Job *job, void (*issue)(void *ctx, const Issue *issue))
{
    return (EngineHost){.ctx = job,
                        .secret = host_secret,
                        .issue = issue,
                        .note = host_note,
                        .cancelled = job_cancelled,
                        .scratch = job->scratch,
                        .wal_spool = job->settings->wal_spool};
}

bool job_engine(const Job *job, Text type, const Engine **out, Err *err)
{
    (void)job;
    *out = engine_find(type);
    return *out != NULL || err_set(err, ERR_INVALID, "job.engine",
                                   "this worker has no engine for sources of type %.*s: upgrade it",
                                   TEXT_ARG(type));
}

Text job_source_name(const Job *job)
{
    return json_text_or(job->source, "name", TEXT(""));
}
