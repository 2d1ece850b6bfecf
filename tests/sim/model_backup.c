/* SPDX-License-Identifier: Apache-2.0 — 0009_packs.sql, 0010_backup.sql and 0026_stray_packs.sql */
#include "tests/sim/model.h"

#include <stdio.h>

/* Probes open no session. */
static ModelJob *writer(Model *m, uint32_t worker, const Fence *fence, Err *err)
{
    ModelJob *job = model_fence(m, worker, fence, err);
    if (job == NULL || job->kind == MODEL_BACKUP)
        return job;
    err_set(err, ERR_USAGE, "job.no_session", "its kind writes no repository");
    return NULL;
}

bool model_bind(Model *m, uint32_t worker, const Fence *fence, const Uuid *id, Err *err)
{
    if (writer(m, worker, fence, err) == NULL)
        return false;
    if (!m->repository_bound)
        m->repository = *id;
    m->repository_bound = true;
    return uuid_equal(&m->repository, id) ||
           err_set(err, ERR_CONFLICT, "repo.other_id", "another repository is there");
}

bool model_pack_begin(Model *m, uint32_t worker, const Fence *fence, const Uuid *object,
                      uint64_t *pack, Err *err)
{
    const ModelJob *job = writer(m, worker, fence, err);
    if (job == NULL)
        return false;
    for (size_t i = 0; i < m->packs.count; i++) {
        const ModelPack *one = &m->packs.rows[i];
        if (!uuid_equal(&one->object, object))
            continue;
        *pack = i + 1;
        bool ours =
            one->job == fence->job && one->attempt == fence->attempt && !one->live && !one->swept;
        (void)model_add(&m->packs, (ModelPack){0}); /* the refused row took a number */
        return ours || err_set(err, ERR_CONFLICT, "pack.object_taken", "the object is taken");
    }
    (void)model_add(&m->packs, (ModelPack){.object = *object,
                                           .job = fence->job,
                                           .attempt = fence->attempt,
                                           .domain = job->source});
    *pack = m->packs.count;
    return true;
}

bool model_pack_stage(Model *m, uint32_t worker, const Fence *fence, uint64_t number,
                      const Uuid *object, const Sha256 *sha256, Err *err)
{
    if (model_fence(m, worker, fence, err) == NULL)
        return false;
    ModelPack *pack = number == 0 || number > m->packs.count ? NULL : &m->packs.rows[number - 1];
    if (pack == NULL || !uuid_equal(&pack->object, object) || pack->job != fence->job ||
        pack->attempt != fence->attempt || pack->live || pack->swept)
        return err_set(err, ERR_CONFLICT, "pack.not_ours", "not this attempt's to stage");
    if (pack->stored && memcmp(&pack->sha256, sha256, sizeof *sha256) != 0)
        return err_set(err, ERR_CONFLICT, "pack.restaged", "staged with other bytes");
    pack->stored = true;
    pack->sha256 = *sha256;
    return true;
}

bool model_adopt(Model *m, uint32_t worker, const Fence *fence, Err *err)
{
    if (writer(m, worker, fence, err) == NULL)
        return false;
    for (size_t i = 0; i < m->packs.count; i++) {
        ModelPack *pack = &m->packs.rows[i];
        if (pack->job == fence->job && !pack->live && !pack->swept && pack->stored &&
            pack->attempt < fence->attempt)
            pack->attempt = fence->attempt;
    }
    return true;
}

uint64_t model_sweep(Model *m)
{
    uint64_t swept = 0;
    for (size_t i = 0; i < m->packs.count; i++) {
        ModelPack *pack = &m->packs.rows[i];
        if (pack->job == 0 || pack->live || pack->swept)
            continue;
        const ModelJob *job = &m->jobs.rows[pack->job - 1];
        pack->swept = job->state == JOB_FAILED ? job->finished_at < m->now - INT64_C(86400000000)
                                               : lifecycle_terminal(job->state);
        swept += pack->swept;
    }
    return swept;
}

static const ModelBackup *backup_of(const Model *m, const Uuid *id)
{
    for (size_t i = 0; i < m->backups.count; i++)
        if (uuid_equal(&m->backups.rows[i].id, id))
            return &m->backups.rows[i];
    return NULL;
}

/* The very commit that is asked for again, by who made it. */
static bool already(Model *m, uint32_t worker, const Fence *fence, const BackupRow *row)
{
    const ModelBackup *backup = backup_of(m, &row->id);
    const ModelAttempt *attempt = model_attempt(m, fence->job, fence->attempt);
    return backup != NULL && attempt != NULL && backup->job == fence->job &&
           backup->attempt == fence->attempt && attempt->worker == worker &&
           uuid_equal(&attempt->claim, &fence->claim) &&
           memcmp(&backup->manifest, &row->manifest_sha256, sizeof backup->manifest) == 0;
}

static bool pack_usable(const Model *m, const Fence *fence, uint32_t source, uint64_t number)
{
    if (number == 0 || number > m->packs.count)
        return false;
    const ModelPack *pack = &m->packs.rows[number - 1];
    if (!pack->stored || pack->swept)
        return false;
    if (!pack->live)
        return pack->job == fence->job && pack->attempt == fence->attempt;
    return pack->domain == source;
}

static uint64_t next_sequence(const Model *m, uint32_t source)
{
    uint64_t top = 0;
    for (size_t i = 0; i < m->backups.count; i++)
        if (m->backups.rows[i].source == source && m->backups.rows[i].sequence > top)
            top = m->backups.rows[i].sequence;
    return top + 1;
}

static void insert(Model *m, const Fence *fence, const BackupRow *row)
{
    const ModelJob *job = model_job(m, fence->job);
    ModelBackup backup = {.id = row->id,
                          .job = fence->job,
                          .attempt = fence->attempt,
                          .source = job->source,
                          .sequence = row->sequence,
                          .partial = row->partial,
                          .manifest = row->manifest_sha256,
                          .committed_at = m->now};
    for (size_t i = 0; i < row->pack_count && i < 32; i++) {
        m->packs.rows[row->pack_nos[i] - 1].live = true;
        backup.packs[backup.pack_count++] = row->pack_nos[i];
    }
    (void)model_add(&m->backups, backup);
}

bool model_commit(Model *m, uint32_t worker, const Fence *fence, const BackupRow *row,
                  CommitAnswer *answer, char detail[256], Err *err)
{
    Err ignored = {0};
    detail[0] = '\0';
    if (already(m, worker, fence, row)) {
        *answer = COMMIT_ALREADY;
        return true;
    }
    ModelJob *job = model_fence(m, worker, fence, &ignored);
    if (job == NULL) {
        *answer = COMMIT_FENCED;
        return true;
    }
    if (job->kind != MODEL_BACKUP)
        return err_set(err, ERR_USAGE, "job.kind", "a probe commits no backup");
    for (size_t i = 0; i < row->pack_count; i++)
        if (!pack_usable(m, fence, job->source, row->pack_nos[i])) {
            snprintf(detail, 256, "%llu", (unsigned long long)row->pack_nos[i]);
            *answer = COMMIT_DAMAGED;
            return true;
        }
    if (row->sequence != next_sequence(m, job->source))
        return err_set(err, ERR_CONFLICT, "backup.sequence", "its source is elsewhere");
    insert(m, fence, row);
    model_attempt_end(m, fence->job, row->partial ? MODEL_PARTIAL : MODEL_COMPLETED);
    model_move(m, job, row->partial ? JOB_PARTIAL : JOB_COMPLETED);
    job->claim = (Uuid){{0}};
    job->finished_at = m->now;
    *answer = COMMIT_OK;
    return true;
}

bool model_marker(Model *m, uint32_t worker, const Fence *fence, const Uuid *id, Err *err)
{
    ModelBackup *backup = NULL;
    for (size_t i = 0; i < m->backups.count; i++)
        if (uuid_equal(&m->backups.rows[i].id, id))
            backup = &m->backups.rows[i];
    const ModelAttempt *attempt = model_attempt(m, fence->job, fence->attempt);
    bool own = backup != NULL && attempt != NULL && backup->job == fence->job &&
               backup->attempt == fence->attempt && attempt->worker == worker &&
               uuid_equal(&attempt->claim, &fence->claim);
    if (!own && writer(m, worker, fence, err) == NULL)
        return false;
    if (backup != NULL)
        backup->marked = true;
    return true;
}
