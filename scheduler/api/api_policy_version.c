/* SPDX-License-Identifier: Apache-2.0
 * The policy in force and those before it, as they were written and what lies between two. */
#include "scheduler/api/api.h"

#include "common/base/clock.h"
#include "common/base/json.h"
#include "common/catalog/catalog_policy.h"
#include "scheduler/plan/fleet.h"
#include "scheduler/plan/fleet_diff.h"

#include <inttypes.h>

static bool number_of(Text text, uint64_t *out, Err *err)
{
    *out = 0;
    for (size_t i = 0; i < text.len && text.len <= 18; i++) {
        if (text.at[i] < '0' || text.at[i] > '9')
            break;
        *out = *out * 10 + (uint64_t)(text.at[i] - '0');
        if (i + 1 == text.len && *out != 0)
            return true;
    }
    return err_set(err, ERR_MISSING, "policy.version",
                   "'%.*s' is not a version of the policy; see  holdfast policy history",
                   (int)(text.len > 40 ? 40 : text.len), text.at);
}

/* One version and its document; number 0: the one in force. */
static bool load(ApiCall *call, uint64_t number, PolicyVersion *version, json_t **document,
                 Err *err)
{
    if (!catalog_policy_version(call->catalog, number, version, err))
        return false;
    if (version->number == 0 && number != 0)
        return err_set(err, ERR_MISSING, "policy.version",
                       "there is no version %" PRIu64 " of the policy; see  holdfast policy "
                       "history",
                       number);
    if (version->number == 0)
        return err_set(err, ERR_MISSING, "policy.none",
                       "no policy is in force; apply one:  holdfast policy apply fleet.yaml");
    return json_parse(buf_text(&version->document), document, err);
}

static json_t *text_or_null(Buf *text)
{
    return text->len == 0 ? json_null() : json_string(buf_cstr(text));
}

static bool show(ApiCall *call, uint64_t number, Err *err)
{
    char at[CLOCK_TEXT];
    scoped(catalog_policy_version_free) PolicyVersion version = {0};
    scoped(json_release) json_t *document = NULL;
    if (!load(call, number, &version, &document, err))
        return false;
    clock_rfc3339(version.applied_ns, at);
    json_t *files = json_object_get(document, "files");
    json_t *text = json_object_get(json_array_get(files, 0), "text");
    json_t *body = json_pack("{s:I, s:s, s:s, s:s, s:o, s:o, s:O?, s:O?}", "version",
                             (json_int_t)version.number, "sha256", version.digest, "applied_at", at,
                             "actor", buf_cstr(&version.actor), "via", text_or_null(&version.via),
                             "reason", text_or_null(&version.reason), "text", text, "files", files);
    json_canonical(body, &call->answer->body);
    json_decref(body);
    buf_printf(&call->answer->etag, "\"%s\"", version.digest);
    return true;
}

bool api_policy_show(ApiCall *call, Err *err)
{
    return show(call, 0, err);
}

bool api_policy_version(ApiCall *call, Err *err)
{
    uint64_t number;
    return number_of(call->parts[0], &number, err) && show(call, number, err);
}

bool api_policy_versions(ApiCall *call, Err *err)
{
    scoped(buf_free) Buf cursor = {0};
    ViewArgs args = {0};
    return api_page(call, API_CURSOR_NUMBER, &args, &cursor, err) &&
           catalog_view(call->catalog, VIEW_POLICIES, &args, &call->answer->body, err);
}

bool api_policy_diff(ApiCall *call, Err *err)
{
    uint64_t from;
    uint64_t to;
    scoped(catalog_policy_version_free) PolicyVersion old = {0};
    scoped(catalog_policy_version_free) PolicyVersion new = {0};
    scoped(json_release) json_t *was = NULL;
    scoped(json_release) json_t *is = NULL;
    if (!api_number(call, "from", 0, &from, err) || !api_number(call, "to", 0, &to, err))
        return false;
    if (!load(call, to, &new, &is, err))
        return false;
    from = from == 0 ? new.number - 1 : from;
    if (from != 0 && !load(call, from, &old, &was, err))
        return false;
    json_t *body = fleet_diff(was, is);
    json_object_set_new(body, "from", json_integer((json_int_t)old.number));
    json_object_set_new(body, "to", json_integer((json_int_t) new.number));
    json_object_set_new(body, "differs", json_boolean(!fleet_diff_empty(body)));
    json_canonical(body, &call->answer->body);
    json_decref(body);
    return true;
}

bool api_policy_schema(ApiCall *call, Err *err)
{
    json_t *body = json_pack("{s:o}", "schema", fleet_schema());
    (void)err;
    json_canonical(body, &call->answer->body);
    json_decref(body);
    return true;
}
