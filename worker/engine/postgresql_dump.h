/* SPDX-License-Identifier: Apache-2.0
 * postgresql_dump.h — what the server's own programs tell about a database: its schema as an
 * archive and as text, and the cluster's globals. An archive is complete when pg_restore can list
 * it; a text is complete when it ends with the dump's end mark. Exit status, standard error and
 * the mark must all be right. */
#ifndef WORKER_ENGINE_POSTGRESQL_DUMP_H
#define WORKER_ENGINE_POSTGRESQL_DUMP_H

#include "worker/engine/postgresql_link.h"
#include "worker/engine/postgresql_tools.h"

typedef enum PostgresqlSection { POSTGRESQL_PRE_DATA, POSTGRESQL_POST_DATA } PostgresqlSection;

/* Runs pg_dump on an exported snapshot: the archive of both sections, without data. Waits for its
 * locks for so many seconds; what comes after them is ERR_BUSY. */
MUST_CHECK bool postgresql_dump_archive(PostgresqlLink *link, const PostgresqlTools *tools,
                                        Text name, const char *snapshot, int lock_wait_s,
                                        Buf *archive, Err *err);
/* One section of an archive as SQL text; no server is asked. */
MUST_CHECK bool postgresql_dump_text(const PostgresqlTools *tools, Slice archive,
                                     PostgresqlSection section, Buf *text, Err *err);
/* Roles and tablespaces. `passwords` false when the role may not read them. */
MUST_CHECK bool postgresql_dump_globals(PostgresqlLink *link, const PostgresqlTools *tools,
                                        bool passwords, Buf *text, Err *err);
/* False, with *err, unless the text ends with the mark. */
MUST_CHECK bool postgresql_dump_ended(Text text, Text mark, const char *what, Err *err);
/* A file in memory with these bytes, to be a child's input; below 0 on failure. */
MUST_CHECK int postgresql_dump_memory(Slice bytes, Err *err);

#endif
