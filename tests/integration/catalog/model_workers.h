/* SPDX-License-Identifier: Apache-2.0
 * model_workers.h — what workers and job children ask of both. */
#ifndef TESTS_INTEGRATION_CATALOG_MODEL_WORKERS_H
#define TESTS_INTEGRATION_CATALOG_MODEL_WORKERS_H

#include "common/catalog/catalog_enroll.h"
#include "tests/integration/catalog/model_world.h"

static double one_half(void)
{
    return 0.5;
}

static Uuid no_uuid(void)
{
    return (Uuid){{0}};
}

static void say_hello(World *w, uint32_t worker, const Uuid *instance, bool wrong_name)
{
    bool files_only = draw(w, 3) == 0;
    const char *name = wrong_name ? "w9" : w->model.workers.rows[worker - 1].name;
    WorkerWelcome welcome;
    ERRS;
    WorkerHello hello = {.instance = *instance,
                         .name = text_of(name),
                         .host = text_of(name),
                         .version = TEXT("t"),
                         .slots = 2,
                         .clock_ns = w->now_ms * 1000000,
                         .facts = files_only
                                      ? TEXT("{\"engines\":[\"files\"],\"roles\":[\"write\"]}")
                                      : TEXT("{\"engines\":[\"files\",\"postgresql\"],\"roles\":"
                                             "[\"write\"]}")};
    if (AGREE(catalog_worker_hello(w->workers[worker], &hello, &welcome, &real_err),
              model_hello(&w->model, worker, instance, name, 2, files_only ? 1 : 3, &model_err))) {
        SAME(welcome.drain, w->model.workers.rows[worker - 1].drain);
        catalog_worker_welcome_free(&welcome);
    }
}

/* w1 serves both pools, w2 the first, w3 the second. */
static void enroll(World *w)
{
    static const uint32_t serves[] = {0, 2 | 4, 2, 4};
    for (uint32_t i = 1; i <= WORKERS; i++) {
        char name[8];
        Text pools[2];
        size_t count = 0;
        snprintf(name, sizeof name, "w%u", i);
        for (uint32_t pool = 1; pool <= 2; pool++)
            if ((serves[i] & (1u << pool)) != 0)
                pools[count++] = text_of(w->model.pools[pool].name);
        OK(catalog_enroll(
            w->fleet->admin,
            &(EnrollParams){
                .name = text_of(name), .host = text_of(name), .pools = pools, .pool_count = count},
            &err));
        char path[80];
        snprintf(path, sizeof path, "ALTER ROLE %s SET search_path = virtual, pg_catalog", name);
        fleet_do(w->fleet, path);
        w->workers[i] = fleet_connect(w->fleet, name);
        w->instances[i] = draw_uuid(w);
        (void)model_enroll(&w->model, name, serves[i]);
        say_hello(w, i, &w->instances[i], false);
    }
}

static void hello(World *w)
{
    uint32_t worker = 1 + (uint32_t)draw(w, WORKERS);
    if (draw(w, 4) == 0) {
        OK(catalog_worker_bye(w->workers[worker], &w->instances[worker], &err));
        model_bye(&w->model, worker, &w->instances[worker]);
        if (draw(w, 2) == 0)
            w->instances[worker] = draw_uuid(w);
    }
    say_hello(w, worker, &w->instances[draw(w, 9) == 0 ? 1 : worker], draw(w, 9) == 0);
    if (draw(w, 3) != 0)
        say_hello(w, worker, &w->instances[worker], false);
}

static void claim(World *w)
{
    Model *m = &w->model;
    size_t count = m->jobs.count, queued = 0;
    uint64_t job = count - draw(w, count < 40 ? count + 1 : 40);
    bool from_queue = draw(w, 5) != 0;
    for (size_t i = 0; from_queue && i < count; i++)
        if (m->jobs.rows[i].state == JOB_QUEUED && draw(w, ++queued) == 0)
            job = i + 1;
    uint32_t worker = 1 + (uint32_t)draw(w, WORKERS);
    uint64_t dispatch = model_job(m, job) == NULL ? 1 : model_job(m, job)->dispatch;
    Held held = {.worker = worker, .used = true, .fence = {.job = job, .claim = draw_uuid(w)}};
    if (draw(w, 8) == 0)
        dispatch--;
    for (unsigned times = 1 + (draw(w, 4) == 0); times > 0; times--) {
        ClaimAnswer answer;
        ModelClaim model;
        ERRS;
        if (!AGREE(catalog_job_claim(w->workers[worker], &w->instances[worker], job, dispatch,
                                     &held.fence.claim, &answer, &real_err),
                   model_claim(m, worker, &w->instances[worker], job, dispatch, &held.fence.claim,
                               &model, &model_err)))
            return;
        SAME(answer.status, model.status);
        SAME(answer.attempt, model.attempt);
        if (answer.status == CLAIM_BUSY || answer.status == CLAIM_FULL ||
            answer.status == CLAIM_UNFIT)
            assert_string_equal(answer.missing, model.missing);
        held.fence.attempt = answer.status == CLAIM_GRANTED ? answer.attempt : 0;
        catalog_job_claim_free(&answer);
    }
    if (held.fence.attempt != 0)
        w->held[w->held_count++ % FENCES] = held;
}

/* One of the newest grants: held, ended, or fenced long ago. NULL: none yet. */
static Held *any_held(World *w)
{
    size_t count = w->held_count < FENCES ? w->held_count : FENCES;
    if (count == 0)
        return NULL;
    size_t back = draw(w, 3) == 0 ? draw(w, count) : draw(w, count < 4 ? count : 4);
    return &w->held[(w->held_count - 1 - back) % FENCES];
}

static void beat(World *w)
{
    uint32_t worker = 1 + (uint32_t)draw(w, WORKERS);
    BeatRow rows[4];
    BeatAnswer answers[4], model_answers[4];
    BeatSummary summary, model_summary;
    size_t count = 0;
    for (size_t i = 0; i < 4; i++) {
        const Held *held = any_held(w);
        bool twice = false;
        for (size_t k = 0; held != NULL && k < count; k++)
            twice = twice || rows[k].fence.job == held->fence.job;
        if (held != NULL && !twice && (held->worker == worker || draw(w, 5) == 0))
            rows[count++] = (BeatRow){.fence = held->fence, .bytes_done = draw(w, 3)};
    }
    OK(catalog_worker_beat(w->workers[worker], &w->instances[worker], rows, count, answers,
                           &summary, &err));
    model_beat(&w->model, worker, &w->instances[worker], rows, count, model_answers,
               &model_summary);
    SAME(summary.known, model_summary.known);
    SAME(summary.drain, model_summary.drain);
    for (size_t i = 0; i < count; i++) {
        SAME(answers[i].held, model_answers[i].held);
        SAME(answers[i].cancel, model_answers[i].cancel);
    }
}

static void finish(World *w)
{
    const Held *held = any_held(w);
    char state[16] = "", model_state[16] = "";
    bool fenced = false, model_fenced = false;
    ERRS;
    if (held == NULL)
        return;
    JobVerdictRow verdict = {.outcome = OUTCOME_COMPLETED + (JobOutcome)draw(w, 5),
                             .cause = TEXT("a.cause"),
                             .retry = draw(w, 3) != 0};
    if (AGREE(catalog_job_finish(w->workers[held->worker], &held->fence, &verdict, state, &fenced,
                                 &real_err),
              model_finish(&w->model, held->worker, &held->fence, verdict.outcome, "a.cause",
                           verdict.retry, model_state, &model_fenced, &model_err))) {
        SAME(fenced, model_fenced);
        assert_string_equal(state, model_state);
    }
}

static void stage(World *w)
{
    Held *held = any_held(w);
    if (held == NULL || held->pack_count == PACKS)
        return;
    Catalog *c = w->workers[held->worker];
    PackRow row = {.object = draw_uuid(w), .kind = PACK_DATA, .bytes = 1000};
    uint64_t number = 0;
    row.sha256.bytes[0] = (uint8_t)draw(w, 256);
    for (unsigned times = 1 + (draw(w, 4) == 0); times > 0; times--) {
        ERRS;
        if (!AGREE(catalog_pack_begin(c, &held->fence, &row.object, &row.object, PACK_DATA,
                                      &row.pack_no, &real_err),
                   model_pack_begin(&w->model, held->worker, &held->fence, &row.object, &number,
                                    &model_err)))
            return;
        SAME(row.pack_no, number);
    }
    for (uint64_t times = draw(w, 3); times > 0; times--) {
        ERRS;
        row.sha256.bytes[0] = (uint8_t)(row.sha256.bytes[0] + (draw(w, 6) == 0));
        (void)AGREE(catalog_pack_stage(c, &held->fence, &row, &real_err),
                    model_pack_stage(&w->model, held->worker, &held->fence, number, &row.object,
                                     &row.sha256, &model_err));
    }
    held->packs[held->pack_count++] = number;
}

static bool take_pack(void *ctx, const PackRow *row, Err *err)
{
    Held *held = ctx;
    (void)err;
    for (size_t i = 0; i < held->pack_count; i++)
        if (held->packs[i] == row->pack_no)
            return true;
    if (held->pack_count < PACKS)
        held->packs[held->pack_count++] = row->pack_no;
    return true;
}

static void adopt(World *w)
{
    Held *held = any_held(w);
    ERRS;
    if (held != NULL)
        (void)AGREE(
            catalog_pack_adopt(w->workers[held->worker], &held->fence, take_pack, held, &real_err),
            model_adopt(&w->model, held->worker, &held->fence, &model_err));
}

static uint64_t sequence_of(World *w, const Held *held)
{
    uint64_t top = 0;
    const ModelJob *job = model_job(&w->model, held->fence.job);
    for (size_t i = 0; i < w->model.backups.count; i++)
        if (w->model.backups.rows[i].source == job->source &&
            w->model.backups.rows[i].sequence > top)
            top = w->model.backups.rows[i].sequence;
    return top + (draw(w, 8) != 0);
}

static void commit(World *w)
{
    Held *held = any_held(w);
    if (held == NULL)
        return;
    if (uuid_is_nil(&held->row.id) || draw(w, 2) == 0) {
        held->row = fleet_backup(held->packs, held->pack_count, sequence_of(w, held));
        held->row.id = draw_uuid(w);
        held->row.index_object = draw_uuid(w);
        held->row.partial = draw(w, 5) == 0;
    }
    held->row.pack_nos = held->packs;
    for (unsigned times = 1 + (draw(w, 4) == 0); times > 0; times--) {
        CommitAnswer answer = 0, model_answer = 0;
        char detail[256] = "", model_detail[256] = "";
        ERRS;
        if (AGREE(catalog_backup_commit(w->workers[held->worker], &held->fence, &held->row, &answer,
                                        detail, &real_err),
                  model_commit(&w->model, held->worker, &held->fence, &held->row, &model_answer,
                               model_detail, &model_err)))
            SAME(answer, model_answer);
    }
}

static void marker(World *w)
{
    const Held *held = any_held(w);
    ERRS;
    if (held != NULL && !uuid_is_nil(&held->row.id))
        (void)AGREE(
            catalog_marker_done(w->workers[held->worker], &held->fence, &held->row.id, &real_err),
            model_marker(&w->model, held->worker, &held->fence, &held->row.id, &model_err));
}

#endif
