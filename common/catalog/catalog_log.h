/* SPDX-License-Identifier: Apache-2.0
 * catalog_log.h — what a worker says of a server's log beside its batches. */
#ifndef COMMON_CATALOG_CATALOG_LOG_H
#define COMMON_CATALOG_CATALOG_LOG_H

#include "common/catalog/catalog.h"

/* What waits in the spool of this worker's host, of one cluster. */
typedef struct LogSpool {
    Text system;
    uint64_t files, bytes;
    int64_t oldest_ns; /* 0: nothing waits */
} LogSpool;

/* *job: the one that was made for it; 0: none was needed, or the cluster is of no source here. */
MUST_CHECK bool catalog_log_spooled(Catalog *c, const LogSpool *spool, uint64_t *job, Err *err);

/* Nothing came since the last batch: the attempt ends its job as completed, without a backup. May
 * be repeated. ERR_FENCED "job.fenced" when the job is another's. */
MUST_CHECK bool catalog_log_idle(Catalog *c, const Fence *fence, Text text, Err *err);

#endif
