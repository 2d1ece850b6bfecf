/* SPDX-License-Identifier: Apache-2.0
 * The plant as the API shows it: status, doctor, queues, workers, audit, tokens. The handlers keep
 * their routes' names, so this file's functions are named api_<route>. */
#include "scheduler/api/api.h"

#include "common/base/json.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

bool api_status(ApiCall *call, Err *err)
{
    return catalog_view(call->catalog, VIEW_STATUS, NULL, &call->answer->body, err);
}

bool api_queue_list(ApiCall *call, Err *err)
{
    return catalog_view(call->catalog, VIEW_QUEUES, NULL, &call->answer->body, err);
}

bool api_worker_list(ApiCall *call, Err *err)
{
    return catalog_view(call->catalog, VIEW_WORKERS, NULL, &call->answer->body, err);
}

bool api_worker_show(ApiCall *call, Err *err)
{
    ViewArgs args = {.name = call->parts[0]};
    scoped(buf_free) Buf body = {0};
    scoped(json_release) json_t *list = NULL;
    if (!catalog_view(call->catalog, VIEW_WORKERS, &args, &body, err) ||
        !json_parse(buf_text(&body), &list, err))
        return false;
    const json_t *worker = json_array_get(json_object_get(list, "items"), 0);
    if (worker == NULL)
        return err_set(err, ERR_MISSING, "worker.unknown", "there is no worker %.*s",
                       TEXT_ARG(call->parts[0]));
    json_canonical(worker, &call->answer->body);
    return true;
}

bool api_audit_events(ApiCall *call, Err *err)
{
    scoped(buf_free) Buf cursor = {0};
    ViewArgs args = {0};
    return api_page(call, API_CURSOR_NUMBER, &args, &cursor, err) &&
           catalog_view(call->catalog, VIEW_AUDIT, &args, &call->answer->body, err);
}

bool api_token_list(ApiCall *call, Err *err)
{
    return catalog_view(call->catalog, VIEW_TOKENS, NULL, &call->answer->body, err);
}

static void add_check(json_t *checks, const char *state, const char *name, const char *text,
                      const char *next)
{
    json_array_append_new(checks, json_pack("{s:s, s:s, s:s, s:s}", "state", state, "name", name,
                                            "text", text, "next", next));
}

static void check_machine(const CoreState *state, json_t *checks)
{
    char text[200];
    snprintf(text, sizeof text, "%s, term %" PRIu64,
             state->leads ? "this scheduler leads" : "another scheduler leads", state->term);
    add_check(checks, "OK", "scheduler", text, "");
    add_check(checks, state->catalogue_up ? "OK" : "FAIL", "catalogue",
              state->catalogue_up ? "answers" : state->catalogue_error,
              state->catalogue_up ? "" : "start PostgreSQL, or mend `catalogue` in scheduler.yaml");
    snprintf(text, sizeof text, "Redis %s", state->redis_version);
    add_check(checks, state->redis_up ? "OK" : "FAIL", "redis",
              state->redis_up ? text : state->redis_error,
              state->redis_up ? "" : "start Redis, or mend `redis` in scheduler.yaml");
}

static void check_workers(const json_t *workers, json_t *checks)
{
    size_t i;
    json_t *worker;
    size_t alive = 0;
    json_array_foreach(json_object_get(workers, "items"), i, worker)
    {
        char name[96];
        Text state = json_text_or(worker, "state", TEXT(""));
        bool good = text_equal(state, TEXT("alive")) || text_equal(state, TEXT("draining"));
        char *roles = json_dumps(json_object_get(worker, "roles"), JSON_COMPACT | JSON_ENCODE_ANY);
        snprintf(name, sizeof name, "worker %.*s",
                 TEXT_ARG(json_text_or(worker, "name", TEXT("?"))));
        alive += good;
        add_check(checks, good ? "OK" : "WARN", name, good ? roles : "is silent",
                  good ? "" : "start holdfast-worker there, and read its log");
        free(roles);
    }
    if (alive == 0)
        add_check(checks, "FAIL", "workers", "none is alive: nothing can run",
                  "start a holdfast-worker");
}

bool api_doctor(ApiCall *call, Err *err)
{
    CoreState state;
    scoped(buf_free) Buf body = {0};
    scoped(json_release) json_t *workers = NULL;
    core_state(call->params->core, &state);
    if (!catalog_view(call->catalog, VIEW_WORKERS, NULL, &body, err) ||
        !json_parse(buf_text(&body), &workers, err))
        return false;
    json_t *checks = json_array();
    check_machine(&state, checks);
    check_workers(workers, checks);
    json_t *report = json_pack("{s:o}", "checks", checks);
    json_canonical(report, &call->answer->body);
    json_decref(report);
    return true;
}
