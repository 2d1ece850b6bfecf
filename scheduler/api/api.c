/* SPDX-License-Identifier: Apache-2.0 */
#include "scheduler/api/api.h"

#include "common/base/hash.h"
#include "common/base/json.h"
#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/base/rand.h"
#include "common/base/units.h"
#include "common/catalog/catalog_audit.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

static const char PREFIX[] = "/api/v1";
static const char TOKEN_PREFIX[] = "hf_";

static const struct {
    const char *method;
    const char *path;
    const char *role;
    bool (*handle)(ApiCall *call, Err *err);
    const char *symbol;
} routes[] = {
#define ROUTE(symbol, method, path, role, meaning) {method, path, role, api_##symbol, #symbol},
#include "protocol/routes.def"
#undef ROUTE
};
enum { ROUTE_COUNT = sizeof routes / sizeof *routes };

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

static Text next_part(Text *path)
{
    Text part = *path;
    const char *slash = memchr(path->at, '/', path->len);
    part.len = slash == NULL ? path->len : (size_t)(slash - path->at);
    size_t step = slash == NULL ? path->len : part.len + 1;
    *path = (Text){path->at + step, path->len - step};
    return part;
}

/* Does the path fit the pattern? {…} takes one part. */
static bool fits(const char *pattern, Text path, Text parts[API_PARTS])
{
    Text shape = text_of(pattern);
    size_t count = 0;
    while (shape.len != 0 && path.len != 0) {
        Text want = next_part(&shape);
        Text have = next_part(&path);
        if (want.len != 0 && want.at[0] == '{') {
            if (count == API_PARTS || have.len == 0)
                return false;
            parts[count++] = have;
        } else if (!text_equal(want, have))
            return false;
    }
    return shape.len == 0 && path.len == 0;
}

/* The route of a request; -1: no such path, -2: another method. */
static int find_route(const ServerCall *http, Text parts[API_PARTS])
{
    int found = -1;
    size_t skip = sizeof PREFIX - 1;
    if (strncmp(http->path, PREFIX, skip) != 0)
        return -1;
    for (int i = 0; i < ROUTE_COUNT; i++) {
        if (!fits(routes[i].path, text_of(http->path + skip), parts))
            continue;
        if (strcmp(routes[i].method, http->method) == 0)
            return i;
        found = -2;
    }
    return found;
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

static bool parse_body(ApiCall *call, Err *err)
{
    const char *type = call->http->content_type;
    bool json = type == NULL || strncasecmp(type, "application/json", 16) == 0;
    if (call->http->body.len == 0 || !json) {
        call->body = json_object();
        return true;
    }
    if (!json_parse(text_of_slice(call->http->body), &call->body, err))
        return err_set(err, ERR_USAGE, "request.json", "the body is not JSON");
    return json_is_object(call->body) ||
           err_set(err, ERR_USAGE, "request.json", "the body must be a JSON object");
}

/* RFC 9457. */
static void problem(ApiCall *call, const Err *err, int status)
{
    Buf *out = &call->answer->body;
    json_t *body =
        json_pack("{s:s+, s:s, s:i, s:s, s:s, s:s}", "type", "https://holdfast.example/problems/",
                  err->cause, "title", err_meaning(err->code), "status", status, "code", err->cause,
                  "detail", err->text, "request_id", call->http->request_id);
    if (body == NULL) /* words that are not UTF-8 */
        body = json_pack("{s:s, s:i, s:s, s:s}", "type", "about:blank", "status", status, "code",
                         err->cause, "request_id", call->http->request_id);
    if (call->problems != NULL)
        json_object_set(body, "errors", call->problems);
    buf_clear(out);
    json_canonical(body, out);
    json_decref(body);
    call->answer->status = status;
    call->answer->type = "application/problem+json";
}

static int status_of(const Err *err)
{
    if (strcmp(err->cause, "auth.required") == 0)
        return 401;
    if (strcmp(err->cause, "request.method") == 0)
        return 405;
    if (strcmp(err->cause, "policy.changed") == 0)
        return 412;
    return err_http_status(err->code);
}

static bool answer(ApiCall *call, ApiThread *thread, Err *err)
{
    Buf decoded[API_PARTS] = {0};
    int route = find_route(call->http, call->parts);
    if (route == -2)
        return err_set(err, ERR_USAGE, "request.method", "%s is not for this path",
                       call->http->method);
    if (route < 0)
        return err_set(err, ERR_MISSING, "request.path", "there is no such path");
    if (!reach_catalogue(call->params, thread, err))
        return false;
    call->catalog = thread->catalog;
    bool done = authenticate(call, routes[route].role, err) && parse_body(call, err);
    for (size_t i = 0; done && i < API_PARTS; i++) {
        done = server_decode(call->parts[i], false, &decoded[i]) ||
               err_set(err, ERR_USAGE, "request.path", "the path is not well-formed");
        call->parts[i] = buf_text(&decoded[i]);
    }
    done = done && routes[route].handle(call, err);
    for (size_t i = 0; i < API_PARTS; i++)
        buf_free(&decoded[i]);
    return done;
}

void api_handle(void *ctx, void *own, const ServerCall *http, ServerAnswer *reply)
{
    ApiCall call = {.params = ctx, .http = http, .answer = reply};
    Err err = {0};
    reply->status = 200;
    if (!answer(&call, own, &err)) {
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
    json_decref(call.body);
    json_decref(call.problems);
}

void api_page(const ApiCall *call, uint32_t *limit, Buf *cursor)
{
    scoped(buf_free) Buf text = {0};
    *limit = 100;
    if (server_query(call->http, "limit", &text)) {
        unsigned long asked = strtoul(buf_cstr(&text), NULL, 10);
        *limit = asked == 0 ? 100 : asked > 1000 ? 1000 : (uint32_t)asked;
    }
    server_query(call->http, "cursor", cursor);
}

/* A fresh token as text: the prefix lets scanners of leaked secrets find it. */
static void draw_token(char out[72])
{
    uint8_t random[32];
    rand_bytes(random, sizeof random);
    memcpy(out, TOKEN_PREFIX, 3);
    ids_hex(random, sizeof random, out + 3);
    explicit_bzero(random, sizeof random);
}

static bool make_token(Catalog *catalog, Text name, Text role, int64_t expires_ns, Text actor,
                       char text[72], uint64_t *id, Err *err)
{
    Sha256 hash;
    draw_token(text);
    hash_sha256((Slice){(const uint8_t *)text, strlen(text)}, &hash);
    return catalog_token_create(catalog, name, role, &hash, expires_ns, actor, id, err);
}

bool api_bootstrap_token(Catalog *catalog, const char *path, bool *made, Err *err)
{
    static const int64_t YEAR_NS = 365ll * 86400 * 1000000000;
    char text[72];
    bool any;
    int64_t now_ns;
    uint64_t id;
    *made = false;
    if (!catalog_token_any(catalog, TEXT("admin"), &any, err))
        return false;
    if (any)
        return true;
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return err_set_sys(err, err_code_of_errno(errno), "token.file", "writing %s", path);
    bool done = catalog_server_now(catalog, &now_ns, err) &&
                make_token(catalog, TEXT("admin"), TEXT("admin"), now_ns + YEAR_NS,
                           TEXT("scheduler"), text, &id, err);
    if (done && (fchmod(fd, 0600) != 0 || dprintf(fd, "%s\n", text) < 0 || fsync(fd) != 0))
        done = err_set_sys(err, ERR_IO, "token.file", "writing %s", path);
    explicit_bzero(text, sizeof text);
    close(fd);
    *made = done;
    return done;
}

bool api_token_create(ApiCall *call, Err *err)
{
    char text[72];
    char unnamed[32];
    int64_t now_ns;
    int64_t expires_ms;
    uint64_t id;
    Text role = json_text_or(call->body, "role", TEXT("viewer"));
    Text expires = json_text_or(call->body, "expires", TEXT("90d"));
    snprintf(unnamed, sizeof unnamed, "%.*s-%s", TEXT_ARG(role), call->http->request_id + 11);
    Text name = json_text_or(call->body, "name", text_of(unnamed));
    if (!units_duration_ms(expires, &expires_ms, err) ||
        !catalog_server_now(call->catalog, &now_ns, err) ||
        !make_token(call->catalog, name, role, now_ns + expires_ms * 1000000,
                    text_of(call->token.name), text, &id, err))
        return false;
    json_t *body = json_pack("{s:s+, s:s%, s:s%, s:s}", "id", "tk_", name.at, "name", name.at,
                             name.len, "role", role.at, role.len, "token", text);
    if (body == NULL)
        return err_set(err, ERR_USAGE, "token.name", "the name is not text");
    json_canonical(body, &call->answer->body);
    json_decref(body);
    explicit_bzero(text, sizeof text);
    call->answer->status = 201;
    return true;
}

bool api_token_revoke(ApiCall *call, Err *err)
{
    if (!catalog_token_revoke(call->catalog, call->parts[0], text_of(call->token.name), err))
        return false;
    buf_printf(&call->answer->body, "{\"state\":\"revoked\"}");
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
