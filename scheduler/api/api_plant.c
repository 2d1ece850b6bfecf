/* SPDX-License-Identifier: Apache-2.0
 * The plant as the API shows it: queues, workers, audit, tokens. The handlers keep
 * their routes' names, so this file's functions are named api_<route>. */
#include "scheduler/api/api.h"

#include "common/base/json.h"

static bool page_of(ApiCall *call, CatalogView view, ApiCursor kind, Err *err)
{
    scoped(buf_free) Buf cursor = {0};
    ViewArgs args = {0};
    return api_page(call, kind, &args, &cursor, err) &&
           catalog_view(call->catalog, view, &args, &call->answer->body, err);
}

bool api_queue_list(ApiCall *call, Err *err)
{
    return page_of(call, VIEW_QUEUES, API_CURSOR_NAME, err);
}

bool api_worker_list(ApiCall *call, Err *err)
{
    return page_of(call, VIEW_WORKERS, API_CURSOR_NAME, err);
}

bool api_worker_show(ApiCall *call, Err *err)
{
    ViewArgs args = {.name = call->parts[0]};
    scoped(buf_free) Buf body = {0};
    scoped(json_release) json_t *list = NULL;
    if (!catalog_view(call->catalog, VIEW_WORKERS, &args, &body, err) ||
        !json_parse(buf_text(&body), &list, err))
        return false;
    const json_t *worker = json_array_get(json_object_get(list, "items"), 0);
    if (worker == NULL)
        return err_set(err, ERR_MISSING, "worker.unknown", "there is no worker %.*s",
                       TEXT_ARG(call->parts[0]));
    json_canonical(worker, &call->answer->body);
    return true;
}

/* The number of stores is that of the fleet file: they come in one piece. */
bool api_store_list(ApiCall *call, Err *err)
{
    return catalog_view(call->catalog, VIEW_STORES, NULL, &call->answer->body, err);
}

/* The worker that tries gets the store as the fleet file has it; secrets in it are references. */
bool api_store_test(ApiCall *call, Err *err)
{
    size_t i;
    json_t *store;
    uint64_t job;
    scoped(buf_free) Buf body = {0};
    scoped(json_release) json_t *list = NULL;
    if (!catalog_view(call->catalog, VIEW_STORES, NULL, &body, err) ||
        !json_parse(buf_text(&body), &list, err))
        return false;
    json_array_foreach(json_object_get(list, "items"), i, store)
    {
        if (!text_equal(json_text_or(store, "name", TEXT("")), call->parts[0]))
            continue;
        json_t *tried = json_copy(json_object_get(store, "config"));
        json_object_set(tried, "name", json_object_get(store, "name"));
        json_t *params = json_pack("{s:s, s:o}", "probe", "store_test", "store", tried);
        return api_make_job(call, "probe", (Text){0}, json_text_or(call->body, "pool", TEXT("")),
                            params, &job, err) &&
               api_job_made(call, job, err);
    }
    return err_set(err, ERR_MISSING, "store.unknown", "there is no store %.*s",
                   TEXT_ARG(call->parts[0]));
}

bool api_damage_list(ApiCall *call, Err *err)
{
    scoped(buf_free) Buf store = {0};
    ViewArgs args = {.limit = 1000};
    api_query(call, "store", &store);
    args.name = buf_text(&store);
    return catalog_view(call->catalog, VIEW_DAMAGE, &args, &call->answer->body, err);
}

bool api_orphan_list(ApiCall *call, Err *err)
{
    scoped(buf_free) Buf store = {0};
    ViewArgs args = {.limit = 1000};
    api_query(call, "store", &store);
    args.name = buf_text(&store);
    return catalog_view(call->catalog, VIEW_ORPHANS, &args, &call->answer->body, err);
}

bool api_store_rebuild(ApiCall *call, Err *err)
{
    uint64_t job;
    Text what = json_text_or(call->body, "what", TEXT("rebuild"));
    Text key_set = json_text_or(call->body, "key_set", TEXT(""));
    if (!text_equal(what, TEXT("rebuild")) && !text_equal(what, TEXT("merge")))
        return err_set(err, ERR_USAGE, "rebuild.what", "what is rebuild or merge");
    json_t *params = json_pack("{s:s%, s:s%}", "store", call->parts[0].at, call->parts[0].len,
                               "what", what.at, what.len);
    if (key_set.len > 0)
        json_object_set_new(params, "key_set", json_stringn(key_set.at, key_set.len));
    return api_make_job(call, "rebuild", (Text){0}, json_text_or(call->body, "pool", TEXT("")),
                        params, &job, err) &&
           api_job_made(call, job, err);
}

bool api_audit_chain(ApiCall *call, Err *err)
{
    scoped(buf_free) Buf found = {0};
    scoped(json_release) json_t *view = NULL;
    if (!catalog_view(call->catalog, VIEW_AUDIT_BREAKS, NULL, &found, err) ||
        !json_parse(buf_text(&found), &view, err))
        return false;
    json_t *breaks = json_object_get(view, "items");
    json_t *chain = json_pack("{s:b, s:O, s:O, s:O}", "whole", json_array_size(breaks) == 0,
                              "events", json_object_get(view, "events"), "head",
                              json_object_get(view, "head"), "breaks", breaks);
    json_canonical(chain, &call->answer->body);
    json_decref(chain);
    return true;
}

bool api_audit_events(ApiCall *call, Err *err)
{
    scoped(buf_free) Buf cursor = {0};
    scoped(buf_free) Buf action = {0};
    ViewArgs args = {0};
    if (!api_page(call, API_CURSOR_NUMBER, &args, &cursor, err) || !api_span(call, &args, err))
        return false;
    api_query(call, "action", &action);
    args.name = buf_text(&action);
    return catalog_view(call->catalog, VIEW_AUDIT, &args, &call->answer->body, err);
}

bool api_token_list(ApiCall *call, Err *err)
{
    return page_of(call, VIEW_TOKENS, API_CURSOR_NUMBER, err);
}
