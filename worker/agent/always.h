/* SPDX-License-Identifier: Apache-2.0
 * always.h — the promise that a hook marked `always` runs even when its worker was killed.
 * Before a job with such a hook starts, its order is noted in <cache>/always; the note is locked
 * while its process lives, so an unlocked one was left by a dead worker, and whoever finds it on
 * this host runs the hook. An order holds references, never secrets. */
#ifndef WORKER_AGENT_ALWAYS_H
#define WORKER_AGENT_ALWAYS_H

#include "common/base/buf.h"
#include "common/catalog/catalog.h"

#include <jansson.h>

/* Does this order carry a hook that must run in any case? */
bool always_wanted(const json_t *order);

/* path is filled; *fd holds the lock. */
enum { ALWAYS_PATH = 512 };
MUST_CHECK bool always_note(const char *cache, const Fence *fence, Text order,
                            char path[ALWAYS_PATH], int *fd, Err *err);
void always_done(const char *path, int *fd); /* removes the note */

/* Notes that nobody holds; each is locked for the visitor, who owns fd from then on. */
typedef void AlwaysVisit(void *ctx, const char *path, Text order, int fd);
void always_left(const char *cache, AlwaysVisit *visit, void *ctx);

#endif
