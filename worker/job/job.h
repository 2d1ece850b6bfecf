/* SPDX-License-Identifier: Apache-2.0
 * job.h — one attempt of one job, as the straight function of its kind sees it.
 * A job knows its order, its fence, the settings of its worker, one patient catalogue connection
 * and whom to report to. job_run looks up the kind, runs it and turns what happened into a verdict;
 * it never tells the catalogue how the attempt ended (the worker's parent does), except for a
 * backup, whose commit is its end. */
#ifndef WORKER_JOB_JOB_H
#define WORKER_JOB_JOB_H

#include "common/base/log.h"
#include "common/catalog/catalog_job.h"
#include "protocol/messages.h"
#include "worker/engine/engine.h"
#include "worker/job/patient.h"
#include "worker/job/settings.h"

#include <stdatomic.h>

/* Where progress and log lines go; may be called from any thread. */
typedef struct JobReport {
    void *ctx;
    void (*progress)(void *ctx, const JobProgress *progress);
    void (*log)(void *ctx, LogLevel level, const char *event, const char *text);
} JobReport;

typedef struct JobParams {
    const JobSettings *settings; /* borrowed */
    Fence fence;
    Text order; /* the claim's answer */
    const char *scratch;
    JobReport report;
} JobParams;

/* Counted by whoever works, read by the reporting thread. */
typedef struct JobCounters {
    atomic_uint_fast64_t bytes_done, bytes_total, items_done, errors, stored;
    _Atomic(const char *) phase;       /* a literal */
    _Atomic(const char *) total_basis; /* a literal */
} JobCounters;

typedef struct Job {
    const JobSettings *settings;
    Fence fence;
    json_t *order;
    const json_t *source, *policy, *repository, *params; /* of the order; never NULL */
    const char *scratch;
    JobReport report;
    Patient *catalog;
    Secret *catalogue_password;
    SecretScope secrets;
    JobCounters counters;
    bool hooked; /* the `before` hook was reached, so `after` may be owed */
    void *kind;  /* state of the running kind, for callbacks that get the job */
    atomic_bool cancelled;
    char reason[64]; /* of the cancel: cancelled, drain, timeout, stalled, fenced */
} Job;

/* How a kind ended well; a failure is an Err. */
typedef struct JobResult {
    JobOutcome outcome; /* OUTCOME_COMPLETED or OUTCOME_PARTIAL */
    bool committed;     /* the catalogue has it already */
    json_t *answer;     /* for the asker; may be NULL */
    char text[300];     /* one line */
} JobResult;

/* The whole verdict of an attempt; freed by job_verdict_free. */
typedef struct JobEnd {
    JobVerdict verdict; /* its texts point below */
    JobResult result;
    Err err;
    Buf answer;
} JobEnd;

MUST_CHECK bool job_open(Job **out, const JobParams *params, Err *err);
void job_close(Job *job); /* NULL is fine */

/* Runs the order; reports progress at least once a second meanwhile. */
void job_run(Job *job, JobEnd *end);
void job_end_free(JobEnd *end);

/* The verdict of an attempt that could not even begin. */
void job_end_failed(const Err *err, JobEnd *end);

/* Any thread: the running kind stops at the next opportunity. The first reason stays. */
void job_cancel(Job *job, const char *reason);

/* --- for the kinds ------------------------------------------------------------------------- */

void job_phase(Job *job, const char *literal); /* the worker hears of it at once */
void job_log(Job *job, LogLevel level, const char *event, const char *format, ...)
    PRINTF_LIKE(4, 5);
bool job_cancelled(void *job);
MUST_CHECK bool job_go_on(const Job *job, Err *err); /* ERR_CANCELLED when it was cancelled */

/* A host for engines: secrets, log and cancel of the job. `issue` gets the job as ctx. */
EngineHost job_host(Job *job, void (*issue)(void *ctx, const Issue *issue));

/* source.type as an engine; its name. */
MUST_CHECK bool job_engine(const Job *job, Text type, const Engine **out, Err *err);
Text job_source_name(const Job *job);

#endif
