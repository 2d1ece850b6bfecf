/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/agent/owed.h"

#include "common/base/log.h"
#include "common/base/mem.h"
#include "worker/agent/tasks.h"
#include "worker/job/spool.h"

#include <inttypes.h>

/* As long as the job itself would have waited. */
static const int64_t PATIENCE_MS = INT64_C(6) * 3600 * 1000;

typedef struct Owed {
    DeskTask task; /* first */
    Desk *desk;
    Note note;
    Spooled spooled;
    CommitAnswer answer;
    OwedDone *done; /* NULL: nobody waits */
    void *ctx;
} Owed;

static bool owed_work(DeskTask *task, Catalog *catalog, Err *err)
{
    Owed *owed = (Owed *)task;
    char detail[256];
    return catalog_backup_commit(catalog, &owed->spooled.fence, &owed->spooled.row, &owed->answer,
                                 detail, err);
}

static const char *state_of(const Owed *owed, const Err *err)
{
    if (err->code != ERR_NONE || owed->answer == COMMIT_DAMAGED)
        return "";
    if (owed->answer == COMMIT_FENCED)
        return "fenced";
    return owed->spooled.row.partial ? "partial" : "completed";
}

static void tell(Owed *owed, const char *state, const Err *err)
{
    const Fence *fence = &owed->spooled.fence;
    char name[JOB_ID_TEXT];
    TasksLog *lines = NULL;
    ids_job_text(fence->job, name);
    if (err->code != ERR_NONE)
        log_err("job.commit_owed", err);
    log_info("job.commit_owed", "job=%s attempt=%" PRIu64 " state=%s", name, fence->attempt,
             state[0] == '\0' ? "dropped" : state);
    if (state[0] == '\0' || owed->answer == COMMIT_FENCED)
        return;
    tasks_log_add(&lines, fence, LOG_INFO, TEXT("backup.committed"),
                  TEXT("its process had died; what it had noted was committed by its worker"));
    tasks_log_post(owed->desk, &lines);
}

static void owed_done(DeskTask *task, const Err *err)
{
    Owed *owed = (Owed *)task;
    const char *state = state_of(owed, err);
    if (err->code == ERR_CANCELLED || desk_passing(err)) {
        note_leave(&owed->note);
    } else {
        note_done(&owed->note);
        tell(owed, state, err);
    }
    if (owed->done != NULL)
        owed->done(owed->ctx, state, err);
    spool_free(&owed->spooled);
    mem_free(owed);
}

/* Takes the note. */
static Owed *post(Desk *desk, const char *worker, Note *note, Text text)
{
    Owed *owed = mem_new(Owed);
    bool mine = false;
    Err err = {0};
    owed->desk = desk;
    owed->note = *note;
    owed->task = (DeskTask){.work = owed_work, .done = owed_done, .patience_ms = PATIENCE_MS};
    bool fine = spool_read(worker, text, &owed->spooled, &mine, &err);
    if (fine && mine) {
        desk_post(desk, &owed->task);
        return owed;
    }
    if (!fine) {
        log_err("job.commit_owed", &err);
        note_done(&owed->note);
    }
    note_leave(&owed->note);
    mem_free(owed);
    return NULL;
}

bool owed_take(Desk *desk, const char *cache, const char *worker, const Fence *fence,
               OwedDone *done, void *ctx)
{
    scoped(buf_free) Buf text = {0};
    Note note = {.fd = -1};
    if (!note_take(&note, cache, SPOOL_NOTES, fence, &text))
        return false;
    /* Its end is told on this thread, so never before these are set. */
    Owed *owed = post(desk, worker, &note, buf_text(&text));
    if (owed == NULL)
        return false;
    owed->done = done;
    owed->ctx = ctx;
    return true;
}

void owed_drop(const char *cache, const Fence *fence)
{
    scoped(buf_free) Buf text = {0};
    Note note = {.fd = -1};
    if (note_take(&note, cache, SPOOL_NOTES, fence, &text))
        note_done(&note);
}

typedef struct Left {
    Desk *desk;
    const char *worker;
} Left;

static void on_left(void *ctx, Note *note, Text text)
{
    const Left *left = ctx;
    (void)post(left->desk, left->worker, note, text);
}

void owed_left(Desk *desk, const char *cache, const char *worker)
{
    Left left = {desk, worker};
    note_left(cache, SPOOL_NOTES, on_left, &left);
}
