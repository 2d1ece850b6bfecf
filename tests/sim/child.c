/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/sim/child.h"

#include "common/base/json.h"
#include "common/base/mem.h"
#include "common/base/rand.h"
#include "common/catalog/catalog_backup.h"
#include "tests/sim/events.h"
#include "tests/sim/trace.h"
#include "tests/sim/world.h"
#include "worker/agent/runner.h"
#include "worker/job/patient.h"

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>

enum { PACKS_MOST = 6, CHILDREN_MOST = 64, OBJECTS_MOST = 4096 };

typedef struct Object {
    Uuid name;
    Sha256 sha256;
} Object;

typedef struct Frame Frame;
struct Frame {
    Frame *next;
    msgpack_sbuffer bytes;
};

/* The child, and its parent's handle of it; it stays until the history ends. */
struct Runner {
    Runner *next;
    RunnerParams params;
    Process *parent, *process;
    Fence fence;
    bool probe;
    uint64_t sequence;
    char catalogue[24]; /* conninfo */
    char cancel[16];    /* the reason it was asked to stop for */
    bool hung, exited, reaped, freed;
    int status;
    /* the child's own */
    Patient *patient;
    Frame *frames; /* in the pipe, the oldest first */
    const char *phase;
    uint64_t bytes, packs[PACKS_MOST];
    size_t pack_count;
    BackupRow row;
    CommitAnswer answer;
    bool finished;
};

static Runner *children;
static Object objects[OBJECTS_MOST];
static size_t object_count;
static ChildHabits habits;

static void frame_free(Frame *frame)
{
    msgpack_sbuffer_destroy(&frame->bytes);
    mem_free(frame);
}

void child_begin(void)
{
    while (children != NULL) {
        Runner *one = children;
        children = one->next;
        while (one->frames != NULL) {
            Frame *frame = one->frames;
            one->frames = frame->next;
            frame_free(frame);
        }
        mem_free(one);
    }
    object_count = 0;
    habits = (ChildHabits){0};
}

void child_habits(const ChildHabits *wanted)
{
    habits = *wanted;
}

/* --- the store ------------------------------------------------------------------------------- */

bool child_stored(const Uuid *object, const Sha256 *sha256)
{
    for (size_t i = object_count; i > 0; i--)
        if (uuid_equal(&objects[i - 1].name, object))
            return memcmp(&objects[i - 1].sha256, sha256, sizeof *sha256) == 0;
    return false;
}

static bool put(const Uuid *name, const Sha256 *sha256, Err *err)
{
    const Host *host = net_host(vm_current_process());
    vm_sleep(vm_between(1, 20) * VM_MS + vm_between(0, host->store_slow_ns));
    bool fails = vm_chance(host->store_fails);
    /* A write that fails may have happened all the same. */
    if ((!fails || vm_chance(300)) && object_count < OBJECTS_MOST)
        objects[object_count++] = (Object){*name, *sha256};
    return !fails || err_set(err, ERR_FULL, "store.full", "the store is full");
}

/* --- what the child says --------------------------------------------------------------------- */

/* The oldest one that nobody heard before. */
static void on_frame(void *ctx)
{
    Runner *runner = ctx;
    Frame *frame = runner->frames;
    if (frame == NULL)
        return;
    runner->frames = frame->next;
    if (!runner->freed)
        runner->params.on_frame(runner->params.ctx,
                                (Slice){(const uint8_t *)frame->bytes.data, frame->bytes.size});
    frame_free(frame);
}

static void deliver(Runner *runner, Frame *frame)
{
    Frame **last = &runner->frames;
    while (*last != NULL)
        last = &(*last)->next;
    *last = frame;
    events_post(loop_base(runner->params.loop), vm_now() + vm_between(20, 300) * VM_US, on_frame,
                runner);
}

void runner_hear(Runner *runner)
{
    while (runner->frames != NULL)
        on_frame(runner);
}

static void say_progress(Runner *runner)
{
    const char *phase = patient_waits(runner->patient) ? "wait-catalogue" : runner->phase;
    JobProgress progress = {.phase = text_of(phase),
                            .bytes_done = runner->bytes,
                            .items_done = runner->pack_count,
                            .stored = runner->bytes / 2};
    Frame *frame = mem_new(Frame);
    messages_pack_job_progress(&progress, &frame->bytes);
    deliver(runner, frame);
}

static void say_verdict(Runner *runner, const char *outcome, const Err *err, bool committed)
{
    JobVerdict verdict = {.outcome = text_of(outcome),
                          .code = text_of(err_name(err->code)),
                          .cause = text_of(err->cause),
                          .text = text_of(err->text),
                          .retry = err_retry(err->code),
                          .committed = committed};
    Frame *frame = mem_new(Frame);
    messages_pack_job_verdict(&verdict, &frame->bytes);
    deliver(runner, frame);
    runner->finished = true;
}

/* --- what the child does --------------------------------------------------------------------- */

static bool cancelled(void *ctx)
{
    return ((Runner *)ctx)->cancel[0] != '\0';
}

/* A stretch of work. False: it is to stop. A child that hangs hears nothing. */
static bool work_a_while(Runner *runner, Err *err)
{
    if (vm_chance(habits.crashes)) {
        trace("child crashes job=%" PRIu64, runner->fence.job);
        runner->status = SIGSEGV;
        return false;
    }
    if (vm_chance(runner->probe ? 4 * habits.hangs : habits.hangs)) {
        trace("child hangs job=%" PRIu64, runner->fence.job);
        runner->hung = true;
        if (runner->probe)
            world_wait_for(740 * VM_S); /* it has no policy: ten minutes, then the worker acts */
        vm_block(VM_NEVER);
    }
    vm_sleep(vm_between(1, habits.work_most_ns / VM_MS + 1) * VM_MS);
    runner->bytes += 1000;
    if (cancelled(runner))
        return err_set(err, ERR_CANCELLED, "job.cancelled", "asked to stop");
    if (vm_chance(habits.fails))
        return err_set(err, ERR_SOURCE, "source.broken", "the source broke off");
    if (vm_chance(habits.fails_for_good))
        return err_set(err, ERR_INVALID, "source.invalid", "the source makes no sense");
    return true;
}

static bool call_bind(Catalog *catalog, void *ctx, Err *err)
{
    Runner *runner = ctx;
    Uuid repository = {{1}};
    uint64_t epoch, confirmed;
    return catalog_repository_bind(catalog, &runner->fence, &repository, &epoch, &confirmed, err);
}

static bool on_adopted(void *ctx, const PackRow *row, Err *err)
{
    Runner *runner = ctx;
    (void)err;
    if (runner->pack_count < PACKS_MOST)
        runner->packs[runner->pack_count++] = row->pack_no;
    return true;
}

static bool call_adopt(Catalog *catalog, void *ctx, Err *err)
{
    Runner *runner = ctx;
    runner->pack_count = 0;
    return catalog_pack_adopt(catalog, &runner->fence, on_adopted, runner, err);
}

typedef struct Staging {
    Runner *runner;
    PackRow row;
} Staging;

static bool call_begin(Catalog *catalog, void *ctx, Err *err)
{
    Staging *one = ctx;
    return catalog_pack_begin(catalog, &one->runner->fence, &one->row.object, &one->row.pack,
                              PACK_DATA, &one->row.pack_no, err);
}

static bool call_stage(Catalog *catalog, void *ctx, Err *err)
{
    Staging *one = ctx;
    return catalog_pack_stage(catalog, &one->runner->fence, &one->row, err);
}

static bool stage_one(Runner *runner, Err *err)
{
    Staging one = {.runner = runner, .row = {.object = rand_uuid(), .kind = PACK_DATA}};
    rand_bytes(&one.row.sha256, sizeof one.row.sha256);
    one.row.bytes = 1000;
    if (!work_a_while(runner, err) || !patient_call(runner->patient, call_begin, &one, err) ||
        !put(&one.row.object, &one.row.sha256, err) ||
        !patient_call(runner->patient, call_stage, &one, err))
        return false;
    runner->packs[runner->pack_count++] = one.row.pack_no;
    return true;
}

static bool call_commit(Catalog *catalog, void *ctx, Err *err)
{
    Runner *runner = ctx;
    char detail[256];
    return catalog_backup_commit(catalog, &runner->fence, &runner->row, &runner->answer, detail,
                                 err);
}

static bool call_marker(Catalog *catalog, void *ctx, Err *err)
{
    Runner *runner = ctx;
    return catalog_marker_done(catalog, &runner->fence, &runner->row.id, err);
}

static bool commit(Runner *runner, Err *err)
{
    Err owed = {0};
    runner->row = (BackupRow){.id = rand_backup_id(),
                              .sequence = runner->sequence,
                              .partial = vm_chance(50),
                              .pack_nos = runner->packs,
                              .pack_count = runner->pack_count};
    rand_bytes(&runner->row.manifest_sha256, sizeof(Sha256));
    runner->phase = "commit";
    say_progress(runner);
    if (!put(&runner->row.id, &runner->row.manifest_sha256, err) ||
        !patient_call(runner->patient, call_commit, runner, err))
        return false;
    if (runner->answer == COMMIT_FENCED)
        return err_set(err, ERR_FENCED, "job.fenced", "another attempt holds this job");
    if (runner->answer == COMMIT_DAMAGED)
        return err_set(err, ERR_BUSY, "backup.damaged", "packs died meanwhile");
    runner->phase = "marker";
    if (vm_chance(habits.dies_after_commit)) {
        runner->status = SIGKILL;
        return false;
    }
    if (!patient_call(runner->patient, call_marker, runner, &owed))
        trace("marker owed: %s", owed.cause);
    return true;
}

static bool back_up(Runner *runner, Err *err)
{
    size_t wanted = 1 + (size_t)vm_draw(PACKS_MOST - 1);
    if (!patient_call(runner->patient, call_bind, runner, err) ||
        !patient_call(runner->patient, call_adopt, runner, err))
        return false;
    runner->phase = "dump";
    while (runner->pack_count < wanted)
        if (!stage_one(runner, err))
            return false;
    return commit(runner, err);
}

static const char *outcome_of(const Runner *runner, const Err *err)
{
    if (err->code != ERR_CANCELLED)
        return "failed";
    if (strcmp(runner->cancel, "cancelled") == 0)
        return "cancelled";
    return strcmp(runner->cancel, "drain") == 0 ? "released" : "failed";
}

/* Once a second, as a job does. */
static void report(void *ctx)
{
    Runner *runner = ctx;
    while (!runner->finished) {
        say_progress(runner);
        vm_sleep(VM_S);
    }
}

static void on_exited(void *ctx)
{
    Runner *runner = ctx;
    runner->exited = true;
    events_signal(runner->parent, SIGCHLD);
}

static void tell_exit(Runner *runner)
{
    if (vm_alive(runner->parent))
        events_post(loop_base(runner->params.loop), vm_now() + VM_MS, on_exited, runner);
}

static void child_main(void *ctx)
{
    Runner *runner = ctx;
    PatientParams params = {.conninfo = runner->catalogue, .cancelled = cancelled, .ctx = runner};
    Err err = {0};
    runner->phase = "open";
    vm_sleep(vm_between(5, 80) * VM_MS);
    bool ok = patient_open(&runner->patient, &params, &err);
    if (ok) {
        vm_thread(report, runner);
        ok = runner->probe ? work_a_while(runner, &err) : back_up(runner, &err);
    }
    if (runner->status == 0) {
        const char *outcome = ok ? "completed" : outcome_of(runner, &err);
        if (ok && runner->row.partial)
            outcome = "partial";
        trace("child says %s job=%" PRIu64 " attempt=%" PRIu64 " %s", outcome, runner->fence.job,
              runner->fence.attempt, err.cause);
        say_verdict(runner, outcome, &err, ok && !runner->probe);
        vm_sleep(vm_between(1, 30) * VM_MS);
    }
    tell_exit(runner);
    vm_exit();
}

/* --- runner.h -------------------------------------------------------------------------------- */

bool runner_start(Runner **out, const RunnerParams *params, const JobOrder *order, Err *err)
{
    json_t *document = NULL;
    char name[24];
    if (!json_parse(order->order, &document, err))
        return false;
    Runner *runner = mem_new(Runner);
    *runner = (Runner){.next = children, .params = *params, .parent = vm_current_process()};
    children = runner;
    runner->fence = (Fence){.job = order->job, .attempt = order->attempt};
    memcpy(&runner->fence.claim, order->claim.at, sizeof runner->fence.claim);
    runner->probe = text_equal(json_text_or(document, "kind", TEXT("")), TEXT("probe"));
    runner->sequence = json_u64_or(json_object_get(document, "parent"), "sequence", 0) + 1;
    json_decref(document);
    snprintf(runner->catalogue, sizeof runner->catalogue, "%s", params->argv[0]);
    snprintf(name, sizeof name, "j%" PRIu64 ".%" PRIu64, order->job, order->attempt);
    runner->process = vm_process(name, 0);
    vm_set_owner(runner->process, net_host(runner->parent));
    vm_spawn(runner->process, child_main, runner);
    *out = runner;
    return true;
}

void runner_cancel(Runner *runner, Text reason)
{
    if (!runner->hung)
        snprintf(runner->cancel, sizeof runner->cancel, "%.*s", TEXT_ARG(reason));
}

void runner_signal(Runner *runner, int number)
{
    if (!vm_alive(runner->process) || (number == SIGTERM && vm_chance(300)))
        return;
    trace("signal %d for job=%" PRIu64, number, runner->fence.job);
    vm_kill(runner->process);
    runner->status = number;
    tell_exit(runner);
}

void runner_poll(Runner *runner)
{
    if (!runner->exited || runner->reaped)
        return;
    runner->reaped = true;
    runner_hear(runner);
    runner->params.on_exit(runner->params.ctx, runner->status);
}

void runner_free(Runner *runner)
{
    if (runner == NULL)
        return;
    runner->freed = true;
    vm_kill(runner->process);
}

void runner_describe(int status, char *out, size_t room)
{
    snprintf(out, room, status == 0 ? "exited with status 0" : "was killed by signal %d", status);
}

/* --- what the world does to children ---------------------------------------------------------- */

void child_parent_killed(const Process *parent)
{
    for (Runner *one = children; one != NULL; one = one->next)
        if (one->parent == parent)
            vm_kill(one->process);
}

void child_host_stopped(const Host *host, bool stopped)
{
    for (Runner *one = children; one != NULL; one = one->next) {
        if (net_host(one->process) != host || !vm_alive(one->process))
            continue;
        if (stopped)
            vm_stop(one->process);
        else
            vm_continue(one->process);
    }
}

bool child_kill_one(void)
{
    ChildView views[CHILDREN_MOST];
    size_t count = child_list(views, CHILDREN_MOST);
    if (count == 0)
        return false;
    const Process *victim = views[vm_draw(count)].process;
    for (Runner *one = children; one != NULL; one = one->next)
        if (one->process == victim) {
            trace("kill -9 of the child of job=%" PRIu64, one->fence.job);
            vm_kill(one->process);
            one->status = SIGKILL;
            tell_exit(one);
        }
    return true;
}

size_t child_list(ChildView *out, size_t most)
{
    size_t count = 0;
    for (const Runner *one = children; one != NULL && count < most; one = one->next)
        if (vm_alive(one->process))
            out[count++] = (ChildView){.parent = one->parent,
                                       .process = one->process,
                                       .job = one->fence.job,
                                       .attempt = one->fence.attempt,
                                       .claim = one->fence.claim,
                                       .alive = true};
    return count;
}
