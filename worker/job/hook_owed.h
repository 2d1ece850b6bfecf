/* SPDX-License-Identifier: Apache-2.0
 * hook_owed.h — what an order owes its source even when its attempt is killed. Pure. */
#ifndef WORKER_JOB_HOOK_OWED_H
#define WORKER_JOB_HOOK_OWED_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

/* A backup's `after` that is marked `always`. */
bool hook_owed_after(const json_t *order);
/* The `release` of a group's first member, after its `hold` (group.h). */
bool hook_owed_release(const json_t *order);
/* The starts of applications that a restore in place has stopped (apps.h). */
bool hook_owed_apps(const json_t *order);
/* The time limits of these programs together, in seconds; that of `after` is not among them. */
uint64_t hook_owed_s(const json_t *order);

#endif
