/* SPDX-License-Identifier: Apache-2.0
 * What would expire and why, under the policy in force or another one; retention now; and letting
 * it go on where it was frozen. */
#include "scheduler/api/api.h"

#include "common/base/clock.h"
#include "common/base/json.h"
#include "scheduler/core/retain.h"

static json_t *instant(int64_t at_ns)
{
    char text[CLOCK_TEXT];
    if (at_ns == 0)
        return json_null();
    clock_rfc3339(at_ns, text);
    return json_string(text);
}

static json_t *backup_of(const RetainPlan *plan, size_t i)
{
    const RetentionBackup *row = &plan->backups.rows[i];
    char id[BACKUP_ID_TEXT];
    uuid_backup_text(&row->id, id);
    return json_pack("{s:s, s:o, s:s, s:o, s:b, s:s, s:I, s:I, s:o}", "id", id, "consistent_at",
                     instant(row->at_ns), "state", row->outcome, "schedule",
                     row->schedule[0] == 0 ? json_null() : json_string(row->schedule), "expires",
                     (int)(plan->rulings[i].why == 0), "reason", plan->reasons[i], "bytes",
                     (json_int_t)row->bytes, "frees_bytes", (json_int_t)plan->frees[i],
                     "held_until", instant(row->held_until_ns));
}

static json_t *item_of(const RetentionSource *source, const RetainPlan *plan)
{
    json_t *backups = json_array();
    json_int_t frees = 0;
    for (size_t i = 0; i < plan->backups.count; i++) {
        json_array_append_new(backups, backup_of(plan, i));
        frees += (json_int_t)plan->frees[i];
    }
    return json_pack("{s:s, s:s, s:o, s:o, s:I, s:I, s:I, s:o}", "source", source->name, "store",
                     source->store, "key_set",
                     source->key_set[0] == 0 ? json_null() : json_string(source->key_set), "frozen",
                     plan->frozen[0] == 0 ? json_null() : json_string(plan->frozen), "kept",
                     (json_int_t)(plan->backups.count - plan->expires), "expires",
                     (json_int_t)plan->expires, "frees_bytes", frees, "backups", backups);
}

/* policy: the sources of another compiled one; NULL: the one in force. A source that it does not
 * have would have no rules. */
static bool add_items(ApiCall *call, const RetentionSources *sources, const json_t *policy,
                      json_t *items, Err *err)
{
    scoped(zones_free) Zones zones = {0};
    scoped(json_release) json_t *nothing = json_object();
    for (size_t i = 0; i < sources->count; i++) {
        const RetentionSource *source = &sources->rows[i];
        const json_t *spec = policy == NULL ? NULL : json_object_get(policy, source->name);
        RetainPlan plan;
        if (policy != NULL && spec == NULL)
            spec = nothing;
        if (!retain_look(call->catalog, &zones, source, spec, true, &plan, err))
            return false;
        if (plan.backups.count != 0 || !source->retired)
            json_array_append_new(items, item_of(source, &plan));
        retain_free(&plan);
    }
    return true;
}

static bool answer(ApiCall *call, const json_t *policy, Err *err)
{
    scoped(buf_free) Buf cursor = {0};
    scoped(buf_free) Buf name = {0};
    scoped(json_release) json_t *items = json_array();
    RetentionSources sources = {0};
    ViewArgs args = {0};
    if (!api_page(call, API_CURSOR_NAME, &args, &cursor, err))
        return false;
    uint32_t most = args.limit == 0 ? 100 : args.limit;
    bool one = api_query(call, "source", &name) && name.len != 0;
    bool done = catalog_retention_sources(call->catalog, buf_text(&name), args.cursor,
                                          one ? 1 : most, &sources, err) &&
                add_items(call, &sources, policy, items, err);
    size_t seen = 0;
    for (size_t i = 0; i < sources.count; i++)
        seen += i == 0 || sources.rows[i].source != sources.rows[i - 1].source;
    bool more = !one && seen == most;
    json_t *body =
        json_pack("{s:O, s:o}", "items", items, "next_cursor",
                  more ? json_string(sources.rows[sources.count - 1].name) : json_null());
    if (done)
        json_canonical(body, &call->answer->body);
    json_decref(body);
    catalog_retention_sources_free(&sources);
    return done;
}

bool api_retention_preview(ApiCall *call, Err *err)
{
    return answer(call, NULL, err);
}

bool api_retention_plan(ApiCall *call, Err *err)
{
    scoped(json_release) json_t *compiled = NULL;
    return api_policy_read(call, &compiled, err) &&
           answer(call, json_object_get(compiled, "sources"), err);
}

bool api_retention_run(ApiCall *call, Err *err)
{
    uint64_t job;
    return api_make_job(call, "retention", call->parts[0], (Text){0}, json_object(), &job, err) &&
           api_job_made(call, job, err);
}

bool api_source_suspect(ApiCall *call, Err *err)
{
    if (!catalog_source_suspect(call->catalog, call->parts[0],
                                json_text_or(call->body, "reason", TEXT("")),
                                text_of(call->token.name), err))
        return false;
    core_wake(call->params->core);
    buf_printf(&call->answer->body, "{\"state\":\"suspicious\"}");
    return true;
}

bool api_retention_resume(ApiCall *call, Err *err)
{
    uint32_t resumed = 0;
    Text store = json_text_or(call->body, "store", TEXT("")),
         source = json_text_or(call->body, "source", TEXT(""));
    if (store.len != 0 && source.len != 0)
        return err_set(err, ERR_USAGE, "retention.both", "name a store or a source, not both");
    if (!catalog_retention_resume(call->catalog, store, source,
                                  json_text_or(call->body, "reason", TEXT("")),
                                  text_of(call->token.name), &resumed, err))
        return false;
    core_wake(call->params->core);
    buf_printf(&call->answer->body, "{\"state\":\"%s\"}",
               resumed == 0 ? "nothing was frozen" : "resumed");
    return true;
}

/* --- one backup ----------------------------------------------------------------------------- */

static bool add_ruling(const RetentionSource *source, Zones *zones, const RetainPlan *plan,
                       const Uuid *id, json_t *items, Err *err)
{
    char text[BACKUP_ID_TEXT];
    int64_t goes_s;
    uuid_backup_text(id, text);
    for (size_t i = 0; i < plan->backups.count; i++) {
        if (!uuid_equal(&plan->backups.rows[i].id, id))
            continue;
        if (!retain_goes(zones, source, plan, i, &goes_s, err))
            return false;
        json_array_append_new(
            items, json_pack("{s:s, s:s, s:s, s:b, s:s, s:o, s:o}", "backup", text, "source",
                             source->name, "store", source->store, "expires",
                             (int)(plan->rulings[i].why == 0), "reason", plan->reasons[i], "frozen",
                             plan->frozen[0] == 0 ? json_null() : json_string(plan->frozen),
                             "goes_at", instant(goes_s * 1000000000)));
    }
    return true;
}

bool api_retention_explain(ApiCall *call, Err *err)
{
    Uuid id;
    scoped(buf_free) Buf text = {0};
    scoped(json_release) json_t *backup = NULL;
    scoped(json_release) json_t *items = json_array();
    scoped(zones_free) Zones zones = {0};
    RetentionSources sources = {0};
    ViewArgs args = {.first = &id};
    if (!api_find_backup(call, call->parts[0], &id, err) ||
        !catalog_view(call->catalog, VIEW_BACKUP, &args, &text, err) ||
        !json_parse(buf_text(&text), &backup, err) ||
        !catalog_retention_sources(call->catalog, json_text_or(backup, "source", TEXT("")),
                                   (Text){0}, 1, &sources, err))
        return false;
    bool done = true;
    for (size_t i = 0; done && i < sources.count; i++) {
        RetainPlan plan;
        done = retain_look(call->catalog, &zones, &sources.rows[i], NULL, false, &plan, err);
        done = done && add_ruling(&sources.rows[i], &zones, &plan, &id, items, err);
        retain_free(&plan);
    }
    json_t *body = json_pack("{s:O, s:n}", "items", items, "next_cursor");
    if (done)
        json_canonical(body, &call->answer->body);
    json_decref(body);
    catalog_retention_sources_free(&sources);
    return done;
}

/* --- holds ---------------------------------------------------------------------------------- */

static bool hold(ApiCall *call, int64_t until_ns, Err *err)
{
    Uuid id;
    JobCreated made;
    return api_find_backup(call, call->parts[0], &id, err) &&
           catalog_backup_hold(call->catalog, &id, until_ns,
                               json_text_or(call->body, "reason", TEXT("")),
                               text_of(call->token.name), (Text){0}, &made, err) &&
           api_job_made(call, made.job, err);
}

bool api_backup_hold(ApiCall *call, Err *err)
{
    scoped(buf_free) Buf text = {0};
    Text until = json_text_or(call->body, "until", TEXT(""));
    int64_t until_s = KEEP_FOR_EVER_S;
    buf_add_text(&text, until);
    if (until.len != 0 && !clock_parse(buf_cstr(&text), &until_s))
        return err_set(err, ERR_USAGE, "request.until",
                       "'%.*s' is not an instant; write 2027-06-30 or 2027-06-30T18:00Z",
                       TEXT_ARG(until));
    int64_t until_ns = until_s * 1000000000;
    if (until_ns <= clock_wall_ns())
        return err_set(err, ERR_USAGE, "request.until", "that time is over");
    return hold(call, until_ns, err);
}

bool api_backup_release(ApiCall *call, Err *err)
{
    return hold(call, 0, err);
}
