/* SPDX-License-Identifier: Apache-2.0
 * postgresql_manifest.h — the backup_manifest that a PostgreSQL server sends with a base backup,
 * compared with the files that came: each of them, its size and its checksum, none more and none
 * missing, and the manifest's own SHA-256 last. It is read line by line as servers 13 and newer
 * write it, one file a line, so a million files need no tree in memory. */
#ifndef WORKER_ENGINE_POSTGRESQL_MANIFEST_H
#define WORKER_ENGINE_POSTGRESQL_MANIFEST_H

#include "common/base/buf.h"

typedef struct PostgresqlManifest PostgresqlManifest;

PostgresqlManifest *postgresql_manifest_new(void);
void postgresql_manifest_free(PostgresqlManifest *manifest); /* NULL is fine */

/* What its head must say: its version, and from 2 on the system's number. Without this any head is
 * taken. */
void postgresql_manifest_expect(PostgresqlManifest *manifest, int version, const char *system);

/* A file came, with this CRC-32C. */
void postgresql_manifest_came(PostgresqlManifest *manifest, Text path, uint64_t size, uint32_t crc);

/* The next bytes of the manifest, cut anywhere. A file that differs is named: ERR_SOURCE, cause
 * "source.manifest". */
MUST_CHECK bool postgresql_manifest_read(PostgresqlManifest *manifest, Slice bytes, Err *err);
/* After its last byte. */
MUST_CHECK bool postgresql_manifest_end(PostgresqlManifest *manifest, Err *err);

uint64_t postgresql_manifest_files(const PostgresqlManifest *manifest);

#endif
