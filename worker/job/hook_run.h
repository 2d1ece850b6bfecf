/* SPDX-License-Identifier: Apache-2.0
 * hook_run.h — runs one hook program to its end. */
#ifndef WORKER_JOB_HOOK_RUN_H
#define WORKER_JOB_HOOK_RUN_H

#include "common/base/buf.h"

typedef struct HookRun {
    const char *directory;
    Text name;                      /* one part of a path */
    const char *const *environment; /* "HOLDFAST_…=…", ends with NULL; PATH and LANG are added */
    int64_t timeout_ms;
    bool (*cancelled)(void *ctx); /* NULL: never */
    void *ctx;
} HookRun;

/* The first and last of what it said go to *words. ERR_DENIED hook.unsafe, ERR_MISSING
 * hook.missing, ERR_TIMEOUT hook.timeout, ERR_SOURCE hook.failed. */
MUST_CHECK bool hook_run(const HookRun *run, Buf *words, Err *err);

#endif
