/* SPDX-License-Identifier: Apache-2.0
 * scratch.h — a directory of its own for each job child, below the worker's cache. */
#ifndef WORKER_AGENT_SCRATCH_H
#define WORKER_AGENT_SCRATCH_H

#include "protocol/err.h"

enum { SCRATCH_PATH = 512 };

MUST_CHECK bool scratch_make(const char *cache, char path[SCRATCH_PATH], Err *err);
void scratch_drop(char path[SCRATCH_PATH]); /* with all that is in it; "" is fine, and after */

#endif
