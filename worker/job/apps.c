/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/job/apps.h"

#include "common/base/json.h"
#include "worker/job/hook_owed.h"
#include "worker/job/hooks.h"
#include "worker/job/passed.h"

enum { ASKED_FOR_S = 60 };

static const json_t *list_of(const json_t *order)
{
    const json_t *hooks = json_object_get(json_object_get(order, "policy"), "hooks");
    return json_object_get(hooks, "apps");
}

/* One program of the list's at-th row. */
static HookCall call_of(const json_t *order, size_t at, const char *when, const char *outcome)
{
    const json_t *app = json_array_get(list_of(order), at);
    return (HookCall){.name = json_text_or(app, when, TEXT("")),
                      .timeout_s = json_u64_or(app, "timeout_s", 0),
                      .when = when,
                      .outcome = outcome};
}

bool apps_stop(Job *job, size_t *stopped, Err *err)
{
    *stopped = 0;
    if (!hook_owed_apps(job->order))
        return true;
    for (size_t i = 0; i < json_array_size(list_of(job->order)); i++) {
        HookCall call = call_of(job->order, i, "stop", "");
        call.gives_way = true;
        ++*stopped; /* a stop that failed may have stopped half of it */
        if (hooks_run(job, &call, err))
            continue;
        apps_start(job, *stopped);
        *stopped = 0;
        return err_note(err, "%.*s was to be stopped before the restore, which did not begin",
                        TEXT_ARG(call.name));
    }
    return true;
}

bool apps_start(Job *job, size_t stopped)
{
    bool all = true;
    for (size_t i = stopped; i-- > 0;) {
        Err err = {0};
        HookCall call = call_of(job->order, i, "start", "");
        if (hooks_run(job, &call, &err))
            continue;
        all = false;
        job_log(job, LOG_ERROR, "app.not_started", "%.*s: %s: start it by hand",
                TEXT_ARG(call.name), err.text);
    }
    return all;
}

bool apps_start_lost(const JobSettings *settings, const json_t *order, const JobReport *report,
                     Err *err)
{
    bool all = true, passed;
    if (!passed_ask(settings, order, ASKED_FOR_S, &passed, err))
        return false;
    if (passed) {
        report->log(report->ctx, LOG_INFO, "app.passed_on",
                    "a later attempt of the restore runs: it starts what is stopped");
        return true;
    }
    for (size_t i = json_array_size(list_of(order)); i-- > 0;) {
        Err why = {0};
        HookCall call = call_of(order, i, "start", "lost");
        if (hooks_run_lost(settings, order, &call, report, &why))
            continue;
        if (all)
            *err = why;
        all = false;
    }
    return all;
}
