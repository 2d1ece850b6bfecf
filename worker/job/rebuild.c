/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/job/rebuild.h"

#include "common/base/clock.h"
#include "common/base/json.h"
#include "worker/job/rebuild_internal.h"
#include "worker/job/session.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

void rebuild_find(Rebuild *rebuild, const char *kind, const char *format, ...)
{
    char text[500], event[48];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    snprintf(event, sizeof event, "rebuild.%s", kind);
    rebuild->params->note(rebuild->params->ctx, LOG_WARN, event, text);
    json_t *list = json_object_get(rebuild->findings, kind);
    if (list == NULL) {
        list = json_array();
        json_object_set_new(rebuild->findings, kind, list);
    }
    if (json_array_size(list) < REBUILD_LISTED)
        json_array_append_new(list, json_bytes(slice_of_text(text_of(text))));
}

bool rebuild_refused(const Err *err)
{
    return strcmp(err->cause, "catalogue.value") == 0 ||
           strcmp(err->cause, "catalogue.constraint") == 0;
}

typedef struct Begin {
    Rebuilder *who;
    const RebuildPlace *place;
    uint64_t known;
} Begin;

static bool call_begin(Catalog *catalog, void *ctx, Err *err)
{
    Begin *begin = ctx;
    return catalog_rebuild_begin(catalog, begin->who, begin->place, &begin->known, err);
}

typedef struct Done {
    const Rebuild *rebuild;
    uint64_t epoch, now;
    Text report;
} Done;

static bool call_done(Catalog *catalog, void *ctx, Err *err)
{
    Done *done = ctx;
    return catalog_rebuild_done(catalog, &done->rebuild->who, done->epoch,
                                done->rebuild->params->place.what, done->report, &done->now, err);
}

static json_t *report_of(const Rebuild *rebuild, uint64_t seconds)
{
    const RebuildCounts *counts = &rebuild->counts;
    const struct {
        const char *name;
        uint64_t value;
    } rows[] = {
        {"imported", counts->imported},
        {"recovered", counts->recovered},
        {"known", counts->known},
        {"zombies", counts->zombies},
        {"forgotten", counts->forgotten},
        {"bad", counts->bad},
        {"incomplete", counts->incomplete},
        {"lost", counts->lost},
        {"gaps", counts->gaps},
        {"indexes", counts->indexes},
        {"bad_indexes", counts->bad_indexes},
        {"packs", counts->packs},
        {"chunks", counts->chunks},
        {"strays", counts->strays},
        {"bad_strays", counts->bad_strays},
        {"gone", counts->gone},
        {"dead", counts->dead},
        {"holds", counts->holds},
        {"verifications", counts->verifications},
        {"proven_packs", counts->proven},
        {"damaged_packs", counts->known_damaged},
        {"seconds", seconds},
    };
    json_t *report = json_object();
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        json_object_set_new(report, rows[i].name, json_integer((json_int_t)rows[i].value));
    json_object_set(report, "findings", rebuild->findings);
    return report;
}

/* An epoch that cannot be read says nothing of what was collected: the repository stays as it is,
 * frozen, until the object is mended. */
static bool finish(Rebuild *rebuild, json_t **report, int64_t began_ns, Err *err)
{
    scoped(buf_free) Buf text = {0};
    uint64_t epoch = repo_facts(rebuild->params->repo)->epoch;
    *report = report_of(rebuild, (uint64_t)(clock_mono_ns() - began_ns) / 1000000000);
    json_canonical(*report, &text);
    if (epoch == REPO_EPOCH_UNKNOWN)
        return err_set(err, ERR_CORRUPT, "repo.epoch_damaged",
                       "everything was told again, but the object `epoch` does not open: put it "
                       "back from a copy of the store and run this once more");
    Done done = {.rebuild = rebuild, .epoch = epoch, .report = buf_text(&text)};
    if (!patient_call(rebuild->params->catalog, call_done, &done, err))
        return false;
    json_object_set_new(*report, "epoch", json_integer((json_int_t)done.now));
    return true;
}

bool rebuild_store(const RebuildParams *params, json_t **report, Err *err)
{
    int64_t began_ns = clock_mono_ns();
    RebuildPlace place = params->place;
    place.id = repo_facts(params->repo)->id;
    Rebuild rebuild = {.params = params, .who = params->who, .findings = json_object()};
    Begin begin = {.who = &rebuild.who, .place = &place};
    *report = NULL;
    bool fine = patient_call(params->catalog, call_begin, &begin, err) &&
                rebuild_packs(&rebuild, err) && rebuild_backups(&rebuild, err) &&
                rebuild_missed(&rebuild, err) && rebuild_holds(&rebuild, err) &&
                rebuild_proofs(&rebuild, err) && finish(&rebuild, report, began_ns, err);
    json_decref(rebuild.findings);
    return fine;
}

/* --- the job -------------------------------------------------------------------------------- */

static void job_note(void *ctx, LogLevel level, const char *event, const char *text)
{
    job_log(ctx, level, event, "%s", text);
}

static bool job_step(void *ctx, const char *phase, uint64_t done, uint64_t total, Err *err)
{
    Job *job = ctx;
    const char *now = job->counters.phase;
    job->counters.items_done = done;
    if (now == NULL || strcmp(now, phase) != 0)
        job_phase(job, phase);
    (void)total;
    return job_go_on(job, err);
}

bool rebuild_run(Job *job, JobResult *result, Err *err)
{
    Session session = {0};
    Text what = json_text_or(job->params, "what", TEXT("rebuild"));
    if (!text_equal(what, TEXT("rebuild")) && !text_equal(what, TEXT("merge")))
        return err_set(err, ERR_USAGE, "rebuild.what", "a catalogue is rebuilt or merged, not %.*s",
                       TEXT_ARG(what));
    if (!session_open(&session, job, SESSION_READ, err))
        return false;
    RebuildParams params = {.repo = session.repo,
                            .catalog = job->catalog,
                            .who = {.fence = job->fence},
                            .place = {.what = what},
                            .memory_bytes = job->settings->memory_bytes,
                            .ctx = job,
                            .note = job_note,
                            .go_on = job_step};
    bool fine = rebuild_store(&params, &result->answer, err);
    if (fine)
        snprintf(result->text, sizeof result->text,
                 "%llu backups came back; retention and collection stand still until `holdfast "
                 "retention resume`",
                 (unsigned long long)(json_u64_or(result->answer, "imported", 0) +
                                      json_u64_or(result->answer, "recovered", 0)));
    session_close(&session);
    return fine;
}
