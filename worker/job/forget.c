/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/job/forget.h"

#include "common/base/crashpoint.h"
#include "common/base/mem.h"
#include "common/catalog/catalog_collect.h"
#include "common/repo/repo_collect.h"

#include <inttypes.h>

enum { AT_ONCE = 200 };

typedef struct Forget {
    const Fence *fence;
    const Uuid *ids;
    const Text *reasons;
    size_t asked;
    ForgetAnswer *answers;
    ForgetRow *rows;
    size_t count;
    const Uuid *gone;
} Forget;

static bool call_forget(Catalog *catalog, void *ctx, Err *err)
{
    Forget *forget = ctx;
    return catalog_backups_forget(catalog, forget->fence, forget->ids, forget->reasons,
                                  forget->asked, &forget->answers, &forget->count, err);
}

static bool call_due(Catalog *catalog, void *ctx, Err *err)
{
    Forget *forget = ctx;
    return catalog_forgets_due(catalog, forget->fence, AT_ONCE, &forget->rows, &forget->count, err);
}

static bool call_done(Catalog *catalog, void *ctx, Err *err)
{
    Forget *forget = ctx;
    return catalog_forget_done(catalog, forget->fence, forget->gone, err);
}

static void add_answer(Job *job, const ForgetAnswer *answer, json_t *answers)
{
    char id[BACKUP_ID_TEXT];
    uuid_backup_text(&answer->backup, id);
    job_log(job, LOG_INFO, "backup.forget", "%s %s%s%s", id, answer->answer,
            answer->why[0] == '\0' ? "" : ": ", answer->why);
    json_array_append_new(answers, json_pack("{s:s, s:s, s:s}", "backup", id, "answer",
                                             answer->answer, "why", answer->why));
}

bool forget_wishes(Job *job, const ForgetWish *wishes, size_t count, json_t **answers, Err *err)
{
    uint64_t most = allow_prune_backups(job->settings->allow);
    if (count > most)
        return err_set(err, ERR_DENIED, "not-allowed-here",
                       "%zu backups are to be forgotten in one run, and this worker's own file "
                       "allows %" PRIu64 ": raise allow.prune_backups in worker.yaml there",
                       count, most);
    scoped(mem_release) Uuid *ids = mem_array(Uuid, count);
    scoped(mem_release) Text *reasons = mem_array(Text, count);
    for (size_t i = 0; i < count; i++) {
        ids[i] = wishes[i].backup;
        reasons[i] = wishes[i].reason;
    }
    Forget forget = {.fence = &job->fence, .ids = ids, .reasons = reasons, .asked = count};
    if (!patient_call(job->catalog, call_forget, &forget, err))
        return false;
    *answers = json_array();
    for (size_t i = 0; i < forget.count; i++)
        add_answer(job, &forget.answers[i], *answers);
    mem_free(forget.answers);
    CRASHPOINT("forget.deleted");
    return true;
}

/* Whoever called them deleted, one run takes no more off than this worker's own file allows. */
static bool take_off(Session *session, Job *job, Forget *forget, uint64_t *gone, Err *err)
{
    uint64_t most = allow_prune_backups(job->settings->allow);
    for (size_t i = 0; i < forget->count && *gone < most; i++) {
        const ForgetRow *row = &forget->rows[i];
        forget->gone = &row->backup;
        if (!job_go_on(job, err) || !repo_forget(session->repo, &row->backup, &row->manifest, err))
            return false;
        CRASHPOINT("forget.objects");
        if (!patient_call(job->catalog, call_done, forget, err))
            return false;
        ++*gone;
    }
    return true;
}

bool forget_objects(Session *session, Job *job, uint64_t *gone, Err *err)
{
    Forget forget = {.fence = &job->fence};
    bool fine;
    job_phase(job, "forget");
    *gone = 0;
    do {
        forget.count = 0;
        fine = patient_call(job->catalog, call_due, &forget, err) &&
               take_off(session, job, &forget, gone, err);
        mem_free(forget.rows);
        forget.rows = NULL;
    } while (fine && forget.count > 0 && *gone < allow_prune_backups(job->settings->allow));
    return fine;
}
