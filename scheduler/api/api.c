/* SPDX-License-Identifier: Apache-2.0 */
#include "scheduler/api/api.h"

#include "common/base/clock.h"
#include "common/base/hash.h"
#include "common/base/json.h"
#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/catalog/catalog_audit.h"
#include "scheduler/api/api_exchange.h"
#include "scheduler/plan/fleet_bundle.h"

#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

/* What a handler thread keeps. */
typedef struct ApiThread {
    Catalog *catalog;
} ApiThread;

void *api_thread_open(void *ctx)
{
    (void)ctx;
    return mem_new(ApiThread);
}

void api_thread_close(void *ctx, void *own)
{
    ApiThread *thread = own;
    (void)ctx;
    catalog_close(thread->catalog);
    mem_free(thread);
}

static bool reach_catalogue(const ApiParams *params, ApiThread *thread, Err *err)
{
    if (thread->catalog == NULL)
        return catalog_open(&thread->catalog, &params->catalog, err);
    return catalog_ok(thread->catalog) || catalog_reset(thread->catalog, err);
}

/* viewer < operator < admin; restorer and auditor are viewers too and may their own. */
static bool role_may(const char *has, const char *needs)
{
    if (strcmp(needs, "none") == 0 || strcmp(has, "admin") == 0 || strcmp(has, needs) == 0)
        return true;
    return strcmp(needs, "viewer") == 0 && strcmp(has, "") != 0;
}

static bool authenticate(ApiCall *call, const char *needs, Err *err)
{
    bool found = false;
    Sha256 hash;
    const char *header = call->http->authorization;
    if (strcmp(needs, "none") == 0)
        return true;
    if (header == NULL || strncasecmp(header, "Bearer ", 7) != 0)
        return err_set(err, ERR_DENIED, "auth.required", "this needs a token");
    hash_sha256((Slice){(const uint8_t *)header + 7, strlen(header + 7)}, &hash);
    if (!catalog_token_find(call->catalog, &hash, &call->token, &found, err))
        return false;
    if (!found)
        return err_set(err, ERR_DENIED, "auth.required",
                       "the token is unknown, expired or revoked");
    if (role_may(call->token.role, needs))
        return true;
    AuditRow row = {.actor = text_of(call->token.name),
                    .actor_kind = TEXT("token"),
                    .via = TEXT("api"),
                    .client_ip = text_of(call->http->client_ip),
                    .action = TEXT("api.denied"),
                    .object = text_of(call->http->path),
                    .result = TEXT("denied")};
    Err ignored = {0};
    if (!catalog_audit_add(call->catalog, &row, &ignored))
        log_err("audit.failed", &ignored);
    return err_set(err, ERR_DENIED, "auth.role", "this needs the role %s", needs);
}

/* "application/json; charset=utf-8" is application/json. */
static bool is_type(const char *header, const char *type)
{
    size_t len = strcspn(header, "; \t");
    return len == strlen(type) && strncasecmp(header, type, len) == 0;
}

/* A fleet file is read as it is, everything else is a JSON object. */
static bool parse_body(ApiCall *call, const ApiRoute *route, Err *err)
{
    static const char *const yaml[] = {"application/yaml", "application/x-yaml", "text/yaml",
                                       "text/x-yaml",      "text/plain",         "application/json",
                                       FLEET_BUNDLE_TYPE};
    const char *type = call->http->content_type;
    bool file = api_route_takes_file(route);
    call->body = json_object();
    if (call->http->body.len == 0)
        return true;
    bool known = type == NULL || (!file && is_type(type, "application/json"));
    for (size_t i = 0; file && !known && i < sizeof yaml / sizeof *yaml; i++)
        known = is_type(type, yaml[i]);
    if (!known)
        return err_set(err, ERR_USAGE, "request.type", "the body must be %s",
                       file ? "application/yaml or " FLEET_BUNDLE_TYPE : "application/json");
    if (file)
        return true;
    json_decref(call->body);
    call->body = NULL;
    if (!json_parse(text_of_slice(call->http->body), &call->body, err))
        return err_set(err, ERR_USAGE, "request.json", "the body is not JSON");
    if (memmem(call->http->body.at, call->http->body.len, "\\u0000", 6) != NULL)
        return err_set(err, ERR_USAGE, "request.json", "a text of the body holds a NUL");
    return json_is_object(call->body) ||
           err_set(err, ERR_USAGE, "request.json", "the body must be a JSON object");
}

/* RFC 9457. */
static void problem(ApiCall *call, const Err *err, int status)
{
    Buf *out = &call->answer->body;
    json_t *detail = json_string(err->text);
    if (detail == NULL) /* words that are not UTF-8 */
        detail = json_bytes((Slice){(const uint8_t *)err->text, strlen(err->text)});
    json_t *body =
        json_pack("{s:s+, s:s, s:i, s:s, s:o, s:s}", "type", "https://holdfast.example/problems/",
                  err->cause, "title", err_meaning(err->code), "status", status, "code", err->cause,
                  "detail", detail, "request_id", call->http->request_id);
    if (call->problems != NULL)
        json_object_set(body, "errors", call->problems);
    buf_clear(out);
    json_canonical(body, out);
    json_decref(body);
    call->answer->status = status;
    call->answer->type = "application/problem+json";
    if (status == 401)
        call->answer->auth = "Bearer realm=\"holdfast\"";
}

static int status_of(const Err *err)
{
    static const struct {
        const char *cause;
        int status;
    } others[] = {
        {"auth.required", 401}, {"request.method", 405},    {"policy.changed", 412},
        {"request.type", 415},  {"idempotency.other", 422},
    };
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        if (strcmp(err->cause, others[i].cause) == 0)
            return others[i].status;
    return err_http_status(err->code);
}

/* Every value of the query must be text, also those that nobody asks for. */
static bool check_query(const ApiCall *call, Err *err)
{
    scoped(buf_free) Buf text = {0};
    return server_decode(text_of(call->http->query), true, &text) ||
           err_set(err, ERR_USAGE, "request.query",
                   "the query is not well-formed: %%XX of UTF-8 text without NUL");
}

/* ?fields=a,b of what was found. */
static bool select_fields(ApiCall *call, const ApiRoute *route, Err *err)
{
    scoped(buf_free) Buf fields = {0};
    const ApiGives *gives = api_exchange_gives(route->symbol);
    if (!api_query(call, "fields", &fields) || gives == NULL || call->answer->type != NULL)
        return true;
    return api_exchange_select(gives, buf_text(&fields), &call->answer->body, err);
}

static bool answer(ApiCall *call, ApiThread *thread, Buf parts[API_PARTS], Err *err)
{
    const ApiRoute *route;
    if (!api_route_find(call->http, &route, parts, &call->answer->allow, err) ||
        !check_query(call, err))
        return false;
    /* What asks no token is answered while the catalogue is away, too. */
    if (strcmp(route->role, "none") != 0 && !reach_catalogue(call->params, thread, err))
        return false;
    for (size_t i = 0; i < API_PARTS; i++)
        call->parts[i] = buf_text(&parts[i]);
    call->catalog = thread->catalog;
    return authenticate(call, route->role, err) && parse_body(call, route, err) &&
           api_exchange_check(route->symbol, call->http->query, err) &&
           api_once(call, route, err) && select_fields(call, route, err);
}

void api_handle(void *ctx, void *own, const ServerCall *http, ServerAnswer *reply)
{
    ApiCall call = {.params = ctx, .http = http, .answer = reply};
    Buf parts[API_PARTS] = {0};
    Err err = {0};
    reply->status = 200;
    if (!answer(&call, own, parts, &err)) {
        int status = status_of(&err);
        problem(&call, &err, status);
        if (status >= 500) {
            char line[64];
            snprintf(line, sizeof line, "request=%s", http->request_id);
            log_context(line);
            log_err("http.failed", &err);
            log_context(NULL);
        }
    }
    for (size_t i = 0; i < API_PARTS; i++)
        buf_free(&parts[i]);
    json_decref(call.body);
    json_decref(call.problems);
}

bool api_query(const ApiCall *call, const char *name, Buf *out)
{
    return server_query(call->http->query, name, out) == SERVER_FOUND;
}

static bool all_digits(Text text)
{
    for (size_t i = 0; i < text.len; i++)
        if (text.at[i] < '0' || text.at[i] > '9')
            return false;
    return text.len != 0 && text.len <= 18;
}

/* A cursor is ours: whatever none of ours looks like is refused before SQL sees it. */
static bool cursor_fits(const Buf *cursor, ApiCursor kind)
{
    Uuid id;
    Err ignored = {0};
    const uint8_t *dot;
    size_t first;
    if (cursor->len == 0)
        return false;
    switch (kind) {
    case API_CURSOR_NUMBER:
        return all_digits(buf_text(cursor));
    case API_CURSOR_PAIR:
        dot = memchr(cursor->at, '.', cursor->len);
        first = dot == NULL ? 0 : (size_t)(dot - cursor->at);
        return dot != NULL && all_digits((Text){(const char *)cursor->at, first}) &&
               all_digits((Text){(const char *)dot + 1, cursor->len - first - 1});
    case API_CURSOR_UUID:
        return uuid_parse(buf_text(cursor), &id, &ignored);
    case API_CURSOR_NAME:
        return cursor->len <= 255;
    default:
        return false;
    }
}

bool api_number(const ApiCall *call, const char *name, uint64_t otherwise, uint64_t *out, Err *err)
{
    scoped(buf_free) Buf text = {0};
    *out = otherwise;
    if (!api_query(call, name, &text))
        return true;
    *out = all_digits(buf_text(&text)) ? strtoull(buf_cstr(&text), NULL, 10) : 0;
    return *out != 0 ||
           err_set(err, ERR_USAGE, "request.number", "%s is a number, 1 or more", name);
}

bool api_page(const ApiCall *call, ApiCursor kind, ViewArgs *args, Buf *cursor, Err *err)
{
    uint64_t asked;
    if (!api_number(call, "limit", 100, &asked, err))
        return false;
    args->limit = asked > 1000 ? 1000 : (uint32_t)asked;
    if (api_query(call, "cursor", cursor) && !cursor_fits(cursor, kind))
        return err_set(err, ERR_USAGE, "request.cursor",
                       "this cursor is not from this list; begin without one");
    args->cursor = buf_text(cursor);
    return true;
}

static bool instant(const ApiCall *call, const char *name, int64_t *out_ns, Err *err)
{
    scoped(buf_free) Buf text = {0};
    int64_t at_s;
    if (!api_query(call, name, &text))
        return true;
    if (!clock_parse(buf_cstr(&text), &at_s))
        return err_set(err, ERR_USAGE,
                       strcmp(name, "until") == 0 ? "request.until" : "request.since",
                       "'%s' is not an instant; write 2026-11-20T18:00Z", buf_cstr(&text));
    *out_ns = at_s * 1000000000;
    return true;
}

bool api_span(const ApiCall *call, ViewArgs *args, Err *err)
{
    if (!instant(call, "since", &args->since_ns, err) ||
        !instant(call, "until", &args->until_ns, err))
        return false;
    if (args->until_ns != 0)
        args->until_ns += 999999999; /* the whole of that second */
    return true;
}

bool api_choice(const ApiCall *call, const char *name, const char *choices, Buf *out, Err *err)
{
    if (!api_query(call, name, out))
        return true;
    for (const char *at = buf_cstr(out); *at != 0;) {
        size_t len = strcspn(at, ",");
        bool known = false;
        for (const char *row = choices; *row != 0 && !known;) {
            size_t step = strcspn(row, ",");
            known = step == len && strncmp(row, at, len) == 0;
            row += step + (row[step] == ',');
        }
        if (!known)
            return err_set(err, ERR_USAGE, "request.choice", "%s is one of %s", name, choices);
        at += len + (at[len] == ',');
    }
    return true;
}

bool api_version(ApiCall *call, Err *err)
{
    (void)err;
    buf_printf(&call->answer->body, "{\"version\":\"" HOLDFAST_VERSION "\"}");
    return true;
}

/* Answered by the loop itself (server_stream.h); the row is there for the documents. */
bool api_stream_put(ApiCall *call, Err *err)
{
    (void)call;
    return err_set(err, ERR_MISSING, "stream.gone", "there is no such stream");
}
