/* SPDX-License-Identifier: Apache-2.0 */
#include "scheduler/api/api.h"

#include "common/base/json.h"
#include "common/catalog/catalog_policy.h"
#include "scheduler/plan/fleet.h"

#include <inttypes.h>
#include <stdio.h>

bool api_policy_show(ApiCall *call, Err *err)
{
    bool found;
    char digest[SHA256_TEXT];
    scoped(buf_free) Buf document = {0};
    scoped(json_release) json_t *policy = NULL;
    if (!catalog_policy_load(call->catalog, &document, digest, &found, err))
        return false;
    if (!found)
        return err_set(err, ERR_MISSING, "policy.none",
                       "no policy is in force; apply one:  holdfast policy apply fleet.yaml");
    if (!json_parse(buf_text(&document), &policy, err))
        return false;
    const json_t *first = json_array_get(json_object_get(policy, "files"), 0);
    json_t *text = json_object_get(first == NULL ? policy : first, "text");
    json_t *body = json_pack("{s:s, s:O?}", "sha256", digest, "text", text);
    json_canonical(body, &call->answer->body);
    json_decref(body);
    buf_printf(&call->answer->etag, "\"%s\"", digest);
    return true;
}

/* Compiles the body; an invalid one ends with every problem in the answer. */
static bool compile(ApiCall *call, Buf *document, json_t **problems, Err *err)
{
    YamlProblems found = {0};
    bool good = fleet_compile("fleet.yaml", text_of_slice(call->http->body), document, &found);
    *problems = yaml_problems_json(&found);
    size_t errors = found.errors;
    yaml_problems_free(&found);
    if (good)
        return true;
    call->problems = *problems;
    *problems = NULL;
    return err_set(err, ERR_INVALID, "policy.invalid", "the policy has %zu errors; nothing changed",
                   errors);
}

bool api_policy_check(ApiCall *call, Err *err)
{
    scoped(buf_free) Buf document = {0};
    scoped(json_release) json_t *problems = NULL;
    if (!compile(call, &document, &problems, err))
        return false;
    json_t *body = json_pack("{s:O}", "errors", problems);
    json_canonical(body, &call->answer->body);
    json_decref(body);
    return true;
}

bool api_policy_apply(ApiCall *call, Err *err)
{
    PolicyApplied applied;
    char expected[SHA256_TEXT] = "";
    const char *if_match = call->http->if_match;
    scoped(buf_free) Buf document = {0};
    scoped(json_release) json_t *problems = NULL;
    scoped(json_release) json_t *compiled = NULL;
    /* Nothing between the quotes would mean "whatever is there". */
    if (if_match != NULL && (sscanf(if_match, "\"%64[0-9a-f]\"", expected) != 1 ||
                             strlen(if_match) != strlen(expected) + 2))
        return err_set(err, ERR_USAGE, "request.if_match",
                       "If-Match is the ETag of the policy, in its quotes");
    if (!compile(call, &document, &problems, err))
        return false;
    if (!catalog_policy_apply(call->catalog, buf_text(&document), text_of(expected),
                              text_of(call->token.name), &applied, err) ||
        !json_parse(buf_text(&document), &compiled, err))
        return false;
    core_wake(call->params->core);
    buf_printf(
        &call->answer->body,
        "{\"version\":%" PRIu64 ",\"changed\":%s,\"sources\":%zu,\"added\":%u,\"updated\":%u,"
        "\"retired\":%u,\"cancelled\":%u,\"initial\":%u,\"sha256\":\"%s\"}",
        applied.version, applied.changed ? "true" : "false",
        json_object_size(json_object_get(compiled, "sources")), applied.added, applied.updated,
        applied.retired, applied.cancelled, applied.initial, applied.digest);
    buf_printf(&call->answer->etag, "\"%s\"", applied.digest);
    return true;
}
