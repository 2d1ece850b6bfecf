/* SPDX-License-Identifier: Apache-2.0
 * catalogue_worker.c — what a worker and its job children ask, on the simulated server. */
#include "common/base/mem.h"
#include "common/catalog/catalog_log.h"
#include "tests/sim/catalogue.h"
#include "tests/sim/trace.h"

#include <inttypes.h>
#include <stdio.h>

/* --- the instance ---------------------------------------------------------------------------- */

static bool welcome(Model *m, Catalog *c, const WorkerHello *hello, WorkerWelcome *out, Err *err)
{
    char name[MODEL_NAME];
    uint32_t worker = catalogue_worker(c);
    snprintf(name, sizeof name, "%.*s", TEXT_ARG(hello->name));
    uint32_t engines = text_equal(hello->facts, TEXT("files")) ? 1 : 3;
    if (!model_hello(m, worker, &hello->instance, name, hello->slots, engines, err))
        return false;
    *out = (WorkerWelcome){.worker = worker,
                           .lease_ms = (int64_t)(m->setting.lease * 1000),
                           .beat_ms = (int64_t)(m->setting.beat * 1000),
                           .liveness_ms = (int64_t)(m->setting.liveness * 1000),
                           .drain = m->workers.rows[worker - 1].drain,
                           .pools = mem_array(WorkerPool, m->pool_count)};
    for (uint32_t i = 1; i <= m->pool_count; i++) {
        if ((m->workers.rows[worker - 1].pools & (1u << i)) == 0)
            continue;
        WorkerPool *pool = &out->pools[out->pool_count++];
        *pool = (WorkerPool){.number = i, .generation = m->pools[i].generation};
        snprintf(pool->name, sizeof pool->name, "%s", m->pools[i].name);
    }
    return true;
}

bool catalog_worker_hello(Catalog *c, const WorkerHello *hello, WorkerWelcome *out, Err *err)
{
    *out = (WorkerWelcome){0};
    if (!catalogue_ask(c, "hello", err))
        return false;
    bool done = welcome(catalogue_model(), c, hello, out, err);
    return catalogue_answer(c, done, err);
}

void catalog_worker_welcome_free(WorkerWelcome *one)
{
    mem_free(one->pools);
    *one = (WorkerWelcome){0};
}

/* No server of the simulation pushes its log. */
bool catalog_log_spooled(Catalog *c, const LogSpool *spool, uint64_t *job, Err *err)
{
    (void)c;
    (void)spool;
    (void)err;
    *job = 0;
    return true;
}

bool catalog_worker_bye(Catalog *c, const Uuid *instance, Err *err)
{
    if (!catalogue_ask(c, "bye", err))
        return false;
    model_bye(catalogue_model(), catalogue_worker(c), instance);
    return catalogue_answer(c, true, err);
}

typedef struct LateBeat {
    Uuid instance;
    BeatRow rows[4];
    size_t count;
} LateBeat;

static void late_beat(Model *m, uint32_t worker, const void *args)
{
    const LateBeat *late = args;
    BeatAnswer answers[4];
    BeatSummary summary;
    model_beat(m, worker, &late->instance, late->rows, late->count, answers, &summary);
}

bool catalog_worker_beat(Catalog *c, const Uuid *instance, const BeatRow *rows, size_t count,
                         BeatAnswer *answers, BeatSummary *summary, Err *err)
{
    LateBeat late = {.instance = *instance, .count = count < 4 ? count : 4};
    memcpy(late.rows, rows, late.count * sizeof *rows);
    catalogue_ghost(c, late_beat, &late, sizeof late);
    if (!catalogue_ask(c, "beat", err))
        return false;
    model_beat(catalogue_model(), catalogue_worker(c), instance, rows, count, answers, summary);
    for (size_t i = 0; i < count; i++)
        if (!answers[i].held || answers[i].cancel)
            trace("beat job=%" PRIu64 " attempt=%" PRIu64 " held=%d cancel=%d", rows[i].fence.job,
                  rows[i].fence.attempt, answers[i].held, answers[i].cancel);
    return catalogue_answer(c, true, err);
}

/* --- jobs ------------------------------------------------------------------------------------ */

static void write_order(Model *m, uint64_t number, const ModelClaim *claim, Buf *out)
{
    const ModelJob *job = model_job(m, number);
    const ModelSource *source = job->source == 0 ? NULL : &m->sources.rows[job->source - 1];
    uint64_t sequence = 0;
    for (size_t i = 0; i < m->backups.count; i++)
        if (m->backups.rows[i].source == job->source && m->backups.rows[i].sequence > sequence)
            sequence = m->backups.rows[i].sequence;
    buf_printf(out, "{\"v\":1,\"job\":%" PRIu64 ",\"attempt\":%" PRIu64 ",\"kind\":\"%s\"", number,
               claim->attempt, job->kind == MODEL_BACKUP ? "backup" : "probe");
    if (source != NULL)
        buf_printf(out, ",\"policy\":{\"timeout_s\":%g,\"stall_s\":%g}", source->timeout_s,
                   source->stall_s);
    if (sequence > 0)
        buf_printf(out, ",\"parent\":{\"sequence\":%" PRIu64 "}", sequence);
    buf_printf(out, "}");
}

typedef struct LateClaims {
    Uuid instance;
    size_t count;
    ClaimRow rows[CLAIMS_MOST]; /* by job, as the statement takes them */
    size_t places[CLAIMS_MOST];
} LateClaims;

static void late_claims(Model *m, uint32_t worker, const void *args)
{
    const LateClaims *late = args;
    for (size_t i = 0; i < late->count; i++) {
        ModelClaim answer;
        Err err = {0};
        if (!model_claim(m, worker, &late->instance, late->rows[i].job, late->rows[i].dispatch,
                         &late->rows[i].claim, &answer, &err))
            return; /* this is so of all of them: no hello was said */
        trace("late claim job=%" PRIu64 " status=%d", late->rows[i].job, (int)answer.status);
    }
}

static void sort_claims(LateClaims *claims, const ClaimRow *rows, size_t count)
{
    claims->count = count;
    for (size_t i = 0; i < count; i++) {
        size_t at = i;
        for (; at > 0 && claims->rows[at - 1].job > rows[i].job; at--) {
            claims->rows[at] = claims->rows[at - 1];
            claims->places[at] = claims->places[at - 1];
        }
        claims->rows[at] = rows[i];
        claims->places[at] = i;
    }
}

static bool claim_one(Catalog *c, const Uuid *instance, const ClaimRow *row, ClaimAnswer *out,
                      Err *err)
{
    static const char *const words[] = {"", "granted", "stale", "busy", "full", "unfit", "paused"};
    ModelClaim answer;
    Model *m = catalogue_model();
    if (!model_claim(m, catalogue_worker(c), instance, row->job, row->dispatch, &row->claim,
                     &answer, err))
        return false;
    out->status = answer.status;
    out->attempt = answer.attempt;
    snprintf(out->missing, sizeof out->missing, "%s", answer.missing);
    if (answer.status == CLAIM_GRANTED)
        write_order(m, row->job, &answer, &out->order);
    trace("claim job=%" PRIu64 " dispatch=%" PRIu64 " %s attempt=%" PRIu64, row->job, row->dispatch,
          words[answer.status], answer.attempt);
    return true;
}

bool catalog_job_claims(Catalog *c, const Uuid *instance, const ClaimRow *rows, size_t count,
                        ClaimAnswer *answers, Err *err)
{
    LateClaims claims = {.instance = *instance};
    sort_claims(&claims, rows, count);
    for (size_t i = 0; i < count; i++)
        answers[i] = (ClaimAnswer){0};
    catalogue_ghost(c, late_claims, &claims, sizeof claims);
    if (!catalogue_ask(c, "claim", err))
        return false;
    bool done = true;
    for (size_t i = 0; done && i < count; i++)
        done = claim_one(c, instance, &claims.rows[i], &answers[claims.places[i]], err);
    done = catalogue_answer(c, done, err);
    for (size_t i = 0; !done && i < count; i++)
        catalog_job_claim_free(&answers[i]);
    return done;
}

void catalog_job_claim_free(ClaimAnswer *answer)
{
    buf_free(&answer->order);
    *answer = (ClaimAnswer){0};
}

typedef struct LateFinish {
    Fence fence;
    JobOutcome outcome;
    bool retry;
} LateFinish;

static void late_finish(Model *m, uint32_t worker, const void *args)
{
    const LateFinish *late = args;
    char state[16];
    bool fenced;
    Err err = {0};
    if (model_finish(m, worker, &late->fence, late->outcome, "late", late->retry, state, &fenced,
                     &err))
        trace("late finish job=%" PRIu64 ": %s", late->fence.job, state);
}

bool catalog_job_finish(Catalog *c, const Fence *fence, const JobVerdictRow *verdict,
                        char state[16], bool *fenced, Err *err)
{
    static const char *const words[] = {"",       "completed", "partial",
                                        "failed", "released",  "cancelled"};
    char cause[48];
    LateFinish late = {*fence, verdict->outcome, verdict->retry};
    catalogue_ghost(c, late_finish, &late, sizeof late);
    if (!catalogue_ask(c, "finish", err))
        return false;
    snprintf(cause, sizeof cause, "%.*s", TEXT_ARG(verdict->cause));
    bool done = model_finish(catalogue_model(), catalogue_worker(c), fence, verdict->outcome, cause,
                             verdict->retry, state, fenced, err);
    trace("finish job=%" PRIu64 " attempt=%" PRIu64 " as %s (%s): %s", fence->job, fence->attempt,
          words[verdict->outcome], cause, done ? state : err->cause);
    return catalogue_answer(c, done, err);
}

/* A fence that does not hold is a result of these calls, not a failure. */
static bool fence_only(Catalog *c, const char *what, const Fence *fence, bool *fenced, bool *cancel,
                       Err *err)
{
    Err why = {0};
    if (!catalogue_ask(c, what, err))
        return false;
    const ModelJob *job = model_fence(catalogue_model(), catalogue_worker(c), fence, &why);
    *fenced = job == NULL;
    *cancel = job != NULL && job->cancel_requested;
    return catalogue_answer(c, true, err);
}

bool catalog_job_log(Catalog *c, const Fence *fence, const JobLogLine *lines, size_t count,
                     bool *fenced, Err *err)
{
    bool cancel;
    (void)lines, (void)count;
    return fence_only(c, "job_log", fence, fenced, &cancel, err);
}

bool catalog_job_answer(Catalog *c, const Fence *fence, Text json, bool *fenced, Err *err)
{
    bool cancel;
    (void)json;
    return fence_only(c, "job_answer", fence, fenced, &cancel, err);
}

bool catalog_restore_answered(Catalog *c, const Fence *fence, Buf *answer, Err *err)
{
    bool cancel, fenced;
    (void)answer;
    return fence_only(c, "restore_answered", fence, &fenced, &cancel, err);
}

/* --- packs and backups ----------------------------------------------------------------------- */

bool catalog_repository_bind(Catalog *c, const Fence *fence, const Uuid *repository,
                             uint64_t *gc_epoch, uint64_t *confirmed_epoch, Err *err)
{
    *gc_epoch = *confirmed_epoch = 0;
    if (!catalogue_ask(c, "bind", err))
        return false;
    bool done = model_bind(catalogue_model(), catalogue_worker(c), fence, repository, err);
    return catalogue_answer(c, done, err);
}

bool catalog_pack_begin(Catalog *c, const Fence *fence, const Uuid *object, const Uuid *pack,
                        PackKind kind, uint64_t *pack_no, Err *err)
{
    (void)pack, (void)kind;
    if (!catalogue_ask(c, "pack_begin", err))
        return false;
    bool done =
        model_pack_begin(catalogue_model(), catalogue_worker(c), fence, object, pack_no, err);
    return catalogue_answer(c, done, err);
}

bool catalog_pack_stage(Catalog *c, const Fence *fence, const PackRow *row, Err *err)
{
    if (!catalogue_ask(c, "pack_stage", err))
        return false;
    bool done = model_pack_stage(catalogue_model(), catalogue_worker(c), fence, row->pack_no,
                                 &row->object, &row->sha256, err);
    return catalogue_answer(c, done, err);
}

bool catalog_pack_adopt(Catalog *c, const Fence *fence, PackVisit *visit, void *ctx, Err *err)
{
    if (!catalogue_ask(c, "pack_adopt", err))
        return false;
    const Model *m = catalogue_model();
    bool done = model_adopt(catalogue_model(), catalogue_worker(c), fence, err);
    for (size_t i = 0; done && i < m->packs.count; i++) {
        const ModelPack *pack = &m->packs.rows[i];
        if (pack->job != fence->job || pack->attempt != fence->attempt || pack->live ||
            !pack->stored)
            continue;
        PackRow row = {.pack_no = i + 1, .object = pack->object, .sha256 = pack->sha256};
        done = visit(ctx, &row, err);
    }
    return catalogue_answer(c, done, err);
}

typedef struct LateCommit {
    Fence fence;
    BackupRow row; /* its packs are the child's, which stays as long as the history */
} LateCommit;

static void late_commit(Model *m, uint32_t worker, const void *args)
{
    const LateCommit *late = args;
    CommitAnswer answer;
    char detail[256];
    Err err = {0};
    if (model_commit(m, worker, &late->fence, &late->row, &answer, detail, &err))
        trace("late commit job=%" PRIu64 " answer=%d", late->fence.job, (int)answer);
}

bool catalog_backup_commit(Catalog *c, const Fence *fence, const BackupRow *row,
                           CommitAnswer *answer, char detail[256], Err *err)
{
    static const char *const words[] = {"", "ok", "already", "fenced", "damaged"};
    LateCommit late = {*fence, *row};
    catalogue_ghost(c, late_commit, &late, sizeof late);
    if (!catalogue_ask(c, "commit", err))
        return false;
    bool done =
        model_commit(catalogue_model(), catalogue_worker(c), fence, row, answer, detail, err);
    trace("commit job=%" PRIu64 " attempt=%" PRIu64 " packs=%zu: %s", fence->job, fence->attempt,
          row->pack_count, done ? words[*answer] : err->cause);
    return catalogue_answer(c, done, err);
}

bool catalog_marker_done(Catalog *c, const Fence *fence, const Uuid *backup, Err *err)
{
    if (!catalogue_ask(c, "marker", err))
        return false;
    bool done = model_marker(catalogue_model(), catalogue_worker(c), fence, backup, err);
    return catalogue_answer(c, done, err);
}
