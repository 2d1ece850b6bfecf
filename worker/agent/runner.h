/* SPDX-License-Identifier: Apache-2.0
 * runner.h — one job child: this program executed again, in a process group of its own, with
 * nothing of ours but the two pipes of worker/job/channel.h, a cleaned environment and limits.
 * The kernel kills it when our process dies; its whole group is killed when it ends, so that no
 * tool or hook outlives its attempt. */
#ifndef WORKER_AGENT_RUNNER_H
#define WORKER_AGENT_RUNNER_H

#include "common/base/loop.h"
#include "protocol/messages.h"

typedef struct Runner Runner;

/* What a job and everything it starts may use; 0: as much as the worker itself. Never raised above
 * the worker's own hard limits, and the job cannot raise them again. */
typedef struct RunnerLimits {
    uint64_t files;      /* open descriptors of one process */
    uint64_t memory;     /* bytes of private memory of one process (RLIMIT_DATA) */
    uint64_t file_bytes; /* length of one file that it writes */
    uint64_t processes;  /* processes and threads of the worker's user; root is exempt */
} RunnerLimits;

typedef struct RunnerParams {
    Loop *loop;
    RunnerLimits limits;
    char *const *argv; /* of this same program, executed anew */
    void *ctx;
    void (*on_frame)(void *ctx, Slice frame);
    /* The last call: status as waitpid gives it; every frame was delivered before. */
    void (*on_exit)(void *ctx, int status);
} RunnerParams;

/* Called on the loop's thread, which must be the thread that lives as long as the process: the
 * death signal is tied to it. */
MUST_CHECK bool runner_start(Runner **out, const RunnerParams *params, const JobOrder *order,
                             Err *err);

void runner_cancel(Runner *runner, Text reason); /* asks; a child that hangs does not hear it */
void runner_signal(Runner *runner, int number);  /* to the whole group */

/* Delivers what the child has written so far; never on_exit. */
void runner_hear(Runner *runner);

/* To be called after SIGCHLD: ends the runner when its process has. on_exit may free it. */
void runner_poll(Runner *runner);

/* Kills what still runs. NULL is fine. */
void runner_free(Runner *runner);

/* "was killed by signal 9 (KILL)", "exited with status 3". */
void runner_describe(int status, char *out, size_t room);

#endif
