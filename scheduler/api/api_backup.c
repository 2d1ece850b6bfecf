/* SPDX-License-Identifier: Apache-2.0 */
#include "scheduler/api/api.h"

#include "common/base/json.h"
#include "common/base/rand.h"
#include "common/catalog/catalog_view.h"

#include <stdlib.h>
#include <time.h>

/* "2026-11-20T18:00" and longer forms of RFC 3339, in UTC where no zone is said. */
static bool parse_instant(const char *text, int64_t *ns)
{
    struct tm tm = {0};
    const char *rest = strptime(text, "%Y-%m-%dT%H:%M", &tm);
    if (rest == NULL)
        rest = strptime(text, "%Y-%m-%d", &tm);
    if (rest == NULL)
        return false;
    if (*rest == ':') {
        tm.tm_sec = atoi(rest + 1);
        rest += 1 + strspn(rest + 1, "0123456789.");
    }
    int64_t at = timegm(&tm);
    if (*rest == '+' || *rest == '-') {
        int minutes = atoi(rest + 1) * 60;
        const char *colon = strchr(rest, ':');
        minutes += colon == NULL ? 0 : atoi(colon + 1);
        at -= (*rest == '-' ? -1 : 1) * (int64_t)minutes * 60;
    } else if (*rest != 0 && *rest != 'Z')
        return false;
    *ns = at * 1000000000 + 999999999; /* the whole of that second */
    return true;
}

bool api_backup_list(ApiCall *call, Err *err)
{
    scoped(buf_free) Buf cursor = {0};
    scoped(buf_free) Buf source = {0};
    scoped(buf_free) Buf state = {0};
    scoped(buf_free) Buf until = {0};
    ViewArgs args = {0};
    api_page(call, &args.limit, &cursor);
    server_query(call->http, "source", &source);
    server_query(call->http, "state", &state);
    if (server_query(call->http, "until", &until) &&
        !parse_instant(buf_cstr(&until), &args.until_ns))
        return err_set(err, ERR_USAGE, "request.until",
                       "'%s' is not an instant; write 2026-11-20T18:00Z", buf_cstr(&until));
    args.cursor = buf_text(&cursor);
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

bool api_backup_verify(ApiCall *call, Err *err)
{
    uint64_t job;
    json_t *params = NULL;
    Text level = json_text_or(call->body, "level", TEXT("stored"));
    if (!text_equal(level, TEXT("stored")) && !text_equal(level, TEXT("content")))
        return err_set(err, ERR_USAGE, "verify.level", "level is stored or content");
    if (!backup_params(call, &params, err))
        return false;
    json_object_set_new(params, "level", json_stringn(level.at, level.len));
    return api_make_job(call, "verify", (Text){0}, json_text_or(call->body, "pool", (Text){0}),
                        params, &job, err) &&
           api_job_made(call, job, err);
}

bool api_backup_files(ApiCall *call, Err *err)
{
    uint64_t job;
    json_t *params = NULL;
    scoped(buf_free) Buf prefix = {0};
    scoped(buf_free) Buf limit = {0};
    if (!backup_params(call, &params, err))
        return false;
    json_object_set_new(params, "probe", json_string("backup_files"));
    if (server_query(call->http, "prefix", &prefix))
        json_object_set_new(params, "prefix", json_stringn(buf_cstr(&prefix), prefix.len));
    if (server_query(call->http, "limit", &limit))
        json_object_set_new(params, "limit",
                            json_integer((json_int_t)strtoul(buf_cstr(&limit), NULL, 10)));
    return api_make_job(call, "probe", (Text){0}, (Text){0}, params, &job, err) &&
           api_job_made(call, job, err);
}

/* The job streams to a ticket that only this answer and the job know; the caller waits for it. */
bool api_backup_fetch(ApiCall *call, Err *err)
{
    uint64_t job;
    json_t *params = NULL;
    char ticket[UUID_TEXT];
    Uuid random = rand_uuid();
    scoped(buf_free) Buf path = {0};
    if (!server_query(call->http, "path", &path) || path.len == 0)
        return err_set(err, ERR_USAGE, "fetch.path", "say which: ?path=");
    if (!backup_params(call, &params, err))
        return false;
    uuid_text(&random, ticket);
    json_object_set_new(
        params, "fetch",
        json_pack("{s:s%, s:s}", "path", buf_cstr(&path), path.len, "stream", ticket));
    if (!api_make_job(call, "restore", (Text){0}, (Text){0}, params, &job, err))
        return false;
    buf_printf(&call->answer->stream, "%s", ticket);
    return true;
}
