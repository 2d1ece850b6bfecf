/* SPDX-License-Identifier: Apache-2.0
 * postgresql_cluster.h — a physical backup on its way back: into an empty directory, on which a
 * server of the same major version starts and recovers to the backup's stop by the log that came
 * with it. Files and directories are made by the target of plain files (files_target.h), one for
 * the data directory and one a tablespace; what it would only tell ends this restore, for half a
 * cluster is none. global/pg_control comes last, behind a sync of all that is there by then:
 * without it no server starts. With "delta": true over what is there
 * (postgresql_delta.h). request: `target` as postgresql_places.h has it, and `details`, the
 * receipt's of the backup. */
#ifndef WORKER_ENGINE_POSTGRESQL_CLUSTER_H
#define WORKER_ENGINE_POSTGRESQL_CLUSTER_H

#include "worker/engine/engine.h"

/* Is the backup that this restore is of a physical one? */
bool postgresql_cluster_asked(const EngineParams *params);

MUST_CHECK bool postgresql_cluster_open(Target **out, const EngineParams *params, Err *err);
/* What it would do: Engine.plan. */
MUST_CHECK bool postgresql_cluster_plan(const EngineParams *params, json_t **report, Err *err);

#endif
