/* SPDX-License-Identifier: Apache-2.0
 * postgresql_file.h — a dump that no backup of ours holds, on its way into a database: SQL as
 * pg_dump writes it or somebody by hand, or an archive that pg_restore turns into SQL.
 * As any restore it is built under a temporary name, and gets its own only when the last statement
 * has run and the dump's end was seen; the first error ends it, with the line, and leaves nothing.
 * A database that is there already is replaced in place with its name typed, or when it is empty:
 * it keeps its owner, rights, settings and encoding. */
#ifndef WORKER_ENGINE_POSTGRESQL_FILE_H
#define WORKER_ENGINE_POSTGRESQL_FILE_H

#include "worker/engine/engine.h"

/* request: {"target": {"database": name}, "in_place", "confirmed"}. Without a target the only
 * database that the source's config names. *report: {"engine", "databases": [{"name", "database",
 * "tables", "rows", "set_aside", "sessions_ended"}], "statements"}. */
MUST_CHECK bool postgresql_file_restore(const EngineParams *params, const EngineFile *file,
                                        json_t **report, Err *err);

/* The request's own target, or that only database. */
MUST_CHECK bool postgresql_file_target(const EngineParams *params, Text *name, Err *err);

#endif
