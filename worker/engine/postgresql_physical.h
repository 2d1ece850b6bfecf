/* SPDX-License-Identifier: Apache-2.0
 * postgresql_physical.h — the method "physical" of the engine "postgresql": a base backup of a
 * whole cluster over the replication protocol. Entries of a backup:
 *   <path>                    files and directories of the data directory as they are called there:
 *                             phase 0 directories, 1 files, 2 global/pg_control
 *   pg_tblspc/<oid>           phase 0  a tablespace; note {"location", "oid"}
 *   pg_tblspc/<oid>/<path>    its files
 *   pg_wal/<file>             phase 1  the log from the backup's start to its stop
 *   backup_manifest           phase 1  the server's own list of files; pg_verifybackup reads it
 * Lane 0 reads the base backup, lane 1 the log beside it. */
#ifndef WORKER_ENGINE_POSTGRESQL_PHYSICAL_H
#define WORKER_ENGINE_POSTGRESQL_PHYSICAL_H

#include "worker/engine/engine.h"

/* Is a job's or else a source's method the physical one? */
bool postgresql_physical_asked(const EngineParams *params);

MUST_CHECK bool postgresql_physical_open(Source **out, const EngineParams *params, Err *err);

#endif
