/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/job/plain_prune.h"

#include "common/base/crashpoint.h"
#include "common/base/json.h"
#include "common/base/mem.h"
#include "common/catalog/catalog_plain.h"
#include "worker/job/stores.h"

#include <inttypes.h>
#include <stdio.h>

enum { META_MOST = 64 * 1024 };

typedef struct PlainPrune {
    Job *job;
    Store *store;
    PlainGoing *rows;
    size_t count;
    uint64_t gone_no; /* of the call */
    uint64_t gone, foreign;
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

bool plain_prune_run(Job *job, JobResult *result, Err *err)
{
    PlainPrune prune = {.job = job};
    const json_t *store = json_object_get(json_object_get(job->order, "plain"), "store");
    job_phase(job, "forget");
    bool fine = stores_open_prune(&prune.store, job->settings, store, TEXT(""), err) &&
                take_all(&prune, err);
    if (fine) {
        result->outcome = prune.foreign == 0 ? OUTCOME_COMPLETED : OUTCOME_PARTIAL;
        snprintf(result->text, sizeof result->text,
                 "%" PRIu64 " plain copies taken away, %" PRIu64 " files are not ours", prune.gone,
                 prune.foreign);
        result->answer = json_pack("{s:I, s:I}", "gone", (json_int_t)prune.gone, "foreign",
                                   (json_int_t)prune.foreign);
    }
    mem_free(prune.rows);
    store_close(prune.store);
    return fine;
}
