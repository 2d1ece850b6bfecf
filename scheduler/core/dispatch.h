/* SPDX-License-Identifier: Apache-2.0
 * dispatch.h — due jobs become tickets. PostgreSQL first, Redis second: a crash between the two, a
 * lost push or an emptied Redis is repaired from the catalogue. */
#ifndef SCHEDULER_CORE_DISPATCH_H
#define SCHEDULER_CORE_DISPATCH_H

#include "common/catalog/catalog_plan.h"
#include "common/queue/queue.h"

/* Ends what is overdue, then fills each pool's window. *pushed counts tickets. */
MUST_CHECK bool dispatch_due(Catalog *catalog, Queue *queue, uint64_t *pushed, Err *err);

/* Finds pools whose Redis lost its data and pushes every queued job of theirs again; then tickets
 * that are out for too long, tickets of dead workers, and entries of jobs that are over. */
MUST_CHECK bool dispatch_repair(Catalog *catalog, Queue *queue, Err *err);

/* Every queued job of every pool is pushed, whether or not its ticket is there: a new leader does
 * not know what the one before it committed and did not push. */
MUST_CHECK bool dispatch_again(Catalog *catalog, Queue *queue, Err *err);

/* Only the first of these: a generation that is gone. Cheap, once a second. */
MUST_CHECK bool dispatch_resync(Catalog *catalog, Queue *queue, Err *err);

#endif
