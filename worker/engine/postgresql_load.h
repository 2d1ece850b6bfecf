/* SPDX-License-Identifier: Apache-2.0
 * postgresql_load.h — one lane of a restore: rows by COPY FROM, large objects, sequence values.
 * The rows the server took are compared with the rows the backup says it has. */
#ifndef WORKER_ENGINE_POSTGRESQL_LOAD_H
#define WORKER_ENGINE_POSTGRESQL_LOAD_H

#include "worker/engine/postgresql_restore.h"

typedef struct PostgresqlLoad {
    PGconn *conn;
    PostgresqlRestore *restore; /* whose database conn is in */
    Buf quoted;                 /* the table */
    Text oid;                   /* the large object */
    uint64_t offset;
    bool copying, extension;
} PostgresqlLoad;

/* A session in the database that is being made. */
MUST_CHECK bool postgresql_load_join(PostgresqlLoad *load, PostgresqlRestore *restore,
                                     const PostgresqlRules *rules, Err *err);

MUST_CHECK bool postgresql_load_table(PostgresqlLoad *load, const PostgresqlRules *rules,
                                      Text schema, Text table, const Entry *entry, Err *err);
MUST_CHECK bool postgresql_load_rows(PostgresqlLoad *load, const PostgresqlRules *rules,
                                     Slice bytes, Err *err);
MUST_CHECK bool postgresql_load_table_end(PostgresqlLoad *load, const PostgresqlRules *rules,
                                          const Entry *entry, Err *err);

/* The oid is text: digits. It must live until the end. */
MUST_CHECK bool postgresql_load_blob(PostgresqlLoad *load, const PostgresqlRules *rules, Text oid,
                                     Err *err);
MUST_CHECK bool postgresql_load_blob_bytes(PostgresqlLoad *load, const PostgresqlRules *rules,
                                           Slice bytes, Err *err);
MUST_CHECK bool postgresql_load_blob_end(PostgresqlLoad *load, const PostgresqlRules *rules,
                                         const Entry *entry, Err *err);
void postgresql_load_blob_undo(PostgresqlLoad *load); /* it will not be ended: removes it */

/* setval statements, one a line. In a partial restore a sequence that was not made is passed over.
 */
MUST_CHECK bool postgresql_load_sequences(PostgresqlLoad *load, const PostgresqlRules *rules,
                                          Buf *statements, uint64_t *done, uint64_t *skipped,
                                          Err *err);

void postgresql_load_close(PostgresqlLoad *load);

#endif
