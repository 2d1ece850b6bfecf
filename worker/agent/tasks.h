/* SPDX-License-Identifier: Apache-2.0
 * tasks.h — what a work asks of the catalogue through the desk. Texts are copied. `done` is called
 * on the loop's thread exactly once; ERR_CANCELLED means that the worker stops. */
#ifndef WORKER_AGENT_TASKS_H
#define WORKER_AGENT_TASKS_H

#include "common/base/log.h"
#include "common/catalog/catalog_job.h"
#include "worker/agent/desk.h"

/* answer is freed by the callee's caller; it may take answer->order by zeroing it. */
typedef void TasksClaimed(void *ctx, ClaimAnswer *answer, const Err *err);
void tasks_claim(Desk *desk, const Uuid *instance, uint64_t job, uint64_t dispatch,
                 const Uuid *claim, TasksClaimed *done, void *ctx);

typedef struct TasksVerdict {
    JobOutcome outcome;
    Text code, cause, text;
    bool retry;
    Text answer; /* JSON of a probe or a report; empty: none */
} TasksVerdict;

/* Waits for the catalogue for hours rather than losing a verdict. */
typedef void TasksFinished(void *ctx, const char *state, bool fenced, const Err *err);
void tasks_finish(Desk *desk, const Fence *fence, const TasksVerdict *verdict, TasksFinished *done,
                  void *ctx);

/* Lines of a job's log, gathered and sent together. NULL is none yet. */
typedef struct TasksLog TasksLog;
void tasks_log_add(TasksLog **log, const Fence *fence, LogLevel level, Text event, Text text);
size_t tasks_log_count(const TasksLog *log);
void tasks_log_post(Desk *desk, TasksLog **log); /* takes it */
void tasks_log_free(TasksLog **log);

#endif
