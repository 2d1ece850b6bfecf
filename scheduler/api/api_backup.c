/* SPDX-License-Identifier: Apache-2.0 */
#include "scheduler/api/api.h"

#include "common/base/json.h"
#include "common/base/rand.h"

bool api_backup_list(ApiCall *call, Err *err)
{
    scoped(buf_free) Buf cursor = {0};
    scoped(buf_free) Buf source = {0};
    scoped(buf_free) Buf state = {0};
    scoped(buf_free) Buf store = {0};
    ViewArgs args = {0};
    if (!api_page(call, API_CURSOR_UUID, &args, &cursor, err) || !api_span(call, &args, err) ||
        !api_choice(call, "state", "completed,partial", &state, err))
        return false;
    api_query(call, "source", &source);
    api_query(call, "store", &store);
    args.name = buf_text(&store);
    args.source = buf_text(&source);
    args.state = buf_text(&state);
    return catalog_view(call->catalog, VIEW_BACKUPS, &args, &call->answer->body, err);
}

bool api_find_backup(ApiCall *call, Text text, Uuid *id, Err *err)
{
    Uuid last;
    scoped(buf_free) Buf body = {0};
    scoped(json_release) json_t *found = NULL;
    if (text.len == BACKUP_ID_TEXT - 1)
        return uuid_backup_parse(text, id, err);
    if (!uuid_backup_range(text, id, &last, err))
        return false;
    ViewArgs args = {.first = id, .last = &last, .limit = 2};
    if (!catalog_view(call->catalog, VIEW_BACKUPS, &args, &body, err) ||
        !json_parse(buf_text(&body), &found, err))
        return false;
    const json_t *items = json_object_get(found, "items");
    if (json_array_size(items) == 0)
        return err_set(err, ERR_MISSING, "backup.unknown", "there is no backup %.*s",
                       TEXT_ARG(text));
    if (json_array_size(items) > 1)
        return err_set(err, ERR_CONFLICT, "backup.ambiguous",
                       "several backups begin with %.*s; write more of it", TEXT_ARG(text));
    return uuid_backup_parse(json_text_or(json_array_get(items, 0), "id", TEXT("")), id, err);
}

bool api_backup_show(ApiCall *call, Err *err)
{
    Uuid id;
    ViewArgs args = {.first = &id};
    return api_find_backup(call, call->parts[0], &id, err) &&
           catalog_view(call->catalog, VIEW_BACKUP, &args, &call->answer->body, err);
}

/* {"backup": uuid} of the path's backup. */
static bool backup_params(ApiCall *call, json_t **params, Err *err)
{
    Uuid id;
    char text[UUID_TEXT];
    if (!api_find_backup(call, call->parts[0], &id, err))
        return false;
    uuid_text(&id, text);
    *params = json_pack("{s:s}", "backup", text);
    return true;
}

static bool is_level(Text level)
{
    static const char *const levels[] = {"stored", "content", "restore", "query"};
    for (size_t i = 0; i < sizeof levels / sizeof *levels; i++)
        if (text_equal(level, text_of(levels[i])))
            return true;
    return false;
}

bool api_backup_verify(ApiCall *call, Err *err)
{
    uint64_t job;
    json_t *params = NULL;
    Text level = json_text_or(call->body, "level", TEXT("stored"));
    Text store = json_text_or(call->body, "store", TEXT(""));
    if (!is_level(level))
        return err_set(err, ERR_USAGE, "verify.level",
                       "level is stored, content, restore or query");
    if (!backup_params(call, &params, err))
        return false;
    json_object_set_new(params, "level", json_stringn(level.at, level.len));
    if (json_is_string(json_object_get(call->body, "pool")))
        json_object_set(params, "pool", json_object_get(call->body, "pool"));
    if (store.len > 0)
        json_object_set_new(params, "store", json_stringn(store.at, store.len));
    return api_make_job(call, "verify", (Text){0}, json_text_or(call->body, "pool", (Text){0}),
                        params, &job, err) &&
           api_job_made(call, job, err);
}

/* A probe that lists: `prefix`, `limit` and `cursor` are every listing's. Takes params. */
static bool make_listing(ApiCall *call, json_t *params, Err *err)
{
    uint64_t job, limit;
    scoped(buf_free) Buf prefix = {0};
    scoped(buf_free) Buf cursor = {0};
    if (!api_number(call, "limit", 1000, &limit, err)) {
        json_decref(params);
        return false;
    }
    json_object_set_new(params, "probe", json_string("backup_files"));
    if (api_query(call, "prefix", &prefix))
        json_object_set_new(params, "prefix", json_stringn(buf_cstr(&prefix), prefix.len));
    if (api_query(call, "cursor", &cursor))
        json_object_set_new(params, "after", json_stringn(buf_cstr(&cursor), cursor.len));
    json_object_set_new(params, "limit", json_integer((json_int_t)limit));
    return api_make_job(call, "probe", (Text){0}, (Text){0}, params, &job, err) &&
           api_job_made(call, job, err);
}

bool api_backup_files(ApiCall *call, Err *err)
{
    json_t *params = NULL;
    scoped(buf_free) Buf children = {0};
    if (!api_choice(call, "children", "true,false", &children, err) ||
        !backup_params(call, &params, err))
        return false;
    if (text_equal(buf_text(&children), TEXT("true")))
        json_object_set_new(params, "children", json_true());
    return make_listing(call, params, err);
}

static bool show(ApiCall *call, const Uuid *id, json_t **shown, Err *err)
{
    scoped(buf_free) Buf body = {0};
    ViewArgs args = {.first = id};
    return catalog_view(call->catalog, VIEW_BACKUP, &args, &body, err) &&
           json_parse(buf_text(&body), shown, err);
}

/* Chunks have the same names within one key set only, and paths the same meaning within a source.
 */
static bool may_compare(ApiCall *call, const Uuid *one, const Uuid *other, Err *err)
{
    scoped(json_release) json_t *a = NULL, *b = NULL;
    if (!show(call, one, &a, err) || !show(call, other, &b, err))
        return false;
    Text own = json_text_or(a, "source", TEXT("")), others = json_text_or(b, "source", TEXT(""));
    if (!text_equal(own, others))
        return err_set(err, ERR_USAGE, "diff.other_source",
                       "they are backups of two sources, %.*s and %.*s: compare two of one source",
                       TEXT_ARG(others), TEXT_ARG(own));
    own = json_text_or(a, "key_set", TEXT("none"));
    others = json_text_or(b, "key_set", TEXT("none"));
    return text_equal(own, others) ||
           err_set(err, ERR_USAGE, "diff.other_keys",
                   "they lie under two key sets, %.*s and %.*s, which name the same content "
                   "differently: compare two of one key set, or restore both",
                   TEXT_ARG(others), TEXT_ARG(own));
}

bool api_backup_diff(ApiCall *call, Err *err)
{
    Uuid id, other;
    char text[UUID_TEXT];
    scoped(buf_free) Buf against = {0};
    if (!api_query(call, "against", &against) || against.len == 0)
        return err_set(err, ERR_USAGE, "diff.against", "say which other backup: ?against=");
    if (!api_find_backup(call, call->parts[0], &id, err) ||
        !api_find_backup(call, buf_text(&against), &other, err) ||
        !may_compare(call, &id, &other, err))
        return false;
    uuid_text(&id, text);
    json_t *params = json_pack("{s:s}", "backup", text);
    uuid_text(&other, text);
    json_object_set_new(params, "against", json_string(text));
    return make_listing(call, params, err);
}

/* The job streams to a ticket that only this answer and the job know; the caller waits for it.
 * Takes asked. */
static bool stream(ApiCall *call, json_t *asked, Err *err)
{
    uint64_t job;
    json_t *params = NULL;
    char ticket[UUID_TEXT];
    Uuid random = rand_uuid();
    if (!backup_params(call, &params, err)) {
        json_decref(asked);
        return false;
    }
    uuid_text(&random, ticket);
    json_object_set_new(asked, "stream", json_string(ticket));
    json_object_set_new(params, "fetch", asked);
    if (!api_make_job(call, "restore", (Text){0}, (Text){0}, params, &job, err))
        return false;
    buf_printf(&call->answer->stream, "%s", ticket);
    return true;
}

bool api_backup_fetch(ApiCall *call, Err *err)
{
    scoped(buf_free) Buf path = {0};
    if (!api_query(call, "path", &path) || path.len == 0)
        return err_set(err, ERR_USAGE, "fetch.path", "say which: ?path=");
    return stream(call, json_pack("{s:s%}", "path", buf_cstr(&path), path.len), err);
}

bool api_backup_export(ApiCall *call, Err *err)
{
    return stream(call, json_pack("{s:b}", "export", true), err);
}
