/* SPDX-License-Identifier: Apache-2.0
 * A fleet file that somebody sends: checked, compared with what is in force, applied. What is in
 * force and was: api_policy_version.c. */
#include "scheduler/api/api.h"

#include "common/base/clock.h"
#include "common/base/json.h"
#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/catalog/catalog_audit.h"
#include "common/catalog/catalog_policy.h"
#include "scheduler/plan/fleet_bundle.h"
#include "scheduler/plan/fleet_plan.h"

#include <inttypes.h>
#include <stdio.h>
#include <strings.h>

/* What came, compiled. */
typedef struct Sent {
    Buf document;
    json_t *compiled; /* the same */
    json_t *problems; /* warnings, where it is valid */
    json_t *facts;    /* VIEW_POLICY_FACTS */
    FleetCount counted;
    Buf summary; /* of the problems, a line without its end */
} Sent;

static void sent_free(Sent *sent)
{
    buf_free(&sent->document);
    buf_free(&sent->summary);
    json_decref(sent->compiled);
    json_decref(sent->problems);
    json_decref(sent->facts);
    mem_trim(); /* of a large fleet it was much */
}

static bool is_bundle(const ApiCall *call)
{
    const char *type = call->http->content_type;
    size_t len = strlen(FLEET_BUNDLE_TYPE);
    return type != NULL && strncasecmp(type, FLEET_BUNDLE_TYPE, len) == 0 &&
           strchr("; \t", type[len]) != NULL;
}

static bool load_facts(ApiCall *call, json_t **facts, Err *err)
{
    scoped(buf_free) Buf text = {0};
    return catalog_view(call->catalog, VIEW_POLICY_FACTS, NULL, &text, err) &&
           json_parse(buf_text(&text), facts, err);
}

static FleetFacts facts_of(const json_t *facts)
{
    return (FleetFacts){.now_s = (int64_t)json_u64_or(facts, "now_s", 0),
                        .seconds = json_object_get(facts, "seconds"),
                        .stored = json_object_get(facts, "stored"),
                        .places = json_object_get(facts, "places")};
}

static bool compile(const FleetFile *files, size_t count, Sent *sent)
{
    YamlProblems found = {0};
    FleetFacts facts = facts_of(sent->facts);
    bool good = fleet_compile_files(files, count, &facts, &sent->document, &sent->counted, &found);
    sent->problems = yaml_problems_json(&found);
    fleet_summary(count == 0 ? "" : files->name, &sent->counted, &found, &sent->summary);
    sent->summary.len -= sent->summary.len != 0; /* the line's end */
    yaml_problems_free(&found);
    return good;
}

/* Reads the body, a file or a bundle of them; an invalid one ends with every problem in the answer.
 */
static bool read_body(ApiCall *call, Sent *sent, Err *err)
{
    FleetFile alone = {"fleet.yaml", text_of_slice(call->http->body)};
    FleetBundle bundle = {0};
    if (!load_facts(call, &sent->facts, err))
        return false;
    bool several = is_bundle(call);
    bool read = !several || fleet_bundle_read(alone.text, &bundle, err);
    bool good = read && compile(several ? bundle.files : &alone, several ? bundle.count : 1, sent);
    fleet_bundle_free(&bundle);
    if (good)
        return json_parse(buf_text(&sent->document), &sent->compiled, err);
    if (!read)
        return false;
    call->problems = json_incref(sent->problems);
    return err_set(err, ERR_INVALID, "policy.invalid", "%s; nothing changed",
                   buf_cstr(&sent->summary));
}

bool api_policy_read(ApiCall *call, json_t **compiled, Err *err)
{
    scoped(sent_free) Sent sent = {0};
    if (!read_body(call, &sent, err))
        return false;
    *compiled = json_incref(sent.compiled);
    return true;
}

static void answer_json(ApiCall *call, json_t *body)
{
    json_canonical(body, &call->answer->body);
    json_decref(body);
}

bool api_policy_check(ApiCall *call, Err *err)
{
    scoped(sent_free) Sent sent = {0};
    if (!read_body(call, &sent, err))
        return false;
    answer_json(call,
                json_pack("{s:O, s:s, s:I}", "errors", sent.problems, "summary",
                          buf_cstr(&sent.summary), "sources", (json_int_t)sent.counted.sources));
    return true;
}

bool api_policy_plan(ApiCall *call, Err *err)
{
    scoped(sent_free) Sent sent = {0};
    scoped(catalog_policy_version_free) PolicyVersion now = {0};
    scoped(json_release) json_t *in_force = NULL;
    if (!read_body(call, &sent, err) || !catalog_policy_version(call->catalog, 0, &now, err) ||
        (now.number != 0 && !json_parse(buf_text(&now.document), &in_force, err)))
        return false;
    char at[CLOCK_TEXT] = "";
    FleetPlanFacts facts = {.now_s = (int64_t)json_u64_or(sent.facts, "now_s", 0),
                            .sources = json_object_get(sent.facts, "sources")};
    json_t *body = fleet_plan(in_force, sent.compiled, &facts);
    bool same = text_equal(buf_text(&now.document), buf_text(&sent.document));
    clock_rfc3339(now.applied_ns, at);
    json_object_set_new(body, "version",
                        now.number == 0 ? json_null() : json_integer((json_int_t)now.number));
    json_object_set_new(body, "sha256", now.number == 0 ? json_null() : json_string(now.digest));
    json_object_set_new(body, "applied_at", now.number == 0 ? json_null() : json_string(at));
    json_object_set_new(body, "differs", json_boolean(!same));
    json_object_set_new(body, "sources", json_integer((json_int_t)sent.counted.sources));
    json_object_set(body, "errors", sent.problems);
    answer_json(call, body);
    return true;
}

/* Nothing between the quotes would mean "whatever is there". */
static bool expected_digest(const ApiCall *call, char out[SHA256_TEXT], Err *err)
{
    const char *if_match = call->http->if_match;
    out[0] = 0;
    if (if_match != NULL &&
        (sscanf(if_match, "\"%64[0-9a-f]\"", out) != 1 || strlen(if_match) != strlen(out) + 2))
        return err_set(err, ERR_USAGE, "request.if_match",
                       "If-Match is the ETag of the policy, in its quotes");
    return true;
}

/* A request that is sent again because its answer was lost finds its own work in force. */
static bool applied_already(ApiCall *call, const Sent *sent, PolicyApplied *out, Err *err)
{
    Err looking = {0};
    scoped(catalog_policy_version_free) PolicyVersion now = {0};
    if (strcmp(err->cause, "policy.changed") != 0 ||
        !catalog_policy_version(call->catalog, 0, &now, &looking))
        return false;
    if (!text_equal(buf_text(&now.document), buf_text(&sent->document)))
        return err_set(err, ERR_CONFLICT, "policy.changed",
                       "version %" PRIu64 " (%.12s, by %s) is in force by now; see what changed, "
                       "then plan again:  holdfast policy history",
                       now.number, now.digest, buf_cstr(&now.actor));
    *err = (Err){0};
    *out = (PolicyApplied){.version = now.number};
    snprintf(out->digest, sizeof out->digest, "%s", now.digest);
    return true;
}

/* Who tried to change what runs is written down, too, when nothing changed. Returns false. */
static bool refused(ApiCall *call, Text reason, const Err *why)
{
    Err ignored = {0};
    json_t *detail = json_pack("{s:s, s:s%}", "code", why->cause, "text", why->text,
                               strnlen(why->text, sizeof why->text));
    scoped(buf_free) Buf text = {0};
    if (detail != NULL) /* words that are UTF-8 */
        json_canonical(detail, &text);
    json_decref(detail);
    AuditRow row = {.actor = text_of(call->token.name),
                    .actor_kind = TEXT("token"),
                    .via = TEXT("api"),
                    .client_ip = text_of(call->http->client_ip),
                    .action = TEXT("policy.apply"),
                    .object = TEXT("fleet.yaml"),
                    .reason = reason,
                    .result = TEXT("refused"),
                    .detail = buf_text(&text)};
    if (!catalog_audit_add(call->catalog, &row, &ignored))
        log_err("audit.failed", &ignored);
    return false;
}

bool api_policy_apply(ApiCall *call, Err *err)
{
    PolicyApplied applied = {0};
    char expected[SHA256_TEXT];
    scoped(sent_free) Sent sent = {0};
    scoped(buf_free) Buf reason = {0};
    api_query(call, "reason", &reason);
    if (!expected_digest(call, expected, err) || !read_body(call, &sent, err))
        return refused(call, buf_text(&reason), err);
    PolicyBy by = {.actor = text_of(call->token.name),
                   .kind = TEXT("token"),
                   .via = TEXT("api"),
                   .client_ip = text_of(call->http->client_ip),
                   .reason = buf_text(&reason)};
    if (!catalog_policy_apply_by(call->catalog, buf_text(&sent.document), text_of(expected), &by,
                                 &applied, err) &&
        !applied_already(call, &sent, &applied, err))
        return refused(call, buf_text(&reason), err);
    core_wake(call->params->core);
    json_t *body =
        json_pack("{s:I, s:b, s:I, s:I, s:I, s:I, s:I, s:I, s:s, s:O}", "version",
                  (json_int_t)applied.version, "changed", (int)applied.changed, "sources",
                  (json_int_t)sent.counted.sources, "added", (json_int_t)applied.added, "updated",
                  (json_int_t)applied.updated, "retired", (json_int_t)applied.retired, "cancelled",
                  (json_int_t)applied.cancelled, "initial", (json_int_t)applied.initial, "sha256",
                  applied.digest, "errors", sent.problems);
    answer_json(call, body);
    buf_printf(&call->answer->etag, "\"%s\"", applied.digest);
    return true;
}
