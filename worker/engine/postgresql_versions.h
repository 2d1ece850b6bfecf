/* SPDX-License-Identifier: Apache-2.0
 * postgresql_versions.h — what differs between the servers whose clusters are copied, 13 to 18: the
 * words of the replication protocol and what a server says of itself. A major that is not here is
 * refused by name: nobody knows what its files and words will be.
 * Written from the documents of each major, postgresql.org/docs/<major>: "Streaming Replication
 * Protocol" (BASE_BACKUP), "Backup Manifest Format", and the release notes of 14 (in_hot_standby),
 * 15 (options in parentheses, one COPY of all archives) and 17 (manifest version 2, INCREMENTAL).
 * Whether a cluster has page checksums, which initdb of 18 makes by itself, is asked and never
 * assumed; recovery.signal and the settings of recovery are the same from 13 on. Run: 15 alone.
 *
 * Not here: incremental base backups by UPLOAD_MANIFEST, of 17 and newer. Unchanged pages cost no
 * room in a repository as it is, so what they would save is reading; and a restore would have to
 * put a cluster together from INCREMENTAL files by rules that no server of ours has ever checked. A
 * base backup is always a full one. */
#ifndef WORKER_ENGINE_POSTGRESQL_VERSIONS_H
#define WORKER_ENGINE_POSTGRESQL_VERSIONS_H

#include "common/base/buf.h"
#include "protocol/err.h"

typedef struct PostgresqlVersion {
    int major;
    bool options;       /* commands take (NAME value, …) */
    bool one_copy;      /* a base backup is one COPY of marked messages, not one an archive */
    bool tells_standby; /* has the setting in_hot_standby */
    int manifest;       /* version of the backup manifest; from 2 on it names the system */
} PostgresqlVersion;

/* number: as PQserverVersion has it. NULL: none that is known. */
const PostgresqlVersion *postgresql_version_find(int number);

/* The same, with ERR_SOURCE "source.version" and what to do. */
MUST_CHECK bool postgresql_version_of(int number, const PostgresqlVersion **out, Err *err);

/* BASE_BACKUP with a CRC-32C manifest, without the log and without a tablespace map. spread: with
 * the server's next checkpoint, not one at once. */
void postgresql_version_base_backup(const PostgresqlVersion *version, bool spread, Buf *out);

#endif
