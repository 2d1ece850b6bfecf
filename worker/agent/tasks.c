/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/agent/tasks.h"

#include "common/base/clock.h"
#include "common/base/mem.h"

/* A claim whose answer was lost is asked again under the same uuid; then the ticket goes back. */
static const int64_t CLAIM_PATIENCE_MS = 2000;
/* Six hours: the work is done and stored, only its end is not written down. */
static const int64_t FINISH_PATIENCE_MS = INT64_C(6) * 3600 * 1000;
static const int64_t LOG_PATIENCE_MS = 60000;

/* --- claim ---------------------------------------------------------------------------------- */

typedef struct Claim {
    DeskTask task; /* first */
    Uuid instance;
    ClaimRow row;
    ClaimAnswer answer;
    TasksClaimed *done;
    void *ctx;
} Claim;

static bool claim_all(DeskTask *const *tasks, size_t count, Catalog *catalog, Err *err)
{
    ClaimRow rows[DESK_TOGETHER_MOST] = {0};
    ClaimAnswer answers[DESK_TOGETHER_MOST];
    for (size_t i = 0; i < count; i++)
        rows[i] = ((Claim *)tasks[i])->row;
    if (!catalog_job_claims(catalog, &((Claim *)tasks[0])->instance, rows, count, answers, err))
        return false;
    for (size_t i = 0; i < count; i++)
        ((Claim *)tasks[i])->answer = answers[i];
    return true;
}

static bool claim_work(DeskTask *task, Catalog *catalog, Err *err)
{
    return claim_all(&task, 1, catalog, err);
}

static void claim_done(DeskTask *task, const Err *err)
{
    Claim *claim = (Claim *)task;
    claim->done(claim->ctx, &claim->answer, err);
    catalog_job_claim_free(&claim->answer);
    mem_free(claim);
}

void tasks_claim(Desk *desk, const Uuid *instance, uint64_t job, uint64_t dispatch, const Uuid *id,
                 TasksClaimed *done, void *ctx)
{
    _Static_assert((int)DESK_TOGETHER_MOST <= (int)CLAIMS_MOST, "the catalogue takes fewer");
    Claim *claim = mem_new(Claim);
    *claim = (Claim){.task = {.work = claim_work,
                              .work_all = claim_all,
                              .done = claim_done,
                              .patience_ms = CLAIM_PATIENCE_MS},
                     .instance = *instance,
                     .row = {.job = job, .dispatch = dispatch, .claim = *id},
                     .done = done,
                     .ctx = ctx};
    desk_post(desk, &claim->task);
}

/* --- finish --------------------------------------------------------------------------------- */

typedef struct Finish {
    DeskTask task; /* first */
    Fence fence;
    JobOutcome outcome;
    bool retry, fenced;
    char *code, *cause, *text;
    Buf answer;
    char state[16];
    TasksFinished *done;
    void *ctx;
} Finish;

/* The catalogue refuses what the job said, and would again: that is the job's failure then. */
static void become_failed(Finish *finish, Err *err)
{
    mem_free(finish->code);
    mem_free(finish->cause);
    mem_free(finish->text);
    finish->outcome = OUTCOME_FAILED;
    finish->retry = false;
    finish->code = mem_string(err_name(err->code));
    finish->cause = mem_string(err->cause);
    finish->text = mem_string(err->text);
    buf_clear(&finish->answer);
    *err = (Err){0};
}

static bool say_all(Finish *finish, Catalog *catalog, Err *err)
{
    JobVerdictRow row = {.outcome = finish->outcome,
                         .code = text_of(finish->code),
                         .cause = text_of(finish->cause),
                         .text = text_of(finish->text),
                         .retry = finish->retry};
    if (finish->answer.len > 0 &&
        !catalog_job_answer(catalog, &finish->fence, buf_text(&finish->answer), &finish->fenced,
                            err))
        return false;
    return catalog_job_finish(catalog, &finish->fence, &row, finish->state, &finish->fenced, err);
}

static bool finish_work(DeskTask *task, Catalog *catalog, Err *err)
{
    Finish *finish = (Finish *)task;
    if (say_all(finish, catalog, err))
        return true;
    if (desk_passing(err) || finish->outcome == OUTCOME_FAILED)
        return false;
    become_failed(finish, err);
    return say_all(finish, catalog, err);
}

static void finish_done(DeskTask *task, const Err *err)
{
    Finish *finish = (Finish *)task;
    finish->done(finish->ctx, finish->state, finish->fenced, err);
    mem_free(finish->code);
    mem_free(finish->cause);
    mem_free(finish->text);
    buf_free(&finish->answer);
    mem_free(finish);
}

void tasks_finish(Desk *desk, const Fence *fence, const TasksVerdict *verdict, TasksFinished *done,
                  void *ctx)
{
    Finish *finish = mem_new(Finish);
    *finish = (Finish){
        .task = {.work = finish_work, .done = finish_done, .patience_ms = FINISH_PATIENCE_MS},
        .fence = *fence,
        .outcome = verdict->outcome,
        .retry = verdict->retry,
        .code = mem_text(verdict->code),
        .cause = mem_text(verdict->cause),
        .text = mem_text(verdict->text),
        .done = done,
        .ctx = ctx};
    buf_add_text(&finish->answer, verdict->answer);
    desk_post(desk, &finish->task);
}

/* --- log ------------------------------------------------------------------------------------ */

typedef struct Line {
    int64_t at_ns;
    LogLevel level;
    size_t event, event_len, text, text_len; /* places in bytes */
} Line;

struct TasksLog {
    DeskTask task; /* first */
    Fence fence;
    Buf bytes;
    Line *lines;
    size_t count, room;
};

void tasks_log_add(TasksLog **at, const Fence *fence, LogLevel level, Text event, Text text)
{
    if (*at == NULL)
        *at = mem_new(TasksLog);
    TasksLog *log = *at;
    log->fence = *fence;
    if (log->count == log->room) {
        log->room = log->room == 0 ? 16 : 2 * log->room;
        log->lines = mem_resize(log->lines, log->room * sizeof(Line));
    }
    Line *line = &log->lines[log->count++];
    *line = (Line){.at_ns = clock_wall_ns(),
                   .level = level,
                   .event = log->bytes.len,
                   .event_len = event.len,
                   .text = log->bytes.len + event.len,
                   .text_len = text.len};
    buf_add_text(&log->bytes, event);
    buf_add_text(&log->bytes, text);
}

size_t tasks_log_count(const TasksLog *log)
{
    return log == NULL ? 0 : log->count;
}

void tasks_log_free(TasksLog **at)
{
    if (*at == NULL)
        return;
    buf_free(&(*at)->bytes);
    mem_free((*at)->lines);
    mem_free(*at);
    *at = NULL;
}

static Text part(const TasksLog *log, size_t at, size_t len)
{
    return len == 0 ? (Text){"", 0} : (Text){(const char *)log->bytes.at + at, len};
}

static bool log_work(DeskTask *task, Catalog *catalog, Err *err)
{
    TasksLog *log = (TasksLog *)task;
    bool fenced = false;
    JobLogLine *lines = mem_array(JobLogLine, log->count);
    for (size_t i = 0; i < log->count; i++) {
        const Line *line = &log->lines[i];
        lines[i] = (JobLogLine){.at_ns = line->at_ns,
                                .level = (uint8_t)line->level,
                                .event = part(log, line->event, line->event_len),
                                .text = part(log, line->text, line->text_len)};
    }
    bool ok = catalog_job_log(catalog, &log->fence, lines, log->count, &fenced, err);
    mem_free(lines);
    return ok;
}

static void log_done(DeskTask *task, const Err *err)
{
    TasksLog *log = (TasksLog *)task;
    if (err->code != ERR_NONE && err->code != ERR_CANCELLED)
        log_err("job.log_lost", err);
    tasks_log_free(&log);
}

void tasks_log_post(Desk *desk, TasksLog **at)
{
    if (*at == NULL)
        return;
    (*at)->task = (DeskTask){.work = log_work, .done = log_done, .patience_ms = LOG_PATIENCE_MS};
    desk_post(desk, &(*at)->task);
    *at = NULL;
}
