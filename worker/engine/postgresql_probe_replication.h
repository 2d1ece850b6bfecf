/* SPDX-License-Identifier: Apache-2.0
 * postgresql_probe_replication.h — `source test` of a source that is read by the replication
 * protocol: a whole cluster (method physical) or its log (method wal). It does what a backup does
 * first, two sessions and a slot that ends with them, and needs none of the server's programs. */
#ifndef WORKER_ENGINE_POSTGRESQL_PROBE_REPLICATION_H
#define WORKER_ENGINE_POSTGRESQL_PROBE_REPLICATION_H

#include "worker/engine/postgresql_check.h"
#include "worker/engine/postgresql_link.h"

bool postgresql_probe_replicates(const EngineParams *params);
/* Adds to the checks, and what the server is to the report. Leaves nothing on the server. */
void postgresql_probe_replication(PostgresqlLink *link, const EngineParams *params, json_t *report,
                                  PostgresqlChecks *checks);

#endif
