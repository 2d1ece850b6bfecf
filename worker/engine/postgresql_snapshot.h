/* SPDX-License-Identifier: Apache-2.0
 * postgresql_snapshot.h — one database held still: a transaction that keeps its snapshot exported
 * and every table locked against being dropped or altered (ACCESS SHARE, as pg_dump does), and the
 * list of what there is to copy, definitions included. Locks come after the snapshot, so what was
 * emptied, rewritten or dropped between the two is looked for, and then a new snapshot is taken.
 * pg_dump locks the same tables once more: if somebody's exclusive request came in between, both
 * would wait for each other, so that attempt is given up, which lets the other one pass, and begun
 * again. */
#ifndef WORKER_ENGINE_POSTGRESQL_SNAPSHOT_H
#define WORKER_ENGINE_POSTGRESQL_SNAPSHOT_H

#include "worker/engine/postgresql_link.h"
#include "worker/engine/postgresql_tools.h"

#include <pthread.h>

typedef struct PostgresqlTable {
    Text oid, schema, name, columns, condition, quoted; /* as the listing gave them */
    uint64_t bytes;                                     /* of its files: a hint */
    bool excluded;          /* by exclude_table_data, or unreadable here */
    bool extension;         /* an extension's configuration: made by it, perhaps with rows */
    uint64_t rows, content; /* what was copied; content UINT64_MAX until it was */
} PostgresqlTable;

typedef struct PostgresqlSnapshot {
    char *name;     /* of the database */
    PGconn *holder; /* used under `lock` */
    pthread_mutex_t lock;
    char id[64];       /* what the lanes import */
    char position[32]; /* LSN */
    char encoding[32];
    bool standby;
    int server_version;
    int64_t consistent_ns;
    PostgresqlTable *tables;
    size_t table_count;
    Buf properties; /* JSON text: sql/properties.sql, and "tables": [[oid, path below the database]]
                     */
    Buf archive;    /* of pg_dump: the definitions */
    Buf sequences;  /* SQL text: setval statements, one a line */
    size_t sequence_count;
    PGresult *blobs; /* oid, statements */
    PGresult *table_rows;
} PostgresqlSnapshot;

typedef struct PostgresqlSnapshotParams {
    Text database;
    const json_t *exclude; /* array of patterns: "schema.table", '*' and '?' allowed; or NULL */
    const EngineHost *host;
    const PostgresqlTools *tools;
    int lock_wait_s; /* of our own locks */
} PostgresqlSnapshotParams;

MUST_CHECK bool postgresql_snapshot_open(PostgresqlSnapshot **out, PostgresqlLink *link,
                                         const PostgresqlSnapshotParams *params, Err *err);
/* A lane's own session on the same snapshot. */
MUST_CHECK bool postgresql_snapshot_join(const PostgresqlSnapshot *snapshot, PostgresqlLink *link,
                                         PGconn **out, Err *err);
/* Ends the transaction and the locks; the lists stay. */
void postgresql_snapshot_let_go(PostgresqlSnapshot *snapshot);
void postgresql_snapshot_close(PostgresqlSnapshot *snapshot);

#endif
