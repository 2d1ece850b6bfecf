/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/job/verify_round.h"

#include "common/base/crashpoint.h"
#include "common/base/json.h"
#include "common/base/mem.h"
#include "common/base/rate.h"
#include "common/catalog/catalog_verify.h"
#include "common/repo/verify.h"
#include "worker/job/proving.h"
#include "worker/job/session.h"

#include <inttypes.h>
#include <stdio.h>

enum { LOSSES_SHOWN = 50 };

typedef struct Round {
    Job *job;
    bool content;
    Session session;
    VerifyRound plan;
    uint64_t after; /* place of the last pack that was looked at */
    Rate rate;
    PackRow rows[PROVING_AT_ONCE];
    size_t count;
    uint64_t seen_nos[PROVING_AT_ONCE]; /* and found good */
    Sha256 seen_hashes[PROVING_AT_ONCE];
    size_t seen_count;
    uint64_t packs, bytes, damaged; /* of this attempt */
    VerifyJudged judged;
} Round;

/* --- what the catalogue is asked ------------------------------------------------------------ */

static bool call_begin(Catalog *catalog, void *ctx, Err *err)
{
    Round *round = ctx;
    return catalog_verify_begin(catalog, &round->job->fence, &round->plan, err);
}

static bool call_next(Catalog *catalog, void *ctx, Err *err)
{
    Round *round = ctx;
    uint64_t after = round->after;
    round->count = PROVING_AT_ONCE;
    if (!catalog_verify_next(catalog, &round->job->fence, &after, round->rows, &round->count, err))
        return false;
    round->after = after;
    return true;
}

static bool call_seen(Catalog *catalog, void *ctx, Err *err)
{
    Round *round = ctx;
    return catalog_verify_seen(catalog, &round->job->fence, round->seen_nos, round->seen_hashes,
                               round->seen_count, err);
}

static bool call_end(Catalog *catalog, void *ctx, Err *err)
{
    Round *round = ctx;
    mem_free(round->judged.losses);
    return catalog_verify_end(catalog, &round->job->fence, &round->judged, err);
}

/* --- looking -------------------------------------------------------------------------------- */

static void judge(Round *round, const VerifyLook *look)
{
    Job *job = round->job;
    char name[UUID_TEXT];
    round->packs++;
    round->bytes += look->row.bytes;
    job->counters.items_done++;
    job->counters.bytes_done += look->row.bytes;
    if (look->good) {
        round->seen_nos[round->seen_count] = look->row.pack_no;
        round->seen_hashes[round->seen_count++] = look->row.sha256;
        return;
    }
    round->damaged++;
    job->counters.errors++;
    uuid_text(&look->row.object, name);
    job_log(job, LOG_ERROR, "verify.damaged", "%s: %s", name, look->why.text);
    proving_mark_damaged(job, look->row.pack_no, &look->why);
}

static bool go_on(void *ctx, Err *err)
{
    return job_go_on(ctx, err);
}

/* Packs first..first + count of those at hand. */
static bool look_at(Round *round, size_t first, size_t count, Err *err)
{
    Job *job = round->job;
    VerifyLook looks[PROVING_AT_ONCE] = {0};
    ChunkRow *kept[PROVING_AT_ONCE] = {0};
    size_t bytes = 0;
    bool fine = job_go_on(job, err);
    for (size_t i = 0; i < count; i++) {
        looks[i].row = round->rows[first + i];
        looks[i].whole = round->content;
        bytes += looks[i].row.bytes;
        fine = fine && (!round->content || proving_rows(job, &looks[i].row, &kept[i], err));
    }
    fine = fine && verify_packs(round->session.repo, looks, count, err);
    round->seen_count = 0;
    for (size_t i = 0; fine && i < count; i++)
        judge(round, &looks[i]);
    for (size_t i = 0; i < count; i++)
        mem_free(kept[i]);
    CRASHPOINT("verify.looked");
    fine = fine && (round->seen_count == 0 || patient_call(job->catalog, call_seen, round, err));
    CRASHPOINT("verify.seen");
    return fine && rate_wait(rate_take(&round->rate, bytes), go_on, job, err);
}

/* With a limit one after another, so that no burst is larger than a pack. */
static bool look_at_all(Round *round, Err *err)
{
    for (;;) {
        if (!patient_call(round->job->catalog, call_next, round, err))
            return false;
        if (round->count == 0)
            return true;
        size_t most = round->rate.bytes_a_second == 0 ? round->count : 1;
        for (size_t at = 0; at < round->count; at += most)
            if (!look_at(round, at, most, err))
                return false;
    }
}

/* --- the end -------------------------------------------------------------------------------- */

static json_t *answer_of(const Round *round)
{
    json_t *losses = json_array();
    for (size_t i = 0; i < round->judged.loss_count && i < LOSSES_SHOWN; i++) {
        const VerifyLoss *loss = &round->judged.losses[i];
        char backup[BACKUP_ID_TEXT], object[UUID_TEXT];
        uuid_backup_text(&loss->backup, backup);
        uuid_text(&loss->object, object);
        json_array_append_new(losses, json_pack("{s:s, s:s, s:I}", "backup", backup, "pack", object,
                                                "lost_chunks", (json_int_t)loss->chunks));
    }
    return json_pack("{s:s, s:b, s:I, s:I, s:I, s:I, s:I, s:I, s:o}", "level",
                     round->content ? "content" : "stored", "round", 1, "packs",
                     (json_int_t)round->packs, "bytes", (json_int_t)round->bytes, "planned_packs",
                     (json_int_t)round->plan.packs, "planned_bytes", (json_int_t)round->plan.bytes,
                     "damaged", (json_int_t)round->damaged, "proved",
                     (json_int_t)round->judged.proved, "losses", losses);
}

/* How many backups there are among the losses; those of one stand together. */
static size_t backups_of(const VerifyJudged *judged)
{
    size_t count = 0;
    for (size_t i = 0; i < judged->loss_count; i++)
        count += i == 0 || !uuid_equal(&judged->losses[i].backup, &judged->losses[i - 1].backup);
    return count;
}

static bool refuse(const Round *round, Err *err)
{
    const VerifyJudged *judged = &round->judged;
    scoped(buf_free) Buf named = {0};
    size_t shown = 0;
    for (size_t i = 0; i < judged->loss_count && shown < 3; i++) {
        char backup[BACKUP_ID_TEXT], object[UUID_TEXT];
        uuid_backup_text(&judged->losses[i].backup, backup);
        uuid_text(&judged->losses[i].object, object);
        buf_printf(&named, "%s%s (pack %s)", shown++ == 0 ? "" : ", ", backup, object);
    }
    return err_set(err, ERR_CORRUPT, "verify.damaged",
                   "%zu backups have lost something: %s%s; run the source again, which stores what "
                   "is still there, or see holdfast damage",
                   backups_of(judged), buf_cstr(&named),
                   judged->loss_count > shown ? " and more" : "");
}

static bool finish(Round *round, JobResult *result, Err *err)
{
    if (!patient_call(round->job->catalog, call_end, round, err))
        return false;
    result->answer = answer_of(round);
    if (round->judged.loss_count > 0)
        return refuse(round, err);
    snprintf(result->text, sizeof result->text,
             "%s ok: %" PRIu64 " packs, %" PRIu64 " bytes, %" PRIu64 " backups proved%s",
             round->content ? "content" : "stored", round->packs, round->bytes,
             round->judged.proved,
             round->damaged == 0 ? "" : "; what damaged packs held is stored elsewhere by now");
    return true;
}

bool verify_round_run(Job *job, bool content, JobResult *result, Err *err)
{
    const json_t *store = json_object_get(job->repository, "store");
    uint64_t own = json_u64_or(job->params, "rate", 0);
    uint64_t most = json_u64_or(store, "max_rate", 0);
    Round round = {.job = job, .content = content};
    round.rate.bytes_a_second = own == 0 || (most != 0 && most < own) ? most : own;
    bool fine = session_open(&round.session, job, content ? SESSION_READ : SESSION_STORED, err) &&
                patient_call(job->catalog, call_begin, &round, err);
    job_phase(job, "verify");
    job->counters.bytes_total = round.plan.bytes;
    job->counters.bytes_done = round.plan.done_bytes;
    job->counters.total_basis = "plan";
    fine = fine && look_at_all(&round, err) && finish(&round, result, err);
    mem_free(round.judged.losses);
    session_close(&round.session);
    return fine;
}
