/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/job/safety.h"

#include "common/base/json.h"

static Text safety_text(const Job *job, const char *key)
{
    return json_text_or(json_object_get(job->params, "safety"), key, TEXT(""));
}

bool safety_check(const Job *job, Err *err)
{
    Text why = safety_text(job, "why");
    if (json_object_get(job->params, "safety") == NULL || safety_text(job, "backup").len > 0)
        return true;
    return err_set(err, ERR_CONFLICT, "restore.safety_backup",
                   "%.*s, the backup of what is there now, ended %.*s%s%.*s; nothing was touched. "
                   "Repair that, or restore without a way back:  --no-safety-backup",
                   TEXT_ARG(safety_text(job, "job")), TEXT_ARG(safety_text(job, "state")),
                   why.len == 0 ? "" : ": ", TEXT_ARG(why));
}

void safety_tell(const Job *job, json_t *report)
{
    json_t *safety = json_object_get(job->params, "safety");
    json_t *skipped = json_object_get(job->params, "skipped");
    if (json_is_object(safety))
        json_object_set(report, "safety", safety);
    if (json_array_size(skipped) > 0)
        json_object_set(report, "skipped", skipped);
}

bool safety_note(const Job *job, Err *err)
{
    Text backup = safety_text(job, "backup"), name = job_source_name(job);
    if (backup.len == 0)
        return false;
    return err_note(err,
                    "what was there is in %.*s (back:  holdfast restore %.*s --in-place --confirm "
                    "%.*s)",
                    TEXT_ARG(backup), TEXT_ARG(backup), TEXT_ARG(name));
}
