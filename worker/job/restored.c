/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/job/restored.h"

#include "common/base/crashpoint.h"
#include "common/base/json.h"
#include "common/catalog/catalog_job.h"
#include "worker/engine/engine.h"
#include "worker/job/ceiling.h"

#include <stdio.h>

typedef struct Answered {
    const Fence *fence;
    Text told;
    Buf found;
} Answered;

static bool call_answered(Catalog *catalog, void *ctx, Err *err)
{
    Answered *answered = ctx;
    buf_clear(&answered->found);
    return catalog_restore_answered(catalog, answered->fence, &answered->found, err);
}

static bool call_answer(Catalog *catalog, void *ctx, Err *err)
{
    const Answered *answered = ctx;
    bool fenced = false;
    if (!catalog_job_answer(catalog, answered->fence, answered->told, &fenced, err))
        return false;
    return !fenced || err_set(err, ERR_FENCED, "job.fenced", "another attempt has this job");
}

/* What a restore in place, or of anything but files, left has no mark. */
static bool settle(Job *job, Err *err)
{
    const Engine *engine;
    char mark[JOB_ID_TEXT];
    Text type = json_text_or(job->source, "type", TEXT(""));
    json_t *target = json_object_get(job->params, "target");
    if (!job_engine(job, type, &engine, err))
        return false;
    if (engine->settle == NULL || target == NULL || json_bool_or(job->params, "in_place", false))
        return true;
    ids_job_text(job->fence.job, mark);
    scoped(json_release) json_t *request = json_pack("{s:O, s:s}", "target", target, "mark", mark);
    EngineHost host = job_host(job, NULL);
    EngineParams params = {.request = request, .host = &host, .lanes = 1};
    return ceiling_target(job, type, request, err) && engine->settle(&params, err);
}

bool restored_before(Job *job, bool *done, JobResult *result, Err *err)
{
    Answered answered = {.fence = &job->fence};
    json_t *report = NULL;
    *done = false;
    if (job->fence.attempt <= 1)
        return true;
    bool fine = patient_call(job->catalog, call_answered, &answered, err) &&
                (answered.found.len == 0 || json_parse(buf_text(&answered.found), &report, err));
    buf_free(&answered.found);
    if (!fine || report == NULL)
        return fine;
    if (!settle(job, err)) {
        json_decref(report);
        return false;
    }
    Text said = json_text_or(report, "said", TEXT(""));
    bool partial = json_bool_or(report, "partial", false);
    snprintf(result->text, sizeof result->text, "%.*s", TEXT_ARG(said));
    result->outcome = partial ? OUTCOME_PARTIAL : OUTCOME_COMPLETED;
    result->answer = report;
    job_log(job, LOG_INFO, "restore.done_before",
            "an earlier attempt had brought everything back; only its end was lost");
    *done = true;
    return true;
}

bool restored_tell(Job *job, const JobResult *result, Err *err)
{
    scoped(buf_free) Buf text = {0};
    json_object_set_new(result->answer, "said", json_string(result->text));
    json_object_set_new(result->answer, "partial",
                        json_boolean(result->outcome == OUTCOME_PARTIAL));
    json_canonical(result->answer, &text);
    Answered answered = {.fence = &job->fence, .told = buf_text(&text)};
    CRASHPOINT("restore.finished");
    if (!patient_call(job->catalog, call_answer, &answered, err))
        return false;
    CRASHPOINT("restore.told");
    if (!settle(job, err))
        return false;
    CRASHPOINT("restore.settled");
    return true;
}
