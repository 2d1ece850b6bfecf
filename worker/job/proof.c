/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/job/proof.h"

#include "common/base/clock.h"
#include "common/base/crashpoint.h"
#include "common/base/json.h"
#include "common/base/mem.h"
#include "worker/job/feed.h"
#include "worker/job/opened.h"
#include "worker/job/proof_judge.h"
#include "worker/job/proof_place.h"
#include "worker/job/proof_watch.h"
#include "worker/job/restore.h"
#include "worker/job/restore_log.h"

#include <inttypes.h>
#include <stdio.h>

enum { LANES = 4, TELL_S = 60 };

typedef struct Proof {
    Job *job;
    const AllowSandbox *allowed;
    Opened opened;
    const Engine *engine;
    json_t *details;             /* of the receipt */
    const json_t *queries, *log; /* of the order; log NULL: the backup alone */
    EngineHost host;
    ProofPlace place;
    ProofWatch watch;
    bool watched;
    atomic_bool polled; /* what works now moves no byte, but asks on_cancelled */
    Sandbox *sandbox;
    int64_t begun_ns, restored_ns, ready_ns; /* of the monotonic clock; 0: not that far */
    int64_t started_ns;                      /* of the wall's */
    atomic_int_fast64_t told_ns;
    json_t *report;
    uint64_t issues;
    char issue[300];
    pthread_mutex_t lock; /* of issues */
} Proof;

/* --- what the engine may ask of us ---------------------------------------------------------- */

static void on_issue(void *ctx, const Issue *issue)
{
    Proof *proof = ctx;
    scoped(buf_free) Buf path = {0};
    json_escape_bytes(slice_of_text(issue->path), &path);
    if (issue->kind == ISSUE_NOTE)
        return;
    pthread_mutex_lock(&proof->lock);
    if (proof->issues++ == 0)
        snprintf(proof->issue, sizeof proof->issue, "%s: %.*s", buf_cstr(&path),
                 TEXT_ARG(issue->text));
    pthread_mutex_unlock(&proof->lock);
    job_log(proof->job, LOG_WARN, "proof.issue", "%s: %.*s", buf_cstr(&path),
            TEXT_ARG(issue->text));
}

static void on_note(void *ctx, const char *event, const char *text)
{
    Proof *proof = ctx;
    proof_watch_moved(&proof->watch);
    job_log(proof->job, LOG_INFO, event, "%s", text);
}

/* That something is at work which moves no byte is told now and then. */
static bool on_cancelled(void *ctx)
{
    Proof *proof = ctx;
    int64_t now = clock_mono_ns();
    if (proof->polled) {
        proof_watch_moved(&proof->watch);
        if (now - proof->told_ns > (int64_t)TELL_S * 1000000000) {
            proof->told_ns = now;
            job_log(proof->job, LOG_INFO, "proof.works", "still in phase %s",
                    proof->job->counters.phase);
        }
    }
    return proof_watch_stops(&proof->watch);
}

static bool on_secret(void *ctx, const json_t *reference, Buf *secret, Err *err)
{
    (void)ctx, (void)reference, (void)secret;
    return err_set(err, ERR_BUG, "sandbox.secret", "a sandbox has no secrets");
}

static bool on_go_on(void *ctx, Err *err)
{
    Proof *proof = ctx;
    return !proof_watch_stops(&proof->watch) ||
           err_set(err, ERR_CANCELLED, "job.cancelled", "the proof was stopped");
}

static void on_fed(void *ctx, uint64_t bytes, bool entry)
{
    Proof *proof = ctx;
    proof->job->counters.bytes_done += bytes;
    if (entry)
        proof->job->counters.items_done++;
}

/* --- steps ---------------------------------------------------------------------------------- */

static bool take_order(Proof *proof, bool query, Err *err)
{
    Job *job = proof->job;
    const Receipt *receipt = reader_receipt(proof->opened.reader);
    const json_t *asked = json_object_get(json_object_get(job->order, "proof"), "queries");
    if (receipt->details.len == 0 || !json_parse(receipt->details, &proof->details, err))
        proof->details = json_object();
    *err = (Err){0};
    proof->queries = query ? asked : NULL;
    proof->log = json_object_get(job->order, "log");
    if (json_object_get(proof->log, "refused") !=
        NULL) { /* it is another thing that is not whole */
        json_object_set(proof->report, "log", (json_t *)(uintptr_t)proof->log);
        proof->log = NULL;
    }
    if (query && json_array_size(asked) == 0)
        return err_set(err, ERR_USAGE, "verify.no_query",
                       "the source's policy asks nothing: give it verify.query, or ask for level "
                       "restore");
    if (!job_engine(job, text_of(proof->opened.row.source_type), &proof->engine, err))
        return false;
    return proof->engine->sandbox != NULL ||
           err_set(err, ERR_MISSING, "sandbox.engine",
                   "this worker does not try sources of type %s: upgrade it",
                   proof->opened.row.source_type);
}

/* Everything that can be refused before anything is made. */
static bool look_first(Proof *proof, SandboxParams *params, Err *err)
{
    const BackupOpened *row = &proof->opened.row;
    proof->allowed = allow_sandbox(proof->job->settings->allow);
    if (proof->allowed == NULL)
        return err_set(err, ERR_DENIED, "sandbox.not_allowed",
                       "this worker's own file allows no sandbox; give it allow.sandbox in "
                       "worker.yaml there, or send the job elsewhere");
    proof_place_sweep(proof->allowed);
    *params = (SandboxParams){.confine = &proof->place.confine,
                              .memory_bytes = proof->allowed->memory_bytes,
                              .details = proof->details,
                              .log = proof->log,
                              .host = &proof->host};
    return proof_place_look(proof->allowed, proof->engine->sandbox->room(row->bytes, row->entries),
                            err) &&
           proof->engine->sandbox->look(params, err);
}

static bool feed(Proof *proof, Target *target, Err *err)
{
    static const ReaderSelection everything = {.phase = -1};
    FeedParams params = {.reader = proof->opened.reader,
                         .target = target,
                         .selection = &everything,
                         .whole = true,
                         .ctx = proof,
                         .fed = on_fed,
                         .go_on = on_go_on};
    return feed_run(&params, err);
}

static bool fill(Proof *proof, Target *target, Err *err)
{
    json_t *report = NULL;
    bool fine = feed(proof, target, err);
    if (fine)
        job_phase(proof->job, "finish");
    fine = fine && target->ops->finish(target, &report, err);
    if (report != NULL)
        json_object_set_new(proof->report, "restored", report);
    if (fine && proof->issues > 0)
        fine = err_set(err, ERR_CORRUPT, "proof.entries",
                       "%" PRIu64 " entries were not restored as they were, first %s",
                       proof->issues, proof->issue);
    return fine;
}

static bool restore_all(Proof *proof, Err *err)
{
    Target *target = NULL;
    char mark[JOB_ID_TEXT];
    json_t *request = proof->engine->sandbox->request(proof->sandbox);
    ids_job_text(proof->job->fence.job, mark);
    json_object_set_new(request, "mark", json_string(mark));
    EngineParams params = {.config = json_object_get(proof->job->source, "config"),
                           .request = request,
                           .host = &proof->host,
                           .lanes = LANES};
    bool fine = proof->engine->open_target(&target, &params, err) && fill(proof, target, err);
    if (target != NULL)
        target->ops->close(target);
    fine = fine && (proof->log == NULL ||
                    restore_log(proof->job, &proof->opened, proof->engine, &proof->host,
                                json_text_or(json_object_get(request, "target"), "path", TEXT("")),
                                proof->report, err));
    json_decref(request);
    return fine;
}

static bool compare_all(Proof *proof, Err *err)
{
    Target *target = NULL;
    json_t *report = NULL;
    if (proof->engine->sandbox->compare == NULL)
        return true;
    bool fine = proof->engine->sandbox->compare(proof->sandbox, &target, err) &&
                feed(proof, target, err) && target->ops->finish(target, &report, err);
    if (report != NULL)
        json_object_update(proof->report, report);
    json_decref(report);
    if (target != NULL)
        target->ops->close(target);
    return fine;
}

static bool try_it(Proof *proof, SandboxParams *params, Err *err)
{
    const SandboxOps *ops = proof->engine->sandbox;
    params->folder = proof->place.folder;
    job_phase(proof->job, "sandbox");
    proof->polled = true;
    if (!ops->open(&proof->sandbox, params, err))
        return false;
    proof_watch_sandbox(&proof->watch, proof->sandbox);
    CRASHPOINT("proof.opened");
    proof->polled = false;
    job_phase(proof->job, "restore");
    if (!restore_all(proof, err))
        return false;
    proof->restored_ns = clock_mono_ns();
    CRASHPOINT("proof.restored");
    job_phase(proof->job, "settle");
    if (!ops->settle(proof->sandbox, err))
        return false;
    proof->ready_ns = clock_mono_ns();
    CRASHPOINT("proof.settled");
    job_phase(proof->job, "check");
    if (!compare_all(proof, err))
        return false;
    proof->polled = true;
    return ops->check(proof->sandbox, proof->queries, proof->report, err);
}

/* In a place of its own, which is gone afterwards. What remains of it is worse than any result. */
static bool in_its_place(Proof *proof, SandboxParams *params, Err *err)
{
    Err remains = {0};
    proof->begun_ns = clock_mono_ns();
    if (!proof_place_make(&proof->place, proof->allowed, proof->job->fence.job, err))
        return false;
    bool fine = try_it(proof, params, err);
    CRASHPOINT("proof.checked");
    proof_watch_sandbox(&proof->watch, NULL);
    if (proof->sandbox != NULL)
        proof->engine->sandbox->close(proof->sandbox);
    proof->sandbox = NULL;
    if (proof_place_drop(&proof->place, &remains))
        return fine;
    job_log(proof->job, LOG_ERROR, "sandbox.remains", "%s", remains.text);
    if (fine)
        *err = remains;
    return false;
}

static bool go(Proof *proof, bool query, Err *err)
{
    SandboxParams params;
    Job *job = proof->job;
    if (!take_order(proof, query, err) || !look_first(proof, &params, err))
        return false;
    job->counters.bytes_total =
        proof->opened.row.bytes * (proof->engine->sandbox->compare == NULL ? 1 : 2);
    job->counters.total_basis = "plan";
    if (!proof_watch_start(&proof->watch, job, proof->engine->sandbox, proof->allowed->time_ms,
                           proof->allowed->stall_ms, err))
        return false;
    proof->watched = true;
    bool fine = in_its_place(proof, &params, err);
    proof_watch_stop(&proof->watch);
    return fine;
}

/* --- the row -------------------------------------------------------------------------------- */

typedef struct Add {
    const Fence *fence;
    VerificationRow row;
} Add;

static bool call_add(Catalog *catalog, void *ctx, Err *err)
{
    Add *add = ctx;
    return catalog_verification_add(catalog, add->fence, &add->row, err);
}

static double seconds_between(int64_t from, int64_t to)
{
    int64_t ms = (to - from) / 1000000;
    return (double)ms / 1000;
}

static void add_times(const Proof *proof)
{
    if (proof->restored_ns > 0)
        json_object_set_new(proof->report, "seconds",
                            json_real(seconds_between(proof->begun_ns, proof->restored_ns)));
    if (proof->ready_ns > 0)
        json_object_set_new(proof->report, "ready_seconds",
                            json_real(seconds_between(proof->begun_ns, proof->ready_ns)));
}

/* Which word the verification gets; "" where there is nothing to say of the backup. */
static const char *judge(Proof *proof, bool fine, Err *err)
{
    char text[sizeof err->text];
    if (fine)
        return "ok";
    if (proof->watched && proof->watch.why != NULL) {
        snprintf(text, sizeof text, "%s", err->text);
        err_set(err, ERR_TIMEOUT, proof->watch.why,
                "%s in phase %s; raise allow.sandbox.%s in worker.yaml, or look at what it waited "
                "for: %.200s",
                strcmp(proof->watch.why, "proof.stalled") == 0 ? "nothing moved any more"
                                                               : "it took longer than it may",
                proof->job->counters.phase,
                strcmp(proof->watch.why, "proof.stalled") == 0 ? "stall" : "time", text);
        return "too_late";
    }
    if (job_cancelled(proof->job))
        return "";
    switch (proof_judge(err)) {
    case PROOF_FAILED:
        return "failed";
    case PROOF_INCONCLUSIVE:
        return "inconclusive";
    default:
        return "";
    }
}

static bool record(Proof *proof, Text level, const char *word, Err *err)
{
    scoped(buf_free) Buf text = {0};
    json_canonical(proof->report, &text);
    Add add = {.fence = &proof->job->fence,
               .row = {.backup = proof->opened.row.backup,
                       .level = level,
                       .result = text_of(word),
                       .started_ns = proof->started_ns,
                       .checks = buf_text(&text)}};
    CRASHPOINT("proof.judged");
    return patient_call(proof->job->catalog, call_add, &add, err);
}

static void say(const Proof *proof, Text level, JobResult *result)
{
    const json_t *report = proof->report;
    Text server = json_text_or(report, "server_version", TEXT(""));
    Text until = json_text_or(json_object_get(report, "log"), "to_at", TEXT(""));
    size_t n = (size_t)snprintf(result->text, sizeof result->text,
                                "%.*s ok in %.1f s, ready in %.1f s%s%.*s%s%.*s: ", TEXT_ARG(level),
                                json_real_value(json_object_get(report, "seconds")),
                                json_real_value(json_object_get(report, "ready_seconds")),
                                server.len == 0 ? "" : ", PostgreSQL ", TEXT_ARG(server),
                                until.len == 0 ? "" : ", log until ", TEXT_ARG(until));
    if (server.len == 0)
        snprintf(result->text + n, sizeof result->text - n,
                 "%" PRIu64 " files, %" PRIu64 " bytes compared", json_u64_or(report, "files", 0),
                 json_u64_or(report, "bytes", 0));
    else
        snprintf(result->text + n, sizeof result->text - n,
                 "%" PRIu64 " tables, %" PRIu64 " rows, %zu queries",
                 json_u64_or(report, "tables", 0), json_u64_or(report, "rows", 0),
                 json_array_size(json_object_get(report, "queries")));
}

/* What came of it becomes the row, the answer and the job's end. */
static bool conclude(Proof *proof, bool fine, Text level, JobResult *result, Err *err)
{
    Err row = {0};
    const char *word = judge(proof, fine, err);
    if (word[0] == 0)
        return false;
    add_times(proof);
    if (!fine) {
        json_object_set_new(proof->report, "cause", json_string(err->cause));
        json_object_set_new(proof->report, "text", json_string(err->text));
    }
    json_object_set_new(proof->report, "result", json_string(word));
    result->answer = json_incref(proof->report);
    if (!record(proof, level, word, &row)) {
        *err = row;
        return false;
    }
    if (fine)
        say(proof, level, result);
    return fine;
}

bool proof_run(Job *job, bool query, JobResult *result, Err *err)
{
    Proof proof = {.job = job, .started_ns = clock_wall_ns(), .place = {.lock = -1}};
    Text level = query ? TEXT("query") : TEXT("restore");
    if (!opened_open(&proof.opened, job, err))
        return false;
    pthread_mutex_init(&proof.lock, NULL);
    proof.report = json_pack("{s:s%}", "level", level.at, level.len);
    proof.host = (EngineHost){.ctx = &proof,
                              .secret = on_secret,
                              .issue = on_issue,
                              .note = on_note,
                              .cancelled = on_cancelled,
                              .scratch = job->scratch};
    bool fine = conclude(&proof, go(&proof, query, err), level, result, err);
    json_decref(proof.report);
    json_decref(proof.details);
    opened_close(&proof.opened);
    pthread_mutex_destroy(&proof.lock);
    return fine;
}
