/* SPDX-License-Identifier: Apache-2.0 — 0007_claim.sql and 0008_finish.sql */
#include "tests/sim/model.h"

#include <math.h>
#include <stdio.h>

/* --- claiming -------------------------------------------------------------------------------- */

void model_defer(Model *m, uint64_t number, const char *code, const char *text)
{
    ModelJob *job = model_job(m, number);
    double most =
        m->setting.defer_max > m->setting.defer_min ? m->setting.defer_max : m->setting.defer_min;
    model_move(m, job, JOB_PENDING);
    job->queued_at = 0;
    job->dispatch++;
    job->deferrals++;
    job->run_at =
        model_after(m, m->setting.defer_min + m->random() * (most - m->setting.defer_min));
    model_decide(m, number, "deferred", code, text);
}

static void free_slots(Model *m, uint64_t job)
{
    for (size_t i = 0; i < m->slots.count; i++)
        if (m->slots.rows[i].job == job)
            m->slots.rows[i].job = m->slots.rows[i].attempt = 0;
}

static ModelSlot *free_slot(Model *m, const char *scope)
{
    ModelSlot *best = NULL;
    for (size_t i = 0; i < m->slots.count; i++) {
        ModelSlot *slot = &m->slots.rows[i];
        if (slot->job == 0 && strcmp(slot->scope, scope) == 0 &&
            (best == NULL || slot->n < best->n))
            best = slot;
    }
    return best;
}

/* False: a limit is reached, the job was deferred. */
static bool take_slots(Model *m, uint64_t number, ModelClaim *out)
{
    const char *scopes[MODEL_SCOPES];
    char room[MODEL_SCOPES][48];
    size_t count = model_scopes(m, model_job(m, number), scopes, room);
    /* Sorted: "policy:" before "pool:". */
    for (size_t i = 0; i < count; i++) {
        ModelSlot *slot = free_slot(m, scopes[i]);
        if (slot == NULL) {
            char text[96];
            snprintf(text, sizeof text, "limit %s is reached", scopes[i]);
            free_slots(m, number);
            model_defer(m, number, "limit.full", text);
            out->status = CLAIM_FULL;
            snprintf(out->missing, sizeof out->missing, "%s", text);
            return false;
        }
        slot->job = number;
        slot->attempt = model_job(m, number)->attempt + 1;
    }
    return true;
}

static bool lane_taken(Model *m, uint64_t number, ModelClaim *out)
{
    char name[JOB_ID_TEXT];
    const ModelJob *job = model_job(m, number);
    for (size_t i = 0; i < m->jobs.count; i++) {
        const ModelJob *other = &m->jobs.rows[i];
        if (other->state != JOB_RUNNING || other->source != job->source ||
            (model_lanes(other) & model_lanes(job)) == 0)
            continue;
        ids_job_text(i + 1, name);
        snprintf(out->missing, sizeof out->missing, "%s (backup) is running", name);
        out->status = CLAIM_BUSY;
        free_slots(m, number);
        model_defer(m, number, "lane.busy", out->missing);
        return true;
    }
    return false;
}

static void grant(Model *m, uint32_t worker, const Uuid *instance, uint64_t number,
                  const Uuid *claim, ModelClaim *out)
{
    ModelJob *job = model_job(m, number);
    model_move(m, job, JOB_RUNNING);
    job->attempt++;
    job->claim = *claim;
    job->queued_at = 0;
    (void)model_add(&m->attempts, (ModelAttempt){.job = number,
                                                 .attempt = job->attempt,
                                                 .claim = *claim,
                                                 .worker = worker,
                                                 .instance = *instance,
                                                 .started_at = m->now});
    (void)model_add(&m->leases, (ModelLease){.job = number,
                                             .attempt = job->attempt,
                                             .worker = worker,
                                             .instance = *instance,
                                             .expires_at = model_after(m, m->setting.lease),
                                             .beat_at = m->now,
                                             .moved_at = m->now});
    model_decide(m, number, "ran", "claimed", "");
    *out = (ModelClaim){.status = CLAIM_GRANTED, .attempt = job->attempt};
}

/* Everything that is asked before limits and lane; true when the claim may go on. */
static bool claimable(Model *m, uint32_t worker, const ModelInstance *instance, uint64_t number,
                      uint64_t dispatch, const Uuid *claim, ModelClaim *out)
{
    const ModelWorker *me = &m->workers.rows[worker - 1];
    const ModelJob *job = model_job(m, number);
    *out = (ModelClaim){.status = CLAIM_STALE};
    if (job == NULL || (me->pools & (1u << job->pool)) == 0)
        return false;
    const ModelLease *lease = model_lease(m, number);
    if (job->state == JOB_RUNNING && uuid_equal(&job->claim, claim) && lease != NULL &&
        lease->attempt == job->attempt && uuid_equal(&lease->instance, &instance->id)) {
        *out = (ModelClaim){.status = CLAIM_GRANTED, .attempt = job->attempt};
        return false;
    }
    if ((job->state != JOB_PENDING && job->state != JOB_QUEUED) || job->dispatch != dispatch ||
        job->cancel_requested || job->run_at > m->now ||
        (job->start_by != 0 && job->start_by <= m->now))
        return false;
    if (me->drain || m->pools[job->pool].paused) {
        out->status = CLAIM_PAUSED;
        return false;
    }
    if (model_shut(m, job))
        return false;
    if (model_missing(m, job, instance, out->missing)) {
        out->status = CLAIM_UNFIT;
        return false;
    }
    return true;
}

bool model_claim(Model *m, uint32_t worker, const Uuid *instance, uint64_t number,
                 uint64_t dispatch, const Uuid *claim, ModelClaim *out, Err *err)
{
    const ModelInstance *row = model_instance(m, instance);
    if (row == NULL || row->worker != worker || row->bye_at != 0)
        return err_set(err, ERR_DENIED, "worker.other_instance", "did not say hello");
    if (claimable(m, worker, row, number, dispatch, claim, out) && take_slots(m, number, out) &&
        !lane_taken(m, number, out))
        grant(m, worker, instance, number, claim, out);
    return true;
}

ModelJob *model_fence(Model *m, uint32_t worker, const Fence *fence, Err *err)
{
    ModelJob *job = model_job(m, fence->job);
    const ModelLease *lease = model_lease(m, fence->job);
    if (job != NULL && job->state == JOB_RUNNING && job->attempt == fence->attempt &&
        uuid_equal(&job->claim, &fence->claim) && lease != NULL &&
        lease->attempt == fence->attempt && lease->worker == worker)
        return job;
    err_set(err, ERR_FENCED, "job.fenced", "no longer holds the job");
    return NULL;
}

/* --- ending ---------------------------------------------------------------------------------- */

void model_attempt_end(Model *m, uint64_t number, ModelOutcome outcome)
{
    const ModelJob *job = model_job(m, number);
    ModelLease *lease = model_lease(m, number);
    if (lease != NULL && lease->attempt == job->attempt)
        *lease = m->leases.rows[--m->leases.count];
    for (size_t i = m->slots.count; i > 0; i--) {
        ModelSlot *slot = &m->slots.rows[i - 1];
        if (slot->job != number)
            continue;
        if (slot->n > model_wanted(m, slot->scope)) /* the limit was lowered while it ran */
            *slot = m->slots.rows[--m->slots.count];
        else if (slot->attempt == job->attempt)
            slot->job = slot->attempt = 0;
    }
    ModelAttempt *attempt = model_attempt(m, number, job->attempt);
    if (attempt != NULL && attempt->outcome == MODEL_OPEN) {
        attempt->ended_at = m->now;
        attempt->outcome = outcome;
    }
}

static double backoff(Model *m, double first, double most, int before, bool jitter)
{
    double wait = first * pow(2, before < 0 ? 0 : before > 30 ? 30 : before);
    if (wait > most)
        wait = most;
    return jitter ? wait / 2 + m->random() * wait / 2 : wait;
}

static JobState state_after(const Model *m, const ModelJob *job, ModelOutcome outcome, bool retry)
{
    int failed = job->failures + (outcome == MODEL_FAILED);
    int lost = job->losses + (outcome == MODEL_LOST);
    if (outcome == MODEL_COMPLETED || outcome == MODEL_PARTIAL)
        return outcome == MODEL_COMPLETED ? JOB_COMPLETED : JOB_PARTIAL;
    if (outcome == MODEL_CANCELLED || job->cancel_requested)
        return JOB_CANCELLED;
    if (outcome == MODEL_FAILED && (!retry || failed >= job->max_failures))
        return JOB_FAILED;
    if (outcome == MODEL_LOST && lost >= m->setting.max_losses)
        return JOB_FAILED;
    return JOB_PENDING;
}

JobState model_end(Model *m, uint64_t number, ModelOutcome outcome, const char *cause, bool retry)
{
    ModelJob *job = model_job(m, number);
    JobState next = state_after(m, job, outcome, retry);
    double wait = 0;
    job->failures += outcome == MODEL_FAILED;
    job->losses += outcome == MODEL_LOST;
    if (next == JOB_PENDING && outcome == MODEL_FAILED)
        wait = backoff(m, job->backoff_s, job->max_backoff_s, job->failures - 1, job->jitter);
    if (next == JOB_PENDING && outcome == MODEL_LOST)
        wait = backoff(m, m->setting.loss_backoff, m->setting.loss_backoff_max, job->losses - 1,
                       job->jitter);
    model_attempt_end(m, number, outcome);
    model_move(m, job, next);
    job->claim = (Uuid){{0}};
    job->dispatch++;
    if (cause != NULL && cause[0] != '\0')
        snprintf(job->cause, sizeof job->cause, "%s", cause);
    if (next == JOB_PENDING) {
        job->run_at = model_after(m, wait);
        job->start_by = 0; /* the deadline was for the first start */
    } else {
        job->finished_at = m->now;
    }
    if (next == JOB_FAILED)
        model_decide(m, number, "failed", outcome == MODEL_LOST ? "poison" : "retries.used_up", "");
    else if (next == JOB_PENDING && (outcome == MODEL_FAILED || outcome == MODEL_LOST))
        model_decide(m, number, "deferred", outcome == MODEL_LOST ? "retry.lost" : "retry.failed",
                     "");
    return next;
}

bool model_finish(Model *m, uint32_t worker, const Fence *fence, JobOutcome outcome,
                  const char *cause, bool retry, char state[16], bool *fenced, Err *err)
{
    Err ignored = {0};
    ModelJob *job = model_fence(m, worker, fence, &ignored);
    *fenced = false;
    if (job == NULL) {
        const ModelAttempt *before = model_attempt(m, fence->job, fence->attempt);
        job = model_job(m, fence->job);
        bool ours = before != NULL && uuid_equal(&before->claim, &fence->claim) &&
                    before->worker == worker && before->outcome == (ModelOutcome)outcome &&
                    job->attempt == fence->attempt;
        *fenced = !ours;
        snprintf(state, 16, "%s", ours ? lifecycle_name(job->state) : "fenced");
        return true; /* ours: the first answer was lost */
    }
    if (job->kind == MODEL_BACKUP && (outcome == OUTCOME_COMPLETED || outcome == OUTCOME_PARTIAL))
        return err_set(err, ERR_USAGE, "job.outcome", "a backup completes by its commit");
    snprintf(state, 16, "%s",
             lifecycle_name(model_end(m, fence->job, (ModelOutcome)outcome, cause, retry)));
    return true;
}
