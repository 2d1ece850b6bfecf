/* SPDX-License-Identifier: Apache-2.0
 * A POST that is sent again with its Idempotency-Key is answered as the first time and done once.
 * The key belongs to the token's name and to one request (method, path, query, body); it is kept
 * for 24 hours. A request that failed did nothing and leaves no key. */
#include "common/base/hash.h"
#include "common/base/json.h"
#include "common/base/log.h"
#include "scheduler/api/api.h"

#include <stdio.h>

enum { KEY_MOST = 200 };

static bool key_fits(const char *key)
{
    size_t len = 0;
    while (key[len] > 0x20 && key[len] < 0x7f)
        len++;
    return len != 0 && len <= KEY_MOST && key[len] == 0;
}

static void digest_of(const ServerCall *http, Sha256 *out)
{
    scoped(buf_free) Buf text = {0};
    buf_printf(&text, "%s %s?%s\n", http->method, http->path, http->query);
    buf_add_slice(&text, http->body);
    hash_sha256(buf_slice(&text), out);
}

/* Where a made job is, as its first answer said. */
static void locate(ApiCall *call)
{
    Err ignored = {0};
    scoped(json_release) json_t *job = NULL;
    if (call->answer->status == 202 && json_parse(buf_text(&call->answer->body), &job, &ignored))
        buf_printf(&call->answer->location, "/api/v1/jobs/%.*s",
                   TEXT_ARG(json_text_or(job, "id", TEXT(""))));
}

/* What is kept of an answer. A token's is not: the catalogue holds no secrets, also not for a day.
 */
static void keep(ApiCall *call, const ApiRoute *route)
{
    Err err = {0};
    scoped(buf_free) Buf instead = {0};
    int status = call->answer->status;
    Text body = buf_text(&call->answer->body);
    if (strcmp(route->symbol, "token_create") == 0) {
        status = 409;
        server_problem(&instead, status, "token.shown_once",
                       "this token was made and shown once; revoke it and make another",
                       call->http->request_id);
        body = buf_text(&instead);
    }
    if (!catalog_idempotency_done(call->catalog, text_of(call->token.name),
                                  text_of(call->http->idempotency_key), status, body, &err))
        log_err("idempotency.lost", &err);
}

static bool first_time(ApiCall *call, const ApiRoute *route, Err *err)
{
    Err ignored = {0};
    if (route->handle(call, err)) {
        keep(call, route);
        return true;
    }
    if (!catalog_idempotency_done(call->catalog, text_of(call->token.name),
                                  text_of(call->http->idempotency_key), 0, (Text){0}, &ignored))
        log_err("idempotency.lost", &ignored);
    return false;
}

bool api_once(ApiCall *call, const ApiRoute *route, Err *err)
{
    Sha256 request;
    IdempotencyAnswer answer;
    const char *key = call->http->idempotency_key;
    if (key == NULL || strcmp(route->method, "POST") != 0 ||
        api_route_takes_file(route)) /* a look changes nothing */
        return route->handle(call, err);
    if (!key_fits(key))
        return err_set(err, ERR_USAGE, "idempotency.key",
                       "an Idempotency-Key is 1 to 200 printable ASCII characters");
    digest_of(call->http, &request);
    if (!catalog_idempotency_begin(call->catalog, text_of(call->token.name), text_of(key), &request,
                                   &answer, &call->answer->status, &call->answer->body, err))
        return false;
    switch (answer) {
    case IDEMPOTENCY_NEW:
        call->answer->status = 200;
        return first_time(call, route, err);
    case IDEMPOTENCY_OTHER:
        return err_set(err, ERR_CONFLICT, "idempotency.other",
                       "this Idempotency-Key was used for another request");
    case IDEMPOTENCY_RUNNING:
        return err_set(err, ERR_BUSY, "idempotency.running",
                       "the first request with this Idempotency-Key is still being answered");
    default:
        locate(call);
        if (call->answer->status >= 400)
            call->answer->type = "application/problem+json";
        return true;
    }
}
