/* SPDX-License-Identifier: Apache-2.0
 * rebuild.h — the catalogue told again from a store and a reader key.
 * Index objects and packs first, each compared with what is really there; then every backup that
 * has a marker; then those without one, of each job's attempts the highest that is whole. All calls
 * may be repeated, so a run that was killed is simply run again: it skips what is told already.
 * Memory is bounded by the names of a store's objects (16 bytes each) and one index object. Nothing
 * is written to the store. */
#ifndef WORKER_JOB_REBUILD_H
#define WORKER_JOB_REBUILD_H

#include "common/catalog/catalog_rebuild.h"
#include "common/repo/repo.h"
#include "worker/job/job.h"

typedef struct RebuildParams {
    Repo *repo; /* opened with a reader key */
    Patient *catalog;
    Rebuilder who;      /* fence zero: without a job, as the administrator */
    RebuildPlace place; /* id is filled here */
    size_t memory_bytes;
    void *ctx;
    void (*note)(void *ctx, LogLevel level, const char *event, const char *text);
    /* Once in a while: so much of so much is done. False ends it, with *err set. */
    bool (*go_on)(void *ctx, const char *phase, uint64_t done, uint64_t total, Err *err);
} RebuildParams;

/* *report says what came back, what did not and why; the caller frees it. */
MUST_CHECK bool rebuild_store(const RebuildParams *params, json_t **report, Err *err);

/* The job of kind `rebuild`. params.what: rebuild or merge. */
MUST_CHECK bool rebuild_run(Job *job, JobResult *result, Err *err);

#endif
