/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/job/plain_prune.h"

#include "common/base/crashpoint.h"
#include "common/base/json.h"
#include "common/base/mem.h"
#include "common/catalog/catalog_plain.h"
#include "worker/job/stores.h"

#include <inttypes.h>
#include <stdio.h>

enum {
    META_MOST = 64 * 1024,
    STALE_MS = 24 * 3600 * 1000, /* as in repositories */
};

typedef struct PlainPrune {
    Job *job;
    Store *store;
    PlainGoing *rows;
    size_t count;
    uint64_t gone_no; /* of the call */
    uint64_t gone, foreign;
    StoreSweep swept;
} PlainPrune;

static bool call_take(Catalog *catalog, void *ctx, Err *err)
{
    PlainPrune *prune = ctx;
    mem_free(prune->rows); /* of a try whose connection broke */
    prune->rows = NULL;
    return catalog_plain_take(catalog, &prune->job->fence, &prune->rows, &prune->count, err);
}

static bool call_gone(Catalog *catalog, void *ctx, Err *err)
{
    const PlainPrune *prune = ctx;
    return catalog_plain_gone(catalog, &prune->job->fence, prune->gone_no, err);
}

/* The .meta says the hash of the file that it lies beside. */
static bool meta_is_ours(PlainPrune *prune, const PlainGoing *row, const char *name, bool *there,
                         bool *ours, Err *err)
{
    char sha256[2 * sizeof row->sha256.bytes + 1];
    scoped(buf_free) Buf text = {0};
    scoped(json_release) json_t *meta = NULL;
    Err ignored = {0};
    *ours = false;
    if (!store_get(prune->store, name, META_MOST, there, &text, err))
        return false;
    ids_hex(row->sha256.bytes, sizeof row->sha256.bytes, sha256);
    *ours = *there && json_parse(buf_text(&text), &meta, &ignored) &&
            text_equal(json_text_or(meta, "sha256", TEXT("")), text_of(sha256));
    return true;
}

static bool take_away(PlainPrune *prune, const PlainGoing *row, Err *err)
{
    bool there, meta_there, meta_ours;
    uint64_t size;
    scoped(buf_free) Buf meta = {0};
    buf_printf(&meta, "%s.meta", row->name);
    if (!row->hashed) /* it never had its name */
        return true;
    if (!store_head(prune->store, row->name, &there, &size, err) ||
        !meta_is_ours(prune, row, buf_cstr(&meta), &meta_there, &meta_ours, err))
        return false;
    if (there && (size != row->bytes || (meta_there && !meta_ours))) {
        prune->foreign++;
        job_log(prune->job, LOG_WARN, "plain.foreign",
                "%s is not the file that was written there: it stays", row->name);
        return true;
    }
    if (there && !store_remove(prune->store, row->name, err))
        return false;
    CRASHPOINT("plain.removed");
    if (meta_ours && !store_remove(prune->store, buf_cstr(&meta), err))
        return false;
    prune->gone++;
    job_log(prune->job, LOG_INFO, "plain.forget", "%s: %s", row->name, row->why);
    return true;
}

static bool take_all(PlainPrune *prune, Err *err)
{
    uint64_t most = allow_prune_backups(prune->job->settings->allow);
    do {
        if (!patient_call(prune->job->catalog, call_take, prune, err))
            return false;
        for (size_t i = 0; i < prune->count; i++) {
            if (prune->gone >= most)
                return true;
            prune->gone_no = prune->rows[i].no;
            if (!job_go_on(prune->job, err) || !take_away(prune, &prune->rows[i], err) ||
                !patient_call(prune->job->catalog, call_gone, prune, err))
                return false;
        }
    } while (prune->count > 0);
    return true;
}

typedef struct Left {
    const Fence *fence;
    const char *name;
    bool left;
} Left;

static bool call_left(Catalog *catalog, void *ctx, Err *err)
{
    Left *left = ctx;
    return catalog_plain_left(catalog, left->fence, left->name, &left->left, err);
}

/* Others put what they like beside plain copies, and upload it as they like. */
static bool is_left(void *ctx, const char *name, bool *ours, Err *err)
{
    Job *job = ctx;
    Left left = {.fence = &job->fence, .name = name};
    *ours = false;
    if (!store_name_valid(name))
        return true;
    bool asked = job_go_on(job, err) && patient_call(job->catalog, call_left, &left, err);
    *ours = left.left;
    return asked;
}

/* What attempts that died had begun. A server that does not let it be looked at costs the run
 * nothing, unless it is this job that is over. */
static bool sweep(PlainPrune *prune, const json_t *store, Err *err)
{
    Err why = {0};
    prune->swept = (StoreSweep){.age_ms = (int64_t)json_u64_or(store, "stale_uploads", STALE_MS),
                                .ours = is_left,
                                .ctx = prune->job};
    job_phase(prune->job, "sweep");
    if (store_sweep(prune->store, &prune->swept, &why))
        return true;
    if (why.code == ERR_FENCED || why.code == ERR_CANCELLED) {
        *err = why;
        return false;
    }
    job_log(prune->job, LOG_WARN, "prune.uploads_left",
            "uploads that nobody completes may be left, and are paid for: %s: %s", why.cause,
            why.text);
    return true;
}

bool plain_prune_run(Job *job, JobResult *result, Err *err)
{
    PlainPrune prune = {.job = job};
    const json_t *store = json_object_get(json_object_get(job->order, "plain"), "store");
    job_phase(job, "forget");
    bool fine = stores_open_prune(&prune.store, job->settings, store, TEXT(""), err) &&
                take_all(&prune, err) && sweep(&prune, store, err);
    if (fine) {
        result->outcome = prune.foreign == 0 ? OUTCOME_COMPLETED : OUTCOME_PARTIAL;
        snprintf(result->text, sizeof result->text,
                 "%" PRIu64 " plain copies taken away, %" PRIu64 " files are not ours; %" PRIu64
                 " uploads that nobody completed were aborted",
                 prune.gone, prune.foreign, prune.swept.removed);
        result->answer = json_pack("{s:I, s:I, s:I}", "gone", (json_int_t)prune.gone, "foreign",
                                   (json_int_t)prune.foreign, "aborted_uploads",
                                   (json_int_t)prune.swept.removed);
    }
    mem_free(prune.rows);
    store_close(prune.store);
    return fine;
}
