/* SPDX-License-Identifier: Apache-2.0
 * postgresql_receive.h — a server's log as it is written, over START_REPLICATION: byte for byte
 * what lies in its pg_wal, from a place on, without an end. The server is answered whenever it asks
 * and every ten seconds; what it may forget is said by the caller. Run against server 15; the
 * protocol's documents say the same of 13 to 17. */
#ifndef WORKER_ENGINE_POSTGRESQL_RECEIVE_H
#define WORKER_ENGINE_POSTGRESQL_RECEIVE_H

#include "worker/engine/postgresql_replication.h"

typedef struct PostgresqlReceive PostgresqlReceive;

/* slot: NULL, or one that holds `from`; of an attempt that died, whose end the server has not
 * noticed yet, it is waited for (ERR_BUSY source.slot_taken after ten seconds). from: the begin of
 * a WAL file. conn is borrowed. */
MUST_CHECK bool postgresql_receive_open(PostgresqlReceive **out, const PostgresqlLink *link,
                                        PGconn *conn, const EngineHost *host, const char *slot,
                                        uint32_t timeline, uint64_t from, Err *err);

/* The next bytes and where in the log they lie, behind those of the call before; until the next
 * call. Empty when `wake` (a descriptor, or -1) became readable, or after a second without any. The
 * end of a timeline, and of the server, is an error. */
MUST_CHECK bool postgresql_receive_next(PostgresqlReceive *receive, int wake, Slice *bytes,
                                        uint64_t *at, Err *err);

/* All before this is safe with us: a slot need not keep it. */
void postgresql_receive_safe(PostgresqlReceive *receive, uint64_t lsn);

void postgresql_receive_close(PostgresqlReceive *receive); /* NULL is fine */

#endif
