/* SPDX-License-Identifier: Apache-2.0
 * once_rebuild.h — the catalogue told again from a store, without a job, a worker or Redis. */
#ifndef WORKER_ONCE_ONCE_REBUILD_H
#define WORKER_ONCE_ONCE_REBUILD_H

#include "common/repo/repo.h"
#include "worker/once/once_args.h"

/* args->catalogue is opened as the administrator; its schema must be there (migrate). The report
 * goes to stdout. *clean: everything that the store names came back whole. */
MUST_CHECK bool once_rebuild(const OnceArgs *args, Repo *repo, bool *clean, Err *err);

#endif
