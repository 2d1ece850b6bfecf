/* SPDX-License-Identifier: Apache-2.0 */
#include "scheduler/api/api.h"

#include "common/base/clock.h"
#include "common/base/json.h"

#include <string.h>

bool api_restore_list(ApiCall *call, Err *err)
{
    return api_job_page(call, "restore", err);
}

/* `to` is a directory when it begins with '/', else the name of a new database. */
static json_t *target_of(Text to)
{
    const char *kind = to.len != 0 && to.at[0] == '/' ? "path" : "database";
    return json_pack("{s:s%}", kind, to.at, to.len);
}

/* Of a physical backup: where its tablespaces go. The engine knows which it has. */
static bool add_tablespaces(const json_t *body, json_t *params, Err *err)
{
    json_t *target = json_object_get(params, "target");
    json_t *map = json_object_get(body, "tablespaces");
    if (json_object_size(map) == 0)
        return true;
    if (json_object_get(target, "path") == NULL)
        return err_set(err, ERR_USAGE, "restore.tablespaces",
                       "tablespaces are mapped where a physical backup is restored into a "
                       "directory: say to with an absolute path");
    json_object_set(target, "tablespaces", map);
    return true;
}

/* Of files: what is given back only when it is asked for. A word that nobody knows would be
 * believed.
 */
static bool add_with(json_t *body, json_t *params, Err *err)
{
    static const char *const words[] = {"devices", "setuid", "security", "numeric_owner"};
    json_t *with = json_object_get(body, "with");
    size_t known = 0;
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        known += json_is_true(json_object_get(with, words[i]));
    if (known != json_object_size(with))
        return err_set(err, ERR_USAGE, "restore.with",
                       "with is devices, setuid, security or numeric_owner, each of them true: "
                       "what else of files is to be given back");
    if (known > 0)
        json_object_set(params, "options", with);
    return true;
}

/* To which instant the log is to be followed: latest, a time, a position, xid:N, name:TEXT. */
static bool recover_of(Text until, json_t **out, Err *err)
{
    static const struct {
        Text prefix;
        const char *key;
    } kinds[] = {{{"xid:", 4}, "xid"}, {{"name:", 5}, "name"}};
    int64_t at_s;
    scoped(buf_free) Buf text = {0};
    buf_add_text(&text, until);
    *out = json_object();
    if (text_equal(until, TEXT("latest")))
        return true;
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        size_t len = kinds[i].prefix.len;
        if (until.len > len && memcmp(until.at, kinds[i].prefix.at, len) == 0) {
            json_object_set_new(*out, kinds[i].key, json_stringn(until.at + len, until.len - len));
            return true;
        }
    }
    if (until.len < 18 && strspn(buf_cstr(&text), "0123456789ABCDEF/") == until.len &&
        strchr(buf_cstr(&text), '/') != NULL) {
        json_object_set_new(*out, "lsn", json_stringn(until.at, until.len));
        return true;
    }
    const char *hour = strchr(buf_cstr(&text), 'T');
    if (hour != NULL && clock_parse(buf_cstr(&text), &at_s)) {
        if (strpbrk(hour, "Z+-") == NULL)
            buf_add_byte(&text, 'Z');
        json_object_set_new(*out, "time", json_string(buf_cstr(&text)));
        return true;
    }
    json_decref(*out);
    *out = NULL;
    return err_set(err, ERR_USAGE, "restore.until",
                   "until is latest, a time (2026-11-22T10:00:00Z), a position in the log "
                   "(16/B374D848), xid:NUMBER or name:RESTORE-POINT, not %.*s",
                   TEXT_ARG(until));
}

/* A source stands for its newest backup, or the newest before `at`, that nothing is known against.
 */
static bool newest_good(ApiCall *call, Text source, Uuid *id, json_t **passed, Err *err)
{
    int64_t at_s;
    scoped(buf_free) Buf at = {0};
    scoped(buf_free) Buf body = {0};
    scoped(json_release) json_t *found = NULL;
    ViewArgs args = {.source = source};
    buf_add_text(&at, json_text_or(call->body, "at", TEXT("")));
    if (at.len != 0 && !clock_parse(buf_cstr(&at), &at_s))
        return err_set(err, ERR_USAGE, "request.at",
                       "'%s' is not an instant; write 2026-11-20T18:00Z", buf_cstr(&at));
    if (at.len != 0)
        args.until_ns = at_s * 1000000000;
    if (!catalog_view(call->catalog, VIEW_NEWEST_GOOD, &args, &body, err) ||
        !json_parse(buf_text(&body), &found, err) ||
        !uuid_backup_parse(json_text_or(found, "backup", TEXT("")), id, err))
        return false;
    *passed = json_incref(json_object_get(found, "passed_over"));
    return true;
}

static bool which_backup(ApiCall *call, Uuid *id, json_t **passed, Err *err)
{
    Text backup = json_text_or(call->body, "backup", TEXT(""));
    Text source = json_text_or(call->body, "source", TEXT(""));
    if ((backup.len == 0) == (source.len == 0))
        return err_set(err, ERR_USAGE, "restore.which",
                       "say which: backup, or source for its newest good one");
    return source.len != 0 ? newest_good(call, source, id, passed, err)
                           : api_find_backup(call, backup, id, err);
}

/* A dump of the worker's host, into the server of a source: nothing else of a restore goes with it.
 */
static bool file_params(ApiCall *call, Text file, json_t **params, Err *err)
{
    static const char *const others[] = {"backup", "at", "from", "until", "grant", "tablespaces"};
    Text to = json_text_or(call->body, "to", (Text){0});
    bool in_place = json_bool_or(call->body, "in_place", false);
    if (json_text_or(call->body, "source", TEXT("")).len == 0)
        return err_set(err, ERR_USAGE, "restore.file",
                       "say which source's server the file goes into: source");
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        if (json_is_string(json_object_get(call->body, others[i])) ||
            json_object_size(json_object_get(call->body, others[i])) > 0)
            return err_set(err, ERR_USAGE, "restore.file",
                           "a file is restored whole and as it is: `%s` is of backups", others[i]);
    if (json_object_size(json_object_get(call->body, "select")) > 0)
        return err_set(err, ERR_USAGE, "restore.file",
                       "a file is restored whole: parts are chosen of backups only");
    if (file.len == 0 || file.at[0] != '/')
        return err_set(err, ERR_USAGE, "restore.file",
                       "name the file by its whole path on the worker's host, as "
                       "/srv/dumps/shop.sql.gz");
    if ((to.len == 0) != in_place || (to.len > 0 && to.at[0] == '/'))
        return err_set(err, ERR_USAGE, "restore.where",
                       "say where: to, the name of a new or empty database, or in_place with "
                       "confirm");
    *params = json_pack("{s:s%, s:b}", "file", file.at, file.len, "in_place", in_place);
    if (to.len != 0)
        json_object_set_new(*params, "target", target_of(to));
    if (in_place && !json_bool_or(call->body, "no_safety_backup", false))
        json_object_set_new(*params, "safety", json_true());
    if (json_object_get(call->body, "confirm") != NULL)
        json_object_set(*params, "confirm", json_object_get(call->body, "confirm"));
    return true;
}

/* What a plan and a restore have in common: the job's params. */
static bool params_of(ApiCall *call, json_t **params, Err *err)
{
    Uuid id;
    json_t *passed = NULL;
    char text[UUID_TEXT];
    Text to = json_text_or(call->body, "to", (Text){0});
    bool in_place = json_bool_or(call->body, "in_place", false);
    Text file = json_text_or(call->body, "file", (Text){0});
    if (file.at != NULL)
        return file_params(call, file, params, err);
    if (to.len == 0 && !in_place)
        return err_set(err, ERR_USAGE, "restore.where", "say where: to, or in_place with confirm");
    if (!which_backup(call, &id, &passed, err))
        return false;
    uuid_text(&id, text);
    *params =
        json_pack("{s:s, s:b, s:o*}", "backup", text, "in_place", in_place, "skipped", passed);
    if (to.len != 0)
        json_object_set_new(*params, "target", target_of(to));
    if (!add_tablespaces(call->body, *params, err) || !add_with(call->body, *params, err))
        return false;
    Text from = json_text_or(call->body, "from", (Text){0});
    if (from.len != 0)
        json_object_set_new(*params, "store", json_stringn(from.at, from.len));
    Text until = json_text_or(call->body, "until", (Text){0});
    json_t *recover = NULL;
    if (until.len != 0 && !recover_of(until, &recover, err))
        return false;
    if (recover != NULL)
        json_object_set_new(*params, "recover", recover);
    if (json_bool_or(call->body, "delta", false))
        json_object_set_new(*params, "delta", json_true());
    if (in_place && !json_bool_or(call->body, "no_safety_backup", false))
        json_object_set_new(*params, "safety", json_true());
    static const char *const copied[] = {"confirm", "select", "grant"};
    for (size_t i = 0; i < sizeof copied / sizeof *copied; i++)
        if (json_object_get(call->body, copied[i]) != NULL)
            json_object_set(*params, copied[i], json_object_get(call->body, copied[i]));
    return true;
}

bool api_restore_plan(ApiCall *call, Err *err)
{
    uint64_t job;
    json_t *params = NULL;
    if (!params_of(call, &params, err)) {
        json_decref(params);
        return false;
    }
    json_object_set_new(params, "probe", json_string("restore_plan"));
    Text source = json_object_get(params, "file") == NULL
                      ? (Text){0} /* the backup's */
                      : json_text_or(call->body, "source", (Text){0});
    return api_make_job(call, "probe", source, json_text_or(call->body, "pool", (Text){0}), params,
                        &job, err) &&
           api_job_made(call, job, err);
}

/* The plan that was shown is what runs: its params, not the request's, make the job. */
static bool planned_params(ApiCall *call, Text plan, json_t **params, Buf *source, Err *err)
{
    ViewArgs args = {0};
    scoped(buf_free) Buf body = {0};
    scoped(json_release) json_t *job = NULL;
    if (!ids_job_parse(plan, &args.job, err) ||
        !catalog_view(call->catalog, VIEW_JOB, &args, &body, err) ||
        !json_parse(buf_text(&body), &job, err))
        return err_note(err, "the plan %.*s", TEXT_ARG(plan));
    const json_t *planned = json_object_get(job, "params");
    if (!text_equal(json_text_or(planned, "probe", TEXT("")), TEXT("restore_plan")) ||
        !text_equal(json_text_or(job, "state", TEXT("")), TEXT("completed")))
        return err_set(err, ERR_CONFLICT, "restore.plan",
                       "%.*s is not a finished plan; ask for one with POST /restores/plan",
                       TEXT_ARG(plan));
    *params = json_deep_copy(planned);
    json_object_del(*params, "probe");
    if (json_object_get(*params, "file") != NULL)
        buf_add_text(source, json_text_or(job, "source", TEXT("")));
    return true;
}

bool api_restore_start(ApiCall *call, Err *err)
{
    uint64_t job;
    Text plan;
    json_t *params = NULL;
    scoped(buf_free) Buf source = {0};
    return json_take_text(call->body, "plan", &plan, err) &&
           planned_params(call, plan, &params, &source, err) &&
           api_make_job(call, "restore", buf_text(&source),
                        json_text_or(call->body, "pool", (Text){0}), params, &job, err) &&
           api_job_made(call, job, err);
}
