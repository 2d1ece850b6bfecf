/* SPDX-License-Identifier: Apache-2.0
 * work.h — one taken ticket, from the claim to the acknowledgement.
 *   claiming -> running -> (cleaning ->) ending -> over
 * Running is the job child; cleaning is a second child that runs the hooks marked `always` because
 * the first died without a verdict; ending is telling the catalogue, or asking for the commit that
 * the dead child had noted (worker/agent/owed.h). The watchdogs stop a child
 * that makes no progress, runs too long, lost its lease or is not wanted any more: it is asked,
 * then its group is sent TERM, then KILL. Everything here is on the loop's thread. */
#ifndef WORKER_AGENT_WORK_H
#define WORKER_AGENT_WORK_H

#include "common/queue/taker.h"
#include "worker/agent/desk.h"
#include "worker/agent/lease.h"
#include "worker/agent/runner.h"
#include "worker/job/note.h"

typedef struct Work Work;

/* What all works of a process share. */
typedef struct WorkHost {
    Loop *loop;
    Desk *desk;
    Lease *lease;
    Taker *taker;
    Uuid instance;
    char *const *child_argv; /* the program, its options, "job" */
    const char *config;      /* for the order; "" when there is none */
    const char *cache;       /* scratch directories and notes lie below it */
    const char *name;        /* of the worker */
    const RunnerLimits *limits;
    int64_t kill_grace_ms; /* from asking a child to killing it */
    void *ctx;
    void (*on_over)(void *ctx, Work *work); /* frees it with work_free */
} WorkHost;

typedef enum WorkStop {
    WORK_GO_ON,
    WORK_CANCELLED, /* somebody asked */
    WORK_DRAIN,     /* this worker stops: another goes on */
    WORK_STALLED,   /* no progress for stall_s */
    WORK_TIMEOUT,   /* longer than timeout_s */
    WORK_FENCED,    /* the lease is lost: killed at once, unless it has just committed */
} WorkStop;

/* Asks the desk for the claim. The ticket is the work's from now on. */
Work *work_begin(const WorkHost *host, TakerTicket *ticket);

/* Resumes what a dead worker left: only the `always` hooks of that order. Takes the note; NULL: it
 * says nothing that can be done. */
Work *work_clean(const WorkHost *host, Note *note, Text order);

const Fence *work_fence(const Work *work);
bool work_running(const Work *work); /* holds a claim */
void work_stop(Work *work, WorkStop why);
void work_held(Work *work, int64_t until_ns); /* the lease lasts until then at least */
void work_tick(Work *work);                   /* a few times a second: watchdogs, log lines */
void work_poll(Work *work);                   /* after SIGCHLD */
void work_free(Work *work);                   /* kills what runs */

#endif
