/* SPDX-License-Identifier: Apache-2.0
 * postgresql_tally.h — what is in a whole server: every table and materialized view of every
 * database that takes sessions is read to its end and counted. */
#ifndef WORKER_ENGINE_POSTGRESQL_TALLY_H
#define WORKER_ENGINE_POSTGRESQL_TALLY_H

#include "worker/engine/postgresql_link.h"

/* Adds to the report: databases, tables, rows. *alone: the only database that is nobody's by
 * default, or "postgres" where there is none or more than one. Refuses, as "sandbox.collation", a
 * server whose text is ordered otherwise than where it comes from: its indexes are then wrong here
 * and right there. */
MUST_CHECK bool postgresql_tally(PostgresqlLink *link, const EngineHost *host, json_t *report,
                                 Buf *alone, Err *err);

#endif
