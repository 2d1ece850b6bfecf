/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/job/prune.h"

#include "common/base/json.h"
#include "common/base/mem.h"
#include "common/catalog/catalog_collect.h"
#include "worker/job/collect.h"
#include "worker/job/forget.h"
#include "worker/job/orphans.h"
#include "worker/job/plain_prune.h"
#include "worker/job/proofs.h"
#include "worker/job/repacking.h"
#include "worker/job/reseal.h"

#include <inttypes.h>

/* Longer than any pack takes; a put that takes longer fails and is begun anew. */
enum { STALE_MS = 24 * 3600 * 1000 };

typedef struct Prune {
    Job *job;
    Session session;
    CollectCounts counts;
    RepackingCounts repacked;
    StoreSweep swept;
    ProofCounts proofs;
    ResealCounts resealed;
    RepackLook may_repack; /* in a dry run, and after a run of the collector */
    OrphanCounts orphans;
    uint64_t forgotten;
    json_t *answers; /* of the backups that were asked to go */
    bool dry_run;
} Prune;

static bool may_at_all(const Job *job, Err *err)
{
    return allow_prune_packs(job->settings->allow) > 0 ||
           err_set(err, ERR_DENIED, "not-allowed-here",
                   "this worker's own file lets it delete nothing; set allow.prune_packs in "
                   "worker.yaml there to the packs that one run may delete");
}

static bool forget_asked(Prune *prune, Err *err)
{
    const json_t *asked = json_object_get(prune->job->params, "forget");
    size_t count = json_array_size(asked);
    if (count == 0 || prune->dry_run)
        return true;
    scoped(mem_release) ForgetWish *wishes = mem_array(ForgetWish, count);
    for (size_t i = 0; i < count; i++) {
        const json_t *one = json_array_get(asked, i);
        Text id = {json_string_value(one), json_string_length(one)};
        if (!json_is_string(one) || !uuid_parse(id, &wishes[i].backup, err))
            return err_note(err, "which backups");
        wishes[i].reason = json_text_or(prune->job->params, "reason", TEXT(""));
    }
    return forget_wishes(prune->job, wishes, count, &prune->answers, err);
}

static json_t *report(const Prune *prune)
{
    const CollectCounts *n = &prune->counts;
    const RepackingCounts *repacked = &prune->repacked;
    const struct {
        const char *name;
        uint64_t value;
    } rows[] = {{"forgotten", prune->forgotten},
                {"condemned", n->condemned},
                {"condemned_bytes", n->condemned_bytes},
                {"flipped", n->flipped},
                {"pardoned", n->pardoned},
                {"spared", n->spared},
                {"damaged", n->damaged},
                {"quarantined", n->quarantined},
                {"deleted", n->deleted},
                {"freed", n->freed},
                {"deleted_again", n->again},
                {"indexes", n->indexes},
                {"left", n->left},
                {"live", n->live},
                {"looked", repacked->looked},
                {"repacked", repacked->packed},
                {"repacked_bytes", repacked->old_bytes},
                {"made", repacked->made},
                {"made_bytes", repacked->bytes},
                {"moved_backups", repacked->backups},
                {"found_damaged", repacked->damaged},
                {"told_checks", prune->proofs.checks},
                {"told_packs", prune->proofs.packs},
                {"stale_uploads", prune->swept.found},
                {"aborted_uploads", prune->swept.removed},
                {"may_repack", prune->may_repack.candidates},
                {"may_repack_bytes", prune->may_repack.candidate_bytes},
                {"half_dead", prune->may_repack.half_dead},
                {"half_dead_free", prune->may_repack.frees},
                {"would_repack", prune->may_repack.takes},
                {"would_repack_free", prune->may_repack.take_frees},
                {"named_bytes", prune->may_repack.named_bytes},
                {"unused_bytes", prune->may_repack.unused_bytes}};
    json_t *out = json_object();
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        json_object_set_new(out, rows[i].name, json_integer((json_int_t)rows[i].value));
    json_object_set_new(out, "dry_run", json_boolean(prune->dry_run));
    if (prune->resealed.asked)
        json_object_set_new(out, "reencrypt",
                            json_pack("{s:I, s:I, s:I, s:I, s:I, s:I}", "generation",
                                      (json_int_t)prune->resealed.generation, "steps",
                                      (json_int_t)prune->resealed.steps, "left",
                                      (json_int_t)prune->resealed.left_packs, "left_bytes",
                                      (json_int_t)prune->resealed.left_bytes, "objects",
                                      (json_int_t)prune->resealed.objects, "left_objects",
                                      (json_int_t)prune->resealed.left_objects));
    if (prune->answers != NULL)
        json_object_set(out, "forget", prune->answers);
    if (prune->orphans.scanned)
        json_object_set_new(out, "orphans", orphans_report(&prune->orphans));
    return out;
}

typedef struct Tell {
    const Fence *fence;
    Text done;
} Tell;

static bool call_tell(Catalog *catalog, void *ctx, Err *err)
{
    Tell *told = ctx;
    return catalog_collect_tell(catalog, told->fence, told->done, err);
}

static bool asked_for(const Prune *prune, const char *what)
{
    return json_bool_or(prune->job->params, what, false);
}

static void say_orphans(const Prune *prune, JobResult *result)
{
    const OrphanCounts *n = &prune->orphans;
    const QuarantineCounts *done = &n->quarantine;
    scoped(buf_free) Buf text = {0};
    buf_printf(&text,
               "%" PRIu64 " objects, %" PRIu64 " of them in no row, %" PRIu64 " bytes, and %" PRIu64
               " foreign ones; ",
               n->listed, n->orphans, n->bytes, n->foreign);
    if (n->blocked[0] != 0)
        buf_printf(&text, "only reported: %s", n->blocked);
    else if (prune->dry_run)
        buf_printf(&text, "%" PRIu64 " would go to quarantine, %" PRIu64 " away from there",
                   n->would_move, n->would_go);
    else
        buf_printf(&text,
                   "%" PRIu64 " went to quarantine, %" PRIu64 " away from there, %" PRIu64
                   " could not",
                   done->moved, done->deleted, done->kept);
    snprintf(result->text, sizeof result->text, "%.*s", TEXT_ARG(buf_text(&text)));
}

static double unused_percent(const Prune *prune)
{
    const RepackLook *look = &prune->may_repack;
    return look->named_bytes == 0 ? 0
                                  : 100 * (double)look->unused_bytes / (double)look->named_bytes;
}

static void say_preview(const Prune *prune, JobResult *result)
{
    const CollectCounts *n = &prune->counts;
    snprintf(result->text, sizeof result->text,
             "would condemn %" PRIu64 " of %" PRIu64 " packs, %" PRIu64 " bytes; %" PRIu64
             " are condemned already; %.1f %% of the rest is known to be unused: a repack would "
             "look into %" PRIu64 " packs and pack %" PRIu64 " anew, for %" PRIu64
             " bytes; would abort %" PRIu64 " uploads that nobody completes",
             n->condemned, n->live, n->condemned_bytes, n->flipped, unused_percent(prune),
             prune->may_repack.candidates, prune->may_repack.takes, prune->may_repack.take_frees,
             prune->swept.found);
}

static void say_done(const Prune *prune, JobResult *result)
{
    const CollectCounts *n = &prune->counts;
    char unused[64] = "";
    if (prune->may_repack.named_bytes > 0)
        snprintf(unused, sizeof unused, ", %.1f %% of what is kept is known to be unused",
                 unused_percent(prune));
    snprintf(result->text, sizeof result->text,
             "%" PRIu64 " backups forgotten, %" PRIu64 " packs condemned, %" PRIu64
             " deleted, %" PRIu64 " bytes freed; %" PRIu64 " partly dead packs made %" PRIu64
             " new ones%s; %" PRIu64 " uploads that nobody completed were aborted%s%s%s",
             prune->forgotten, n->condemned, n->deleted, n->freed, prune->repacked.packed,
             prune->repacked.made, unused, prune->swept.removed,
             n->quarantined > 0 ? "; damaged packs went to quarantine" : "",
             n->spared > 0 ? "; running jobs spare some" : "",
             n->left > 0 ? "; this worker's ceiling leaves some" : "");
}

static bool finish(Prune *prune, JobResult *result, Err *err)
{
    scoped(buf_free) Buf text = {0};
    result->answer = report(prune);
    if (asked_for(prune, "orphans"))
        say_orphans(prune, result);
    else if (prune->dry_run)
        say_preview(prune, result);
    else
        say_done(prune, result);
    if (prune->dry_run)
        return true;
    json_canonical(result->answer, &text);
    Tell told = {.fence = &prune->job->fence, .done = buf_text(&text)};
    return patient_call(prune->job->catalog, call_tell, &told, err);
}

/* Before collecting: what is left of half-dead packs goes in the same run. */
static bool repack(Prune *prune, Err *err)
{
    bool asked = json_bool_or(prune->job->params, "repack", false);
    if (json_bool_or(prune->job->params, "reencrypt", false))
        return reseal_run(prune->job, &prune->repacked, &prune->resealed, err) &&
               reseal_objects(&prune->session, prune->job, &prune->resealed, err);
    if (!json_bool_or(prune->job->params, "repack", true))
        return true;
    return repacking_run(prune->job, asked, &prune->repacked, err);
}

/* What writers that died had begun. A server that does not let it be looked at costs the run
 * nothing: packs go anyway. */
static void sweep(Prune *prune)
{
    Err why = {0};
    const json_t *store = json_object_get(prune->job->repository, "store");
    prune->swept = (StoreSweep){
        .age_ms = (int64_t)json_u64_or(store, "stale_uploads", STALE_MS),
        .look_only = prune->dry_run,
    };
    job_phase(prune->job, "sweep");
    if (!store_sweep(prune->session.store, &prune->swept, &why))
        job_log(prune->job, LOG_WARN, "prune.uploads_left",
                "uploads that nobody completes may be left, and are paid for: %s: %s", why.cause,
                why.text);
}

static bool look_for_orphans(Prune *prune, bool asked, Err *err)
{
    return orphans_run(&prune->session, prune->job, asked, prune->dry_run, &prune->orphans, err);
}

static bool run(Prune *prune, Err *err)
{
    bool anyway = json_text_or(prune->job->params, "reason", TEXT("")).len > 0;
    if (asked_for(prune, "orphans"))
        return look_for_orphans(prune, true, err);
    if (prune->dry_run) {
        sweep(prune);
        return collect_preview(prune->job, &prune->counts, &prune->may_repack, err);
    }
    bool collects = json_array_size(json_object_get(prune->job->params, "forget")) == 0;
    if (!proofs_tell(&prune->session, prune->job, &prune->proofs, err) ||
        !forget_asked(prune, err) ||
        !forget_objects(&prune->session, prune->job, &prune->forgotten, err))
        return false;
    if (!collects)
        return true;
    if (!repack(prune, err) ||
        !collect_run(&prune->session, prune->job, anyway, &prune->counts, err) ||
        !collect_unused(prune->job, &prune->may_repack, err))
        return false;
    sweep(prune);
    if (!look_for_orphans(prune, false, err))
        return false;
    return !prune->resealed.asked || reseal_tell(prune->job, &prune->resealed, err);
}

bool prune_run(Job *job, JobResult *result, Err *err)
{
    Prune prune = {.job = job, .dry_run = json_is_true(json_object_get(job->params, "dry_run"))};
    if (json_is_object(json_object_get(job->order, "plain")))
        return may_at_all(job, err) && plain_prune_run(job, result, err);
    bool fine = may_at_all(job, err) && session_open(&prune.session, job, SESSION_PRUNE, err) &&
                run(&prune, err) && finish(&prune, result, err);
    json_decref(prune.answers);
    session_close(&prune.session);
    return fine;
}
