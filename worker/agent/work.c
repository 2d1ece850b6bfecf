/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/agent/work.h"

#include "common/base/clock.h"
#include "common/base/crashpoint.h"
#include "common/base/json.h"
#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/base/rand.h"
#include "worker/agent/always.h"
#include "worker/agent/ending.h"
#include "worker/agent/owed.h"
#include "worker/agent/scratch.h"
#include "worker/agent/tasks.h"

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>

static const int64_t NS_A_MS = 1000000;
/* A hook has a time limit of its own; this one, beside that, is for a hook runner that hangs. */
static const int64_t CLEANING_MS = INT64_C(30) * 60 * 1000;
/* What names no policy (the probe of a store, say) must not hold a worker for ever either. */
static const int64_t STALL_MS = INT64_C(10) * 60 * 1000;
/* A backup that was just committed no longer holds its lease while its marker is written. */
static const int64_t COMMITTED_MS = INT64_C(60) * 1000;

typedef enum Stage { STAGE_CLAIMING, STAGE_RUNNING, STAGE_CLEANING, STAGE_ENDING } Stage;

struct Work {
    WorkHost host;
    TakerTicket *ticket; /* NULL: only cleaning, after a dead worker */
    Fence fence;
    char name[JOB_ID_TEXT];
    Stage stage;
    json_t *order;
    Buf order_text;
    Runner *runner;
    char scratch[SCRATCH_PATH];
    Note note; /* on the `always` hook */
    int64_t timeout_ms, stall_ms;
    int64_t started_ns, moved_ns; /* clock_mono_ns */
    int64_t until_ns;             /* clock_boot_ns: the lease lasts at least until then */
    bool suspect;
    bool ask_again;   /* what is owed could not be done yet */
    JobProgress last; /* numbers only */
    char phase[32];
    WorkStop stop;
    int64_t stopped_ns;
    bool termed;
    bool fenced;
    bool owed_taken;
    bool committing; /* the child said so, and does not go back */
    TasksLog *log;
    Buf verdict_frame;
    bool has_verdict;
    JobVerdict verdict; /* points into verdict_frame */
    char died[64];      /* how the child ended without one */
    Err failure;        /* why there was no child */
};

static void run_child(Work *work, Text order);
static void finish(Work *work);

static void over(Work *work)
{
    work->host.on_over(work->host.ctx, work);
}

const Fence *work_fence(const Work *work)
{
    return &work->fence;
}

bool work_running(const Work *work)
{
    return work->stage != STAGE_CLAIMING;
}

static Work *work_new(const WorkHost *host)
{
    Work *work = mem_new(Work);
    work->host = *host;
    work->note.fd = -1;
    return work;
}

/* --- claiming ------------------------------------------------------------------------------- */

static void note_hook(Work *work)
{
    Err err = {0};
    if (!always_wanted(work->order))
        return;
    if (!note_write(&work->note, work->host.cache, ALWAYS_NOTES, &work->fence,
                    buf_text(&work->order_text), &err))
        log_err("job.note", &err);
}

static int64_t seconds_ms(const json_t *order, const char *key, int64_t unsaid_ms)
{
    const json_t *policy = json_object_get(order, "policy");
    if (!json_is_number(json_object_get(policy, key)))
        return unsaid_ms;
    double seconds = json_real_or(policy, key, 0);
    return seconds <= 0 || seconds > 1e9 ? 0 : (int64_t)(seconds * 1000);
}

/* Nothing ran, or nothing more: the reason is ours. */
static void fail_here(Work *work, const Err *err)
{
    log_err("job.not_started", err);
    if (work->stage == STAGE_RUNNING)
        work->failure = *err;
    work->stage = STAGE_ENDING;
    finish(work);
}

static void granted(Work *work, ClaimAnswer *answer)
{
    Err err = {0};
    work->fence.attempt = answer->attempt;
    buf_add_slice(&work->order_text, buf_slice(&answer->order));
    work->stage = STAGE_RUNNING;
    work->started_ns = work->moved_ns = clock_mono_ns();
    lease_add(work->host.lease, &work->fence);
    log_info("job.claimed", "job=%s attempt=%" PRIu64 " kind=%s", work->name, work->fence.attempt,
             taker_ticket(work->ticket)->kind);
    CRASHPOINT("agent.claimed");
    if (!json_parse(buf_text(&work->order_text), &work->order, &err)) {
        fail_here(work, &err);
        return;
    }
    work->timeout_ms = seconds_ms(work->order, "timeout_s", 0);
    work->stall_ms = seconds_ms(work->order, "stall_s", STALL_MS);
    if (work->stop != WORK_GO_ON) { /* drained or cancelled while it was being claimed */
        work->stage = STAGE_ENDING;
        finish(work);
        return;
    }
    note_hook(work);
    run_child(work, buf_text(&work->order_text));
}

static void on_claimed(void *ctx, ClaimAnswer *answer, const Err *err)
{
    static const char *const words[] = {"", "granted", "stale", "busy", "full", "unfit", "paused"};
    Work *work = ctx;
    TakerTicket *ticket = work->ticket;
    if (err->code == ERR_NONE && answer->status == CLAIM_GRANTED) {
        granted(work, answer);
        return;
    }
    work->ticket = NULL;
    if (err->code == ERR_NONE) {
        char why[LOG_QUOTED];
        log_debug("job.not_claimed", "job=%s answer=%s why=%s", work->name,
                  words[answer->status <= CLAIM_PAUSED ? answer->status : 0],
                  log_quote(text_of(answer->missing), why));
    }
    if (err->code == ERR_UNREACHABLE || err->code == ERR_TIMEOUT || err->code == ERR_CANCELLED) {
        taker_giveback(work->host.taker, ticket);
    } else if (err->code != ERR_NONE) {
        log_err("job.claim", err);
        taker_bounce(work->host.taker, ticket);
    } else if (answer->status == CLAIM_UNFIT || answer->status == CLAIM_PAUSED) {
        taker_bounce(work->host.taker, ticket);
    } else {
        taker_ack(work->host.taker, ticket);
    }
    over(work);
}

Work *work_begin(const WorkHost *host, TakerTicket *ticket)
{
    Work *work = work_new(host);
    const Ticket *what = taker_ticket(ticket);
    work->ticket = ticket;
    work->fence = (Fence){.job = what->job, .claim = rand_uuid()};
    ids_job_text(what->job, work->name);
    CRASHPOINT("agent.taken");
    tasks_claim(host->desk, &host->instance, what->job, what->dispatch, &work->fence.claim,
                on_claimed, work);
    return work;
}

/* --- the child ------------------------------------------------------------------------------ */

static LogLevel level_of(Text name)
{
    static const char *const names[] = {"debug", "info", "warn", "error"};
    for (LogLevel level = LOG_DEBUG; level <= LOG_ERROR; level++)
        if (text_equal(name, text_of(names[level])))
            return level;
    return LOG_INFO;
}

static void on_progress(Work *work, const JobProgress *now)
{
    JobProgress *last = &work->last;
    bool waits = text_equal(now->phase, TEXT("wait-catalogue"));
    bool moved = now->bytes_done != last->bytes_done || now->items_done != last->items_done ||
                 now->stored != last->stored || !text_equal(now->phase, text_of(work->phase));
    if (moved || waits)
        work->moved_ns = clock_mono_ns();
    *last = (JobProgress){
        .bytes_done = now->bytes_done, .items_done = now->items_done, .stored = now->stored};
    int len = now->phase.len < sizeof work->phase ? (int)now->phase.len : 0;
    snprintf(work->phase, sizeof work->phase, "%.*s", len, now->phase.at);
    work->committing = work->committing || strcmp(work->phase, "commit") == 0;
    if (work->stage == STAGE_RUNNING)
        lease_progress(work->host.lease, &work->fence, now);
}

static bool take_frame(Work *work, Slice frame, Err *err)
{
    uint64_t id = 0;
    JobProgress progress;
    JobLog line;
    if (!messages_id(frame, &id, err))
        return false;
    if (id == MESSAGE_job_progress) {
        if (!messages_unpack_job_progress(frame, &progress, err))
            return false;
        on_progress(work, &progress);
    } else if (id == MESSAGE_job_log) {
        if (!messages_unpack_job_log(frame, &line, err))
            return false;
        work->moved_ns = clock_mono_ns(); /* who waits for a server's long work says so */
        tasks_log_add(&work->log, &work->fence, level_of(line.level), line.event, line.text);
    } else if (id == MESSAGE_job_verdict && work->stage == STAGE_RUNNING) {
        buf_clear(&work->verdict_frame);
        buf_add_slice(&work->verdict_frame, frame);
        work->has_verdict =
            messages_unpack_job_verdict(buf_slice(&work->verdict_frame), &work->verdict, err);
        return work->has_verdict;
    } else if (id == MESSAGE_job_verdict) {
        JobVerdict cleaned;
        if (!messages_unpack_job_verdict(frame, &cleaned, err))
            return false;
        work->ask_again = text_equal(cleaned.code, TEXT("unreachable"));
    }
    return true; /* a newer child may say more than we know */
}

static void on_frame(void *ctx, Slice frame)
{
    Work *work = ctx;
    Err err = {0};
    if (!take_frame(work, frame, &err))
        log_err("job.frame", &err);
}

/* The child died in mid-job, so what its `before` hook did still stands. */
static bool begin_cleaning(Work *work)
{
    if (work->note.fd < 0 || work->stage != STAGE_RUNNING)
        return false;
    scoped(json_release) json_t *order = json_deep_copy(work->order);
    scoped(buf_free) Buf text = {0};
    json_object_set_new(order, "cleanup", json_pack("{s:s}", "why", work->died));
    json_canonical(order, &text);
    work->stage = STAGE_CLEANING;
    work->stop = WORK_GO_ON;
    work->termed = false;
    work->timeout_ms = always_most_ms(work->order, CLEANING_MS);
    work->stall_ms = 0;
    work->started_ns = clock_mono_ns();
    tasks_log_add(&work->log, &work->fence, LOG_INFO, TEXT("hook.always"),
                  TEXT("the job died; its hook marked always is run by the worker"));
    run_child(work, buf_text(&text));
    return true;
}

static void on_exit_child(void *ctx, int status)
{
    Work *work = ctx;
    runner_free(work->runner);
    work->runner = NULL;
    scratch_drop(work->scratch);
    if (work->stage == STAGE_RUNNING && !work->has_verdict) {
        runner_describe(status, work->died, sizeof work->died);
        char line[160];
        snprintf(line, sizeof line, "the job process %s in phase %s", work->died,
                 work->phase[0] == '\0' ? "start" : work->phase);
        log_warn("job.died", "job=%s %s", work->name, work->died);
        tasks_log_add(&work->log, &work->fence, LOG_ERROR, TEXT("job.died"), text_of(line));
        if (begin_cleaning(work))
            return;
    }
    if (work->ask_again) /* whoever looks next, in a minute */
        note_leave(&work->note);
    note_done(&work->note);
    work->stage = STAGE_ENDING;
    finish(work);
}

static Text variable(const char *name)
{
    const char *value = getenv(name);
    return text_of(value == NULL ? "" : value);
}

static void run_child(Work *work, Text order)
{
    Err err = {0};
    RunnerParams params = {.loop = work->host.loop,
                           .argv = work->host.child_argv,
                           .limits = *work->host.limits,
                           .ctx = work,
                           .on_frame = on_frame,
                           .on_exit = on_exit_child};
    bool ok = scratch_make(work->host.cache, work->scratch, &err);
    JobOrder message = {.job = work->fence.job,
                        .attempt = work->fence.attempt,
                        .claim = {work->fence.claim.bytes, sizeof work->fence.claim.bytes},
                        .order = order,
                        .config = text_of(work->host.config),
                        .scratch = text_of(work->scratch),
                        .store_id = variable("AWS_ACCESS_KEY_ID"),
                        .store_secret = variable("AWS_SECRET_ACCESS_KEY"),
                        .store_token = variable("AWS_SESSION_TOKEN")};
    if (ok && runner_start(&work->runner, &params, &message, &err)) {
        CRASHPOINT("agent.started");
        return;
    }
    scratch_drop(work->scratch);
    fail_here(work, &err);
}

/* --- ending --------------------------------------------------------------------------------- */

static void on_finished(void *ctx, const char *state, bool fenced, const Err *err)
{
    Work *work = ctx;
    if (err->code == ERR_CANCELLED) /* the worker stops; the lease says the rest */
        return;
    if (err->code != ERR_NONE)
        log_err("job.finish", err);
    else
        log_info("job.done", "job=%s attempt=%" PRIu64 " state=%s%s", work->name,
                 work->fence.attempt, state, fenced ? " fenced=1" : "");
    CRASHPOINT("agent.finished");
    lease_drop(work->host.lease, &work->fence);
    if (work->ticket != NULL)
        taker_ack(work->host.taker, work->ticket);
    work->ticket = NULL;
    over(work);
}

static void on_owed(void *ctx, const char *state, const Err *err)
{
    Work *work = ctx;
    Err none = {0};
    if (err->code == ERR_CANCELLED)
        return;
    if (state[0] == '\0')
        finish(work); /* there was nothing to commit: as if it had noted nothing */
    else
        on_finished(work, state, strcmp(state, "fenced") == 0, &none);
}

/* A child that died while it waited for its commit had said all: the commit is asked for here. */
static bool take_owed(Work *work)
{
    if (work->has_verdict || work->fenced || work->owed_taken || work->died[0] == '\0')
        return false;
    work->owed_taken = true;
    if (work->stop == WORK_CANCELLED) {
        owed_drop(work->host.cache, &work->fence);
        return false;
    }
    return owed_take(work->host.desk, work->host.cache, work->host.name, &work->fence, on_owed,
                     work);
}

static void finish(Work *work)
{
    char text[ENDING_TEXT];
    if (work->ticket == NULL) { /* only a hook after a dead worker: nothing is ours to end */
        over(work);
        return;
    }
    tasks_log_post(work->host.desk, &work->log);
    if (take_owed(work))
        return;
    if (work->fenced || (work->has_verdict && work->verdict.committed)) {
        Err none = {0};
        char state[32];
        snprintf(state, sizeof state, "%.*s",
                 work->fenced ? 6 : (int)work->verdict.outcome.len % 16,
                 work->fenced ? "fenced" : work->verdict.outcome.at);
        on_finished(work, state, work->fenced, &none);
        return;
    }
    Ending ending = {.stop = work->stop,
                     .verdict = work->has_verdict ? &work->verdict : NULL,
                     .failure = &work->failure,
                     .died = work->died,
                     .phase = work->phase};
    TasksVerdict verdict = ending_verdict(&ending, text);
    tasks_finish(work->host.desk, &work->fence, &verdict, on_finished, work);
}

/* --- stopping and watching ------------------------------------------------------------------ */

static Text reason_of(WorkStop why)
{
    static const char *const words[] = {"", "cancelled", "drain", "stalled", "timeout", "fenced"};
    return text_of(words[why]);
}

/* A child that commits tells us before it asks the catalogue, so before any beat can say that the
 * job is over. What is left to it is the marker, and an `after` hook with a time limit of its own.
 */
static bool may_finish(Work *work)
{
    if (!work->committing)
        return false;
    if (work->stopped_ns == 0)
        work->stopped_ns = clock_mono_ns();
    int64_t most_ms = strcmp(work->phase, "after") == 0 ? CLEANING_MS : COMMITTED_MS;
    return clock_mono_ns() - work->stopped_ns < most_ms * NS_A_MS;
}

/* The lease is gone. Unless that is so because the backup was committed a moment ago, whatever the
 * child still does is refused, and may disturb its successor. */
static void stop_fenced(Work *work)
{
    if (work->runner != NULL)
        runner_hear(work->runner);
    bool already = work->has_verdict && work->verdict.committed;
    if (already || work->stage != STAGE_RUNNING || may_finish(work))
        return;
    work->fenced = true;
    work->stop = WORK_FENCED;
    log_warn("job.fenced", "job=%s attempt=%" PRIu64, work->name, work->fence.attempt);
    if (work->runner != NULL)
        runner_signal(work->runner, SIGKILL);
}

void work_stop(Work *work, WorkStop why)
{
    if (why == WORK_FENCED) {
        stop_fenced(work);
        return;
    }
    if (work->stop != WORK_GO_ON || work->stage == STAGE_ENDING || work->stage == STAGE_CLEANING)
        return;
    work->stop = why;
    work->stopped_ns = clock_mono_ns();
    if (work->runner == NULL)
        return;
    Text reason = reason_of(why);
    log_info("job.stop", "job=%s reason=%.*s", work->name, TEXT_ARG(reason));
    runner_cancel(work->runner, reason);
}

void work_held(Work *work, int64_t until_ns)
{
    work->until_ns = until_ns;
    if (work->suspect)
        log_info("job.lease_back", "job=%s", work->name);
    work->suspect = false;
}

static void watch_child(Work *work)
{
    int64_t now = clock_mono_ns();
    if (work->suspect)
        work->moved_ns = now; /* while the catalogue is away a job may wait for it */
    if (work->stop == WORK_GO_ON) {
        if (work->timeout_ms > 0 && now - work->started_ns > work->timeout_ms * NS_A_MS)
            work_stop(work, WORK_TIMEOUT);
        else if (work->stall_ms > 0 && now - work->moved_ns > work->stall_ms * NS_A_MS)
            work_stop(work, WORK_STALLED);
        if (work->stage == STAGE_CLEANING &&
            now - work->started_ns > always_most_ms(work->order, CLEANING_MS) * NS_A_MS)
            runner_signal(work->runner, SIGKILL);
        return;
    }
    int64_t stopping_ms = (now - work->stopped_ns) / NS_A_MS;
    if (!work->termed && stopping_ms > work->host.kill_grace_ms / 3) {
        work->termed = true;
        runner_signal(work->runner, SIGTERM);
    }
    if (stopping_ms > work->host.kill_grace_ms)
        runner_signal(work->runner, SIGKILL);
}

void work_tick(Work *work)
{
    if (work->runner != NULL)
        watch_child(work);
    if (!work->suspect && work->until_ns != 0 && clock_boot_ns() > work->until_ns &&
        work->stage != STAGE_ENDING) {
        work->suspect = true;
        log_warn("job.suspect", "job=%s lease was not renewed in time; it goes on and may be lost",
                 work->name);
    }
    if (work->ticket != NULL)
        tasks_log_post(work->host.desk, &work->log);
}

void work_poll(Work *work)
{
    if (work->runner != NULL)
        runner_poll(work->runner);
}

/* --- after a dead worker -------------------------------------------------------------------- */

Work *work_clean(const WorkHost *host, Note *note, Text order)
{
    Work *work = work_new(host);
    Err err = {0};
    snprintf(work->died, sizeof work->died, "its worker died");
    work->note = *note;
    buf_add_text(&work->order_text, order);
    if (!json_parse(order, &work->order, &err)) {
        log_err("job.note", &err);
        note_done(&work->note);
        work_free(work);
        return NULL;
    }
    work->fence.job = json_u64_or(work->order, "job", 0);
    work->fence.attempt = json_u64_or(work->order, "attempt", 0);
    ids_job_text(work->fence.job, work->name);
    log_info("hook.always", "job=%s its worker died, its hook is run", work->name);
    work->stage = STAGE_RUNNING;
    if (!begin_cleaning(work)) {
        work_free(work);
        return NULL;
    }
    return work;
}

void work_free(Work *work)
{
    runner_free(work->runner);
    scratch_drop(work->scratch);
    tasks_log_free(&work->log);
    note_leave(&work->note); /* whoever starts here next runs the hook */
    json_decref(work->order);
    buf_free(&work->order_text);
    buf_free(&work->verdict_frame);
    mem_free(work);
}
