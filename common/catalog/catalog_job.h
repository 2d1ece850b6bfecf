/* SPDX-License-Identifier: Apache-2.0
 * catalog_job.h — the life of a job as the worker that holds it sees it.
 * Claiming is the only way to `running`; (attempt, claim uuid) fences everything after it. A call
 * with a fence that no longer holds changes nothing. Creating, cancelling and retrying, which the
 * scheduler does, are below. */
#ifndef COMMON_CATALOG_CATALOG_JOB_H
#define COMMON_CATALOG_CATALOG_JOB_H

#include "common/catalog/catalog.h"

typedef enum ClaimStatus {
    CLAIM_GRANTED = 1,
    CLAIM_STALE,  /* not claimable by this ticket or worker: acknowledge and forget the ticket */
    CLAIM_BUSY,   /* the source's lane is taken: deferred, acknowledge */
    CLAIM_FULL,   /* a limit is reached: deferred, acknowledge */
    CLAIM_UNFIT,  /* this worker lacks something, `missing` says what: ticket to the far end */
    CLAIM_PAUSED, /* pool paused or worker draining: give the ticket back */
} ClaimStatus;

typedef struct ClaimAnswer {
    ClaimStatus status;
    uint64_t attempt;  /* granted */
    Buf order;         /* granted: the order as JSON; freed by catalog_job_claim_free */
    char missing[256]; /* not granted: why, one line */
} ClaimAnswer;

typedef struct ClaimRow {
    uint64_t job, dispatch;
    Uuid claim;
} ClaimRow;

enum { CLAIMS_MOST = 32 };

/* One answer a row, 1 to CLAIMS_MOST of them, in one commit: after a failure none is granted.
 * Repeating with the same claim uuid after a lost reply gives the same grant again. */
MUST_CHECK bool catalog_job_claims(Catalog *c, const Uuid *instance, const ClaimRow *rows,
                                   size_t count, ClaimAnswer *answers, Err *err);
/* One of them. */
MUST_CHECK bool catalog_job_claim(Catalog *c, const Uuid *instance, uint64_t job, uint64_t dispatch,
                                  const Uuid *claim, ClaimAnswer *out, Err *err);
void catalog_job_claim_free(ClaimAnswer *answer);

/* The verdict of an attempt. A backup completes only by catalog_backup_commit. */
typedef enum JobOutcome {
    OUTCOME_COMPLETED = 1, /* kinds without a backup */
    OUTCOME_PARTIAL,
    OUTCOME_FAILED,
    OUTCOME_RELEASED, /* drain: no counter moves, another worker may go on at once */
    OUTCOME_CANCELLED,
} JobOutcome;

typedef struct JobVerdictRow {
    JobOutcome outcome;
    Text code;  /* name of the errors.def row */
    Text cause; /* dotted */
    Text text;  /* one line */
    bool retry; /* failed: may the same job succeed later? */
} JobVerdictRow;

/* `state`: what the job is now ("pending" when it will be tried again). fenced: somebody else
 * holds or ended it, nothing changed. Repeating after a lost reply answers as the first time. */
MUST_CHECK bool catalog_job_finish(Catalog *c, const Fence *fence, const JobVerdictRow *verdict,
                                   char state[16], bool *fenced, Err *err);

typedef struct JobLogLine {
    int64_t at_ns;
    uint8_t level; /* LogLevel: 0 debug, 1 info, 2 warn, 3 error */
    Text event;
    Text text; /* bytes that are not UTF-8 are replaced */
} JobLogLine;

/* Appends; lines after the 10 000th of an attempt are counted, not kept. */
MUST_CHECK bool catalog_job_log(Catalog *c, const Fence *fence, const JobLogLine *lines,
                                size_t count, bool *fenced, Err *err);

/* The small answer of a probe, or the report of a restore or verify: JSON, at most 1 MiB. A
 * probe's answer lives an hour. */
MUST_CHECK bool catalog_job_answer(Catalog *c, const Fence *fence, Text json, bool *fenced,
                                   Err *err);

/* Does a later attempt of this restore run, or does a later run of the group that this job led hold
 * the application? For what a dead attempt of this host left to do. */
MUST_CHECK bool catalog_job_passed(Catalog *c, uint64_t job, uint64_t attempt, bool *passed,
                                   Err *err);
/* What an earlier attempt of this restore said with catalog_job_answer; nothing where none did. */
MUST_CHECK bool catalog_restore_answered(Catalog *c, const Fence *fence, Buf *answer, Err *err);

/* Is the fence still held, and is a cancel asked for? For a child before an irrevocable step. */
MUST_CHECK bool catalog_job_held(Catalog *c, const Fence *fence, bool *held, bool *cancel,
                                 Err *err);

/* --- the scheduler's side ------------------------------------------------------------------- */

/* What is asked for in an emergency goes before everything else and counts in no limit. */
enum { JOB_PRIORITY_EMERGENCY = 100 };

typedef struct JobRequest {
    Text kind;    /* backup restore verify probe prune retention rebuild health copy */
    Text trigger; /* manual retry initial emergency */
    Text source;  /* name; may be empty for kinds that name a store or a backup */

    Text pool;            /* empty: the source's */
    Text params;          /* JSON object as in the order's "params" */
    Text actor;           /* who asked */
    Text idempotency_key; /* empty: none; the same key gives the same job back */
    int32_t priority;     /* -100 … 100; probes and restores are urgent whatever this says */
    int64_t start_by_ns;  /* 0: none */
} JobRequest;

typedef struct JobCreated {
    uint64_t job;
    uint32_t pool;
    bool again; /* the idempotency key was known: nothing was created */
} JobCreated;

/* Causes: source.unknown, source.retired, pool.unknown, backup.unknown, job.params. */
MUST_CHECK bool catalog_job_create(Catalog *c, const JobRequest *request, JobCreated *out,
                                   Err *err);

/* A waiting job is cancelled at once; a running one is told with its next heartbeat. `state` is
 * what it is now; a job that has ended is left alone. ERR_MISSING job.unknown. */
MUST_CHECK bool catalog_job_cancel(Catalog *c, uint64_t job, Text actor, Text reason,
                                   char state[16], Err *err);

/* A failed job is tried again with fresh counters (out->again is true); one that was cancelled,
 * missed or skipped gives a new job with its params. Others: ERR_CONFLICT job.not_ended. */
MUST_CHECK bool catalog_job_retry(Catalog *c, uint64_t job, Text actor, JobCreated *out, Err *err);

#endif
