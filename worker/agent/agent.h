/* SPDX-License-Identifier: Apache-2.0
 * agent.h — the worker's parent process: it announces itself, takes tickets while it has free
 * slots, claims them, holds their leases, runs each job in a child, and drains when told to.
 * SIGTERM or SIGINT: takes nothing new, waits for running jobs up to drain_ms, then releases them;
 * a second one releases them now. SIGHUP: reads its file again, looks at keys, tools and
 * credentials and announces what it found. Running jobs keep what they started with. */
#ifndef WORKER_AGENT_AGENT_H
#define WORKER_AGENT_AGENT_H

#include "common/catalog/catalog.h"
#include "common/queue/queue.h"
#include "worker/agent/runner.h"
#include "worker/job/settings.h"

typedef struct AgentParams AgentParams;
struct AgentParams {
    const JobSettings *settings;
    const json_t *tags; /* may be NULL */
    CatalogParams catalog;
    QueueParams queue;
    uint32_t slots;
    char *const *child_argv; /* the program, its options, "job" */
    const char *config;      /* the file that was read; "" for none */
    int64_t drain_ms;
    int64_t kill_grace_ms;
    RunnerLimits limits;
    /* On SIGHUP: puts what the file says now into *fresh, a copy of these. Only settings, tags,
     * slots, drain_ms, kill_grace_ms and limits are taken from it, all of them or, when it fails,
     * none. What it points at, and what the last one pointed at, lives as long as the agent. NULL:
     * nothing to read. */
    bool (*reload)(void *ctx, AgentParams *fresh, Err *err);
    void *reload_ctx;
};

/* Until it is drained. Fails only for what waiting cannot cure. */
MUST_CHECK bool agent_run(const AgentParams *params, Err *err);

#endif
