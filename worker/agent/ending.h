/* SPDX-License-Identifier: Apache-2.0
 * ending.h — what the catalogue is told of an attempt that is over: what the child said itself,
 * unless this worker stopped it, or why there was no child, or how it died without a word. */
#ifndef WORKER_AGENT_ENDING_H
#define WORKER_AGENT_ENDING_H

#include "protocol/messages.h"
#include "worker/agent/tasks.h"
#include "worker/agent/work.h"

enum { ENDING_TEXT = 300 };

typedef struct Ending {
    WorkStop stop;             /* what this worker did to it */
    const JobVerdict *verdict; /* the child's; NULL: none came */
    const Err *failure;        /* why there was no child; code ERR_NONE: there was one */
    const char *died;          /* how the child ended, as runner_describe says it */
    const char *phase;         /* its last */
} Ending;

/* Its texts point into the ending's, or into `text`. */
TasksVerdict ending_verdict(const Ending *ending, char text[ENDING_TEXT]);

#endif
