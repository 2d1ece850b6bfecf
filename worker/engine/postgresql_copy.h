/* SPDX-License-Identifier: Apache-2.0
 * postgresql_copy.h — reading one table's rows, or one large object, into a caller's buffer.
 * Rows arrive as COPY text; a row that does not fit is handed out in pieces. The rows that came are
 * counted and compared with what the server says it sent. */
#ifndef WORKER_ENGINE_POSTGRESQL_COPY_H
#define WORKER_ENGINE_POSTGRESQL_COPY_H

#include "worker/engine/postgresql_snapshot.h"

typedef struct PostgresqlCopy {
    PostgresqlSnapshot *snapshot;
    const PostgresqlLink *link;
    PGconn *conn;  /* the lane's, or the snapshot's holder */
    bool borrowed; /* the holder's lock is held */
    const PostgresqlTable *table;
    char *row; /* libpq's; row_at of row_len bytes are handed out */
    size_t row_len, row_at;
    uint64_t rows, bytes;
    bool ended;
} PostgresqlCopy;

/* Locks the table without waiting (a waiting lock behind somebody's exclusive request would
 * deadlock with our holder) and starts COPY; when that lock is not to be had, the holder, which has
 * it, reads the table itself. */
MUST_CHECK bool postgresql_copy_start(PostgresqlCopy *copy, PostgresqlSnapshot *snapshot,
                                      const PostgresqlLink *link, PGconn *lane,
                                      const PostgresqlTable *table, Err *err);
MUST_CHECK bool postgresql_copy_read(PostgresqlCopy *copy, uint8_t *at, size_t room, size_t *got,
                                     Err *err);
/* Frees what is left; the connection of an unfinished copy is not usable any more. */
void postgresql_copy_close(PostgresqlCopy *copy);

/* Up to `room` bytes of large object `oid` from `offset`; fewer than asked only at its end. */
MUST_CHECK bool postgresql_copy_blob(const PostgresqlLink *link, PGconn *conn, Text oid,
                                     uint64_t offset, uint8_t *at, size_t room, size_t *got,
                                     Err *err);

#endif
