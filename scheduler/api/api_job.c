/* SPDX-License-Identifier: Apache-2.0 */
#include "scheduler/api/api.h"

#include "common/base/json.h"
#include "common/catalog/catalog_audit.h"
#include "common/catalog/catalog_job.h"
#include "common/catalog/catalog_plan.h"

#include <stdlib.h>

#define STATES "pending,queued,running,completed,partial,failed,cancelled,skipped,missed"
#define KINDS  "backup,restore,verify,copy,prune,retention,rebuild,health,probe"

bool api_job_page(ApiCall *call, const char *only, Err *err)
{
    scoped(buf_free) Buf cursor = {0};
    scoped(buf_free) Buf source = {0};
    scoped(buf_free) Buf state = {0};
    scoped(buf_free) Buf kind = {0};
    ViewArgs args = {0};
    if (!api_page(call, API_CURSOR_NUMBER, &args, &cursor, err) || !api_span(call, &args, err) ||
        !api_choice(call, "state", STATES, &state, err) ||
        (only == NULL && !api_choice(call, "kind", KINDS, &kind, err)))
        return false;
    api_query(call, "source", &source);
    args.source = buf_text(&source);
    args.state = buf_text(&state);
    args.kind = only == NULL ? buf_text(&kind) : text_of(only);
    return catalog_view(call->catalog, VIEW_JOBS, &args, &call->answer->body, err);
}

bool api_job_list(ApiCall *call, Err *err)
{
    return api_job_page(call, NULL, err);
}

static bool known_job(bool done, Text id, Err *err)
{
    if (done || strcmp(err->cause, "view.nothing") != 0)
        return done;
    return err_set(err, ERR_MISSING, "job.unknown", "there is no job %.*s", TEXT_ARG(id));
}

bool api_job_show(ApiCall *call, Err *err)
{
    ViewArgs args = {0};
    return ids_job_parse(call->parts[0], &args.job, err) &&
           known_job(catalog_view(call->catalog, VIEW_JOB, &args, &call->answer->body, err),
                     call->parts[0], err);
}

bool api_job_logs(ApiCall *call, Err *err)
{
    scoped(buf_free) Buf cursor = {0};
    ViewArgs args = {0};
    if (!api_page(call, API_CURSOR_NUMBER, &args, &cursor, err) ||
        !api_number(call, "after", 0, &args.after, err) ||
        !ids_job_parse(call->parts[0], &args.job, err))
        return false;
    if (cursor.len != 0)
        args.after = strtoull(buf_cstr(&cursor), NULL, 10);
    args.cursor = (Text){0};
    return known_job(catalog_view(call->catalog, VIEW_JOB_LOGS, &args, &call->answer->body, err),
                     call->parts[0], err);
}

bool api_job_cancel(ApiCall *call, Err *err)
{
    uint64_t job;
    char state[16];
    if (!ids_job_parse(call->parts[0], &job, err) ||
        !catalog_job_cancel(call->catalog, job, text_of(call->token.name),
                            json_text_or(call->body, "reason", TEXT("")), state, err))
        return false;
    buf_printf(&call->answer->body, "{\"state\":\"%s\"}", state);
    return true;
}

bool api_job_retry(ApiCall *call, Err *err)
{
    uint64_t job;
    JobCreated created;
    if (!ids_job_parse(call->parts[0], &job, err) ||
        !catalog_job_retry(call->catalog, job, text_of(call->token.name), &created, err))
        return false;
    core_wake(call->params->core);
    return api_job_made(call, created.job, err);
}

bool api_job_made(ApiCall *call, uint64_t job, Err *err)
{
    char id[JOB_ID_TEXT];
    ViewArgs args = {.job = job};
    ids_job_text(job, id);
    call->answer->status = 202;
    buf_printf(&call->answer->location, "/api/v1/jobs/%s", id);
    return catalog_view(call->catalog, VIEW_JOB, &args, &call->answer->body, err);
}

/* What the log of who did what calls the making of a job of each kind. */
static const char *action_of(const char *kind, const json_t *params)
{
    if (json_object_get(params, "fetch") != NULL)
        return "backup.fetch";
    if (strcmp(kind, "backup") == 0)
        return "backup.run";
    if (strcmp(kind, "restore") == 0)
        return json_bool_or(params, "in_place", false) && json_object_get(params, "safety") == NULL
                   ? "restore.no_safety_backup"
                   : "restore.start";
    if (strcmp(kind, "verify") == 0)
        return "backup.verify";
    if (strcmp(kind, "rebuild") == 0)
        return text_equal(json_text_or(params, "what", TEXT("")), TEXT("merge"))
                   ? "catalogue.merge"
                   : "catalogue.rebuild";
    return NULL; /* probes only look */
}

static bool audit_job(ApiCall *call, const char *action, Text source, uint64_t job,
                      const Buf *params, Err *err)
{
    char id[JOB_ID_TEXT];
    if (action == NULL)
        return true;
    ids_job_text(job, id);
    AuditRow row = {.actor = text_of(call->token.name),
                    .actor_kind = TEXT("token"),
                    .via = TEXT("api"),
                    .client_ip = text_of(call->http->client_ip),
                    .action = text_of(action),
                    .object = source.len != 0 ? source : text_of(id),
                    .reason = json_text_or(call->body, "reason", (Text){0}),
                    .result = TEXT("ok"),
                    .detail = buf_text(params)};
    return catalog_audit_add(call->catalog, &row, err);
}

static bool blank(Text text)
{
    for (size_t i = 0; i < text.len; i++)
        if ((unsigned char)text.at[i] > ' ')
            return false;
    return true;
}

/* An emergency passes limits and windows, so that it is said why: it stands in the audit log, and
 * in what `why` answers. */
static bool as_emergency(const ApiCall *call, const char *kind, JobRequest *request, Err *err)
{
    Text reason = json_text_or(call->body, "reason", TEXT(""));
    const json_t *emergency = json_object_get(call->body, "emergency");
    if (emergency != NULL && !json_is_boolean(emergency))
        return err_set(err, ERR_USAGE, "job.emergency", "emergency is true or false");
    if (!json_is_true(emergency))
        return true;
    if (strcmp(kind, "backup") != 0)
        return err_set(err, ERR_USAGE, "job.emergency", "only a backup can be an emergency");
    if (blank(reason))
        return err_set(err, ERR_USAGE, "job.reason",
                       "an emergency goes past what protects others: give it a reason");
    request->trigger = TEXT("emergency");
    request->priority = JOB_PRIORITY_EMERGENCY;
    return true;
}

static bool tell_emergency(ApiCall *call, uint64_t job, Err *err)
{
    scoped(buf_free) Buf text = {0};
    buf_printf(&text, "asked as an emergency by %s: %.*s", call->token.name,
               TEXT_ARG(json_text_or(call->body, "reason", TEXT(""))));
    DecisionRow row = {
        .job = job, .verdict = TEXT("ran"), .code = TEXT("emergency"), .text = buf_text(&text)};
    return catalog_decision_add(call->catalog, &row, err);
}

bool api_make_job(ApiCall *call, const char *kind, Text source, Text pool, json_t *params,
                  uint64_t *job, Err *err)
{
    scoped(buf_free) Buf text = {0};
    JobCreated created;
    const char *action = action_of(kind, params);
    json_canonical(params, &text);
    json_decref(params);
    JobRequest request = {.kind = text_of(kind),
                          .trigger = TEXT("manual"),
                          .source = source,
                          .pool = pool,
                          .params = buf_text(&text),
                          .actor = text_of(call->token.name)};
    if (call->http->idempotency_key != NULL)
        request.idempotency_key = text_of(call->http->idempotency_key);
    if (!as_emergency(call, kind, &request, err) ||
        !catalog_job_create(call->catalog, &request, &created, err))
        return false;
    *job = created.job;
    bool emergency = request.priority == JOB_PRIORITY_EMERGENCY;
    bool done = created.again || (audit_job(call, emergency ? "backup.emergency" : action, source,
                                            created.job, &text, err) &&
                                  (!emergency || tell_emergency(call, created.job, err)));
    core_wake(call->params->core);
    return done;
}

Text api_key(const ApiCall *call)
{
    const char *key = call->http->idempotency_key;
    return key == NULL ? (Text){0} : text_of(key);
}

bool api_job_asked(ApiCall *call, const JobCreated *created, const char *action, Text object,
                   Text reason, Err *err)
{
    AuditRow row = {.actor = text_of(call->token.name),
                    .actor_kind = TEXT("token"),
                    .via = TEXT("api"),
                    .client_ip = text_of(call->http->client_ip),
                    .action = text_of(action),
                    .object = object,
                    .reason = reason,
                    .result = TEXT("ok"),
                    .detail = TEXT("{}")};
    if (!created->again && !catalog_audit_add(call->catalog, &row, err))
        return false;
    core_wake(call->params->core);
    return api_job_made(call, created->job, err);
}
