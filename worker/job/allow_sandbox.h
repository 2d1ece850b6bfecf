/* SPDX-License-Identifier: Apache-2.0
 * allow_sandbox.h — `allow.sandbox` of worker.yaml: {folder, user, memory, most, time, stall}. */
#ifndef WORKER_JOB_ALLOW_SANDBOX_H
#define WORKER_JOB_ALLOW_SANDBOX_H

#include "worker/job/allow.h"

MUST_CHECK bool allow_sandbox_parse(const json_t *value, AllowSandbox **out, Err *err);
void allow_sandbox_free(AllowSandbox *sandbox); /* NULL is fine */

#endif
