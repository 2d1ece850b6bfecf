/* SPDX-License-Identifier: Apache-2.0 — 0012_plan.sql */
#include "tests/sim/model.h"

#include <stdio.h>

static bool slot_known(const Model *m, uint32_t source, const char *schedule, int64_t slot)
{
    for (size_t i = 0; i < m->jobs.count; i++)
        if (m->jobs.rows[i].slot == slot && m->jobs.rows[i].source == source &&
            strcmp(m->jobs.rows[i].schedule, schedule) == 0)
            return true;
    return false;
}

uint64_t model_job_new(Model *m, ModelKind kind, uint32_t source, const char *schedule,
                       int64_t slot, uint32_t pool, int32_t priority, JobState state,
                       int64_t start_by)
{
    const ModelSource *from = source == 0 ? NULL : &m->sources.rows[source - 1];
    if (schedule != NULL && slot_known(m, source, schedule, slot)) {
        /* The refused row took a number; what stands for it is no job of any pool. */
        (void)model_add(&m->jobs, (ModelJob){.state = JOB_SKIPPED, .finished_at = 1});
        return 0;
    }
    ModelJob *job =
        model_add(&m->jobs, (ModelJob){.kind = kind,
                                       .state = state,
                                       .source = source,
                                       .pool = pool != 0 ? pool : from->pool,
                                       .slot = slot,
                                       .priority = priority,
                                       .created_at = m->now,
                                       .run_at = m->now,
                                       .start_by = start_by,
                                       .finished_at = state == JOB_PENDING ? 0 : m->now,
                                       .dispatch = 1,
                                       .max_failures = kind == MODEL_BACKUP ? from->attempts : 1,
                                       .backoff_s = from == NULL ? 120 : from->backoff_s,
                                       .max_backoff_s = from == NULL ? 1800 : from->max_backoff_s,
                                       .jitter = from == NULL || from->jitter});
    snprintf(job->schedule, sizeof job->schedule, "%s", schedule == NULL ? "" : schedule);
    return m->jobs.count;
}

bool model_create(Model *m, ModelKind kind, const char *source, uint32_t pool, int32_t priority,
                  int64_t start_by, uint64_t *out, Err *err)
{
    const ModelSource *from = source == NULL ? NULL : model_source(m, source);
    if (source != NULL && from == NULL)
        return err_set(err, ERR_MISSING, "source.unknown", "no source is called %s", source);
    if (kind == MODEL_BACKUP && (from == NULL || from->retired_at != 0))
        return err_set(err, ERR_CONFLICT, "source.retired", "a backup needs a source");
    uint32_t number = from == NULL ? 0 : (uint32_t)(from - m->sources.rows) + 1;
    *out = model_job_new(m, kind, number, NULL, 0, pool, kind == MODEL_PROBE ? 80 : priority,
                         JOB_PENDING, start_by);
    return true;
}

bool model_cancel(Model *m, uint64_t number, char state[16], Err *err)
{
    ModelJob *job = model_job(m, number);
    if (job == NULL)
        return err_set(err, ERR_MISSING, "job.unknown", "no such job");
    if (job->finished_at == 0 && job->state == JOB_RUNNING) {
        job->cancel_requested = true;
    } else if (job->finished_at == 0) {
        model_move(m, job, JOB_CANCELLED);
        job->cancel_requested = true;
        job->finished_at = m->now;
        job->queued_at = 0;
        job->dispatch++;
        model_decide(m, number, "cancelled", "asked", "");
    }
    snprintf(state, 16, "%s", lifecycle_name(job->state));
    return true;
}

bool model_retry(Model *m, uint64_t number, uint64_t *out, bool *again, Err *err)
{
    ModelJob *job = model_job(m, number);
    if (job == NULL)
        return err_set(err, ERR_MISSING, "job.unknown", "no such job");
    if (job->state != JOB_FAILED && job->state != JOB_CANCELLED && job->state != JOB_MISSED &&
        job->state != JOB_SKIPPED)
        return err_set(err, ERR_CONFLICT, "job.not_ended", "it did not fail");
    *again = job->state == JOB_FAILED;
    *out = number;
    if (!*again) {
        *out = model_job_new(m, job->kind, job->source, NULL, 0, job->pool, job->priority,
                             JOB_PENDING, 0);
        return true;
    }
    model_move(m, job, JOB_PENDING);
    job->finished_at = 0;
    job->failures = job->losses = 0;
    job->cancel_requested = false;
    job->start_by = 0;
    job->dispatch++;
    job->run_at = m->now;
    return true;
}

/* --- slots ----------------------------------------------------------------------------------- */

static uint64_t live_backup(const Model *m, uint32_t source)
{
    for (size_t i = 0; i < m->jobs.count; i++) {
        const ModelJob *job = &m->jobs.rows[i];
        if (job->source == source && job->kind == MODEL_BACKUP && job->finished_at == 0)
            return i + 1;
    }
    return 0;
}

static bool one_waits(const Model *m, const ModelFire *row)
{
    for (size_t i = 0; i < m->jobs.count; i++) {
        const ModelJob *job = &m->jobs.rows[i];
        if (job->source == row->source && job->kind == MODEL_BACKUP &&
            strcmp(job->schedule, row->schedule) == 0 &&
            (job->state == JOB_PENDING || job->state == JOB_QUEUED))
            return true;
    }
    return false;
}

static ModelSchedule *schedule_of(Model *m, const ModelFire *row)
{
    for (size_t i = 0; i < m->schedules.count; i++)
        if (m->schedules.rows[i].source == row->source &&
            strcmp(m->schedules.rows[i].name, row->schedule) == 0)
            return &m->schedules.rows[i];
    return NULL;
}

static void fire_one(Model *m, const ModelFire *row, const ModelSchedule *schedule,
                     SlotAnswer *answer)
{
    const ModelSource *source = &m->sources.rows[row->source - 1];
    JobState state = JOB_PENDING;
    const char *code = NULL;
    if (row->excluded) {
        state = JOB_SKIPPED;
        code = "slot.excluded";
    } else if (row->missed) {
        state = JOB_MISSED;
        code = "slot.missed";
    } else if (source->paused_until > m->now) {
        state = JOB_SKIPPED;
        code = "source.paused";
    } else if (schedule->overlap_skip && live_backup(m, row->source) != 0) {
        state = JOB_SKIPPED;
        code = "overlap";
    } else if (one_waits(m, row)) {
        state = JOB_SKIPPED;
        code = "slot.waiting";
    }
    answer->job = model_job_new(m, MODEL_BACKUP, row->source, row->schedule, row->slot, 0, 0, state,
                                row->start_by);
    if (answer->job == 0)
        return;
    snprintf(answer->state, sizeof answer->state, "%s", lifecycle_name(state));
    if (code != NULL)
        model_decide(m, answer->job, answer->state, code, "");
}

static bool same_schedule(const ModelFire *a, const ModelFire *b)
{
    return a->source == b->source && strcmp(a->schedule, b->schedule) == 0;
}

bool model_fire(Model *m, const ModelFire *rows, size_t count, SlotAnswer *answers, Err *err)
{
    ModelSchedule *schedule = NULL;
    bool won = false;
    for (size_t i = 0; i < count; i++)
        if (rows[i].slot > m->now + 60000000)
            return err_set(err, ERR_USAGE, "slot.future", "a slot in the future");
    for (size_t i = 0; i < count; i++) {
        answers[i] = (SlotAnswer){0};
        if (i == 0 || !same_schedule(&rows[i], &rows[i - 1])) {
            schedule = schedule_of(m, &rows[i]);
            won = schedule != NULL && schedule->last_slot == rows[i].old;
            for (size_t k = i; won && k < count && same_schedule(&rows[k], &rows[i]); k++)
                if (k == i || rows[k].slot > schedule->last_slot)
                    schedule->last_slot = rows[k].slot;
            won = won && m->sources.rows[rows[i].source - 1].retired_at == 0;
        }
        if (won)
            fire_one(m, &rows[i], schedule, &answers[i]);
    }
    return true;
}
