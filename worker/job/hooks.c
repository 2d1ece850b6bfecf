/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/job/hooks.h"

#include "common/base/json.h"
#include "common/base/units.h"
#include "worker/job/apps.h"
#include "worker/job/group.h"
#include "worker/job/hook_owed.h"
#include "worker/job/hook_run.h"

#include <stdio.h>

enum { TIMEOUT_S = 60, VALUE = 300, VARIABLES = 11 };

typedef struct Variables {
    char text[VARIABLES][VALUE];
    const char *list[VARIABLES + 1];
    size_t count;
} Variables;

static void add(Variables *variables, const char *name, Text value)
{
    char *line = variables->text[variables->count];
    snprintf(line, VALUE, "HOLDFAST_%s=%.*s", name, TEXT_ARG(value));
    variables->list[variables->count++] = line;
    variables->list[variables->count] = NULL;
}

static void add_number(Variables *variables, const char *name, uint64_t value)
{
    char text[24];
    snprintf(text, sizeof text, "%llu", (unsigned long long)value);
    add(variables, name, text_of(text));
}

static void add_stored(Variables *variables, const HookStored *stored)
{
    char id[BACKUP_ID_TEXT];
    uuid_backup_text(&stored->backup, id);
    add(variables, "BACKUP", text_of(id));
    add_number(variables, "ENTRIES", stored->entries);
    add_number(variables, "BYTES", stored->bytes);
    add_number(variables, "ISSUES", stored->issues);
}

static void describe(Variables *variables, const json_t *order, const char *when,
                     const char *outcome)
{
    char id[JOB_ID_TEXT];
    *variables = (Variables){0};
    ids_job_text(json_u64_or(order, "job", 0), id);
    add(variables, "JOB", text_of(id));
    add_number(variables, "ATTEMPT", json_u64_or(order, "attempt", 0));
    add(variables, "KIND", json_text_or(order, "kind", TEXT("")));
    add(variables, "SOURCE", json_text_or(json_object_get(order, "source"), "name", TEXT("")));
    add(variables, "HOOK", text_of(when));
    add(variables, "OUTCOME", text_of(outcome));
    const json_t *seat = json_object_get(json_object_get(order, "params"), "group");
    if (json_is_object(seat))
        add(variables, "GROUP", json_text_or(seat, "name", TEXT("")));
}

static const json_t *hook_of(const json_t *order, const char *when)
{
    const json_t *hook =
        json_object_get(json_object_get(json_object_get(order, "policy"), "hooks"), when);
    return json_is_object(hook) ? hook : NULL;
}

/* Seconds as a number, or text with a unit as fleet.yaml has it. */
static uint64_t timeout_of(const json_t *hook)
{
    uint64_t seconds = json_u64_or(hook, "timeout_s", json_u64_or(hook, "timeout", 0));
    int64_t ms = 0;
    Err err = {0};
    Text text = json_text_or(hook, "timeout", TEXT(""));
    if (seconds == 0 && text.len > 0 && units_duration_ms(text, &ms, &err))
        seconds = (uint64_t)(ms + 999) / 1000;
    return seconds;
}

static HookCall call_of(const json_t *order, const char *when, const char *outcome)
{
    const json_t *hook = hook_of(order, when);
    return (HookCall){.name = json_text_or(hook, "run", TEXT("")),
                      .timeout_s = timeout_of(hook),
                      .when = when,
                      .outcome = outcome};
}

/* job: NULL for a dead attempt. */
static bool run_hook(const JobSettings *settings, const json_t *order, const HookCall *call,
                     Job *job, Buf *words, Err *err)
{
    Variables variables;
    uint64_t seconds = call->timeout_s == 0 ? TIMEOUT_S : call->timeout_s;
    if (!allow_hook(settings->allow, call->name, err))
        return false;
    describe(&variables, order, call->when, call->outcome);
    if (call->stored != NULL)
        add_stored(&variables, call->stored);
    HookRun run = {.directory = settings->hooks,
                   .name = call->name,
                   .environment = variables.list,
                   .timeout_ms = (int64_t)seconds * 1000,
                   /* What undoes a preparation is not stopped by a cancel. */
                   .cancelled = call->gives_way && job != NULL ? job_cancelled : NULL,
                   .ctx = job};
    return hook_run(&run, words, err);
}

bool hooks_run(Job *job, const HookCall *call, Err *err)
{
    scoped(buf_free) Buf words = {0};
    job_phase(job, call->when);
    bool fine = run_hook(job->settings, job->order, call, job, &words, err);
    if (words.len > 0)
        job_log(job, fine ? LOG_INFO : LOG_WARN, "hook.output", "%s: %.900s", call->when,
                buf_cstr(&words));
    job_log(job, fine ? LOG_INFO : LOG_WARN, fine ? "hook.done" : "hook.failed", "%s %s",
            call->when, fine ? "done" : err->text);
    return fine;
}

bool hooks_run_lost(const JobSettings *settings, const json_t *order, const HookCall *call,
                    const JobReport *report, Err *err)
{
    scoped(buf_free) Buf words = {0}, done = {0};
    bool fine = run_hook(settings, order, call, NULL, &words, err);
    if (words.len > 0)
        report->log(report->ctx, fine ? LOG_INFO : LOG_WARN, "hook.output", buf_cstr(&words));
    buf_printf(&done, "%s done", call->when);
    report->log(report->ctx, fine ? LOG_INFO : LOG_WARN, fine ? "hook.done" : "hook.failed",
                fine ? buf_cstr(&done) : err->text);
    return fine;
}

bool hooks_before(Job *job, Err *err)
{
    const json_t *before = hook_of(job->order, "before");
    HookCall call = call_of(job->order, "before", "");
    call.gives_way = true;
    job->hooked = true;
    if (before == NULL || hooks_run(job, &call, err))
        return true;
    if (!text_equal(json_text_or(before, "on_error", TEXT("abort")), TEXT("warn")))
        return false;
    *err = (Err){0};
    return true;
}

bool hooks_validate(Job *job, const HookStored *stored, Err *err)
{
    HookCall call = call_of(job->order, "validate", "");
    call.gives_way = true;
    call.stored = stored;
    if (hook_of(job->order, "validate") == NULL || hooks_run(job, &call, err))
        return true;
    Err why = *err;
    return why.code != ERR_CANCELLED &&
           err_set(err, why.code, "backup.not_valid",
                   "its hook validate did not agree, so nothing was committed: %s", why.text);
}

void hooks_after(Job *job, bool worked)
{
    Err err = {0};
    HookCall call = call_of(job->order, "after", worked ? "completed" : "failed");
    if (!job->hooked || hook_of(job->order, "after") == NULL ||
        (!worked && !hook_owed_after(job->order)))
        return;
    if (!hooks_run(job, &call, &err))
        job_log(job, LOG_WARN, "hook.after_failed", "%s: %s", err.cause, err.text);
}

bool hooks_is_cleanup(const json_t *order)
{
    return json_is_object(json_object_get(order, "cleanup"));
}

bool hooks_cleanup(const JobSettings *settings, const json_t *order, const JobReport *report,
                   Err *err)
{
    Err why = {0};
    HookCall call = call_of(order, "after", "lost");
    if (hook_owed_apps(order))
        return apps_start_lost(settings, order, report, err);
    bool fine = !hook_owed_release(order) || group_release_lost(settings, order, report, err);
    if (hook_owed_after(order) && !hooks_run_lost(settings, order, &call, report, &why)) {
        if (fine)
            *err = why;
        fine = false;
    }
    return fine;
}
