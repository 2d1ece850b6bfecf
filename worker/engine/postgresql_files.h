/* SPDX-License-Identifier: Apache-2.0
 * postgresql_files.h — a base backup as entries: the files and directories of a cluster, read from
 * the archives as they stream by, and checked on the way: each against the server's manifest, which
 * is the last entry, and each page of a relation against its checksum where the cluster has them.
 * Paths are those of the data directory; a tablespace is the directory pg_tblspc/<oid> with its
 * location in the note. One thread at a time. */
#ifndef WORKER_ENGINE_POSTGRESQL_FILES_H
#define WORKER_ENGINE_POSTGRESQL_FILES_H

#include "worker/engine/postgresql_base.h"

typedef struct PostgresqlFiles PostgresqlFiles;

enum { POSTGRESQL_PHASE_MAKE = 0, POSTGRESQL_PHASE_FILL = 1, POSTGRESQL_PHASE_LAST = 2 };

typedef struct PostgresqlFilesCount {
    uint64_t files, bytes;
    uint64_t wrong_pages; /* after the end */
} PostgresqlFilesCount;

/* Begins the backup and reads to its first file. */
MUST_CHECK bool postgresql_files_open(PostgresqlFiles **out, const PostgresqlBaseParams *params,
                                      Err *err);
/* As SourceOps have it. At the end the stop is known, and wrong pages were told as issues. */
MUST_CHECK bool postgresql_files_next(PostgresqlFiles *files, Entry *entry, bool *more, Err *err);
MUST_CHECK bool postgresql_files_read(PostgresqlFiles *files, uint8_t *at, size_t room, size_t *got,
                                      Err *err);
MUST_CHECK bool postgresql_files_end(PostgresqlFiles *files, Entry *entry, Err *err);

const PostgresqlBaseFacts *postgresql_files_facts(const PostgresqlFiles *files);
const PostgresqlFilesCount *postgresql_files_count(const PostgresqlFiles *files);
/* [{"oid", "location", "files", "bytes"}]; the data directory is the one without an oid. */
const json_t *postgresql_files_places(const PostgresqlFiles *files);
/* Who owns the first file: on the server, who owns all. */
void postgresql_files_owner(const PostgresqlFiles *files, uint32_t *uid, uint32_t *gid);
void postgresql_files_close(PostgresqlFiles *files); /* NULL is fine */

#endif
