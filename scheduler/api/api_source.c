/* SPDX-License-Identifier: Apache-2.0 */
#include "scheduler/api/api.h"

#include "common/base/json.h"
#include "common/catalog/catalog_window.h"

/* The catalogue's answer with the next slots, which only the rules know. */
static bool with_next(ApiCall *call, const Buf *body, bool one, Err *err)
{
    scoped(json_release) json_t *answer = NULL;
    if (!json_parse(buf_text(body), &answer, err))
        return false;
    json_t *sources =
        one ? json_pack("[O]", answer) : json_incref(json_object_get(answer, "items"));
    bool done = api_schedule_next(call, sources, err);
    json_decref(sources);
    if (done)
        json_canonical(answer, &call->answer->body);
    return done;
}

bool api_source_list(ApiCall *call, Err *err)
{
    scoped(buf_free) Buf cursor = {0};
    scoped(buf_free) Buf body = {0};
    scoped(buf_free) Buf type = {0};
    scoped(buf_free) Buf state = {0};
    ViewArgs args = {0};
    if (!api_page(call, API_CURSOR_NAME, &args, &cursor, err) ||
        !api_choice(call, "state", "ok,never,late,failing,running,paused", &state, err))
        return false;
    api_query(call, "type", &type);
    args.kind = buf_text(&type);
    args.state = buf_text(&state);
    return catalog_view(call->catalog, VIEW_SOURCES, &args, &body, err) &&
           with_next(call, &body, false, err);
}

static bool known_source(bool done, Text name, Err *err)
{
    if (done || strcmp(err->cause, "view.nothing") != 0)
        return done;
    return err_set(err, ERR_MISSING, "source.unknown", "no source is called %.*s", TEXT_ARG(name));
}

bool api_source_show(ApiCall *call, Err *err)
{
    scoped(buf_free) Buf body = {0};
    ViewArgs args = {.name = call->parts[0]};
    return known_source(catalog_view(call->catalog, VIEW_SOURCE, &args, &body, err), call->parts[0],
                        err) &&
           with_next(call, &body, true, err);
}

/* Who runs something by hand is told at once that it would only wait. */
static bool check_open(ApiCall *call, Text method, Err *err)
{
    scoped(buf_free) Buf why = {0};
    return catalog_source_shut(call->catalog, call->parts[0], method, &why, err) &&
           (why.len == 0 || err_set(err, ERR_CONFLICT, "window.closed", "%s", buf_cstr(&why)));
}

bool api_source_run(ApiCall *call, Err *err)
{
    uint64_t job;
    json_t *params = json_object();
    const json_t *method = json_object_get(call->body, "method");
    if (json_is_string(method) && strcmp(json_string_value(method), "logical") != 0) {
        json_decref(params);
        return err_set(err, ERR_USAGE, "source.method",
                       "there is no method '%s' in this version; databases are read with 'logical'",
                       json_string_value(method));
    }
    if (!json_is_true(json_object_get(call->body, "emergency")) &&
        !check_open(call, json_text_or(call->body, "method", (Text){0}), err)) {
        json_decref(params);
        return false;
    }
    return api_make_job(call, "backup", call->parts[0], (Text){0}, params, &job, err) &&
           api_job_made(call, job, err);
}

bool api_source_test(ApiCall *call, Err *err)
{
    uint64_t job;
    return api_make_job(call, "probe", call->parts[0], (Text){0},
                        json_pack("{s:s}", "probe", "source_test"), &job, err) &&
           api_job_made(call, job, err);
}

bool api_source_decisions(ApiCall *call, Err *err)
{
    scoped(buf_free) Buf cursor = {0};
    ViewArgs args = {.source = call->parts[0]};
    return api_page(call, API_CURSOR_PAIR, &args, &cursor, err) && api_span(call, &args, err) &&
           known_source(
               catalog_view(call->catalog, VIEW_DECISIONS, &args, &call->answer->body, err),
               call->parts[0], err);
}
