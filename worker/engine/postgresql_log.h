/* SPDX-License-Identifier: Apache-2.0
 * postgresql_log.h — the log that a base backup needs, as entries: pg_wal/<file> from the one that
 * holds the backup's start to the one that holds its stop, received while the backup runs. The last
 * one is zeros behind the stop. A timeline's history comes first. One thread reads; the others say
 * where it ends, or that there is no sense in going on. */
#ifndef WORKER_ENGINE_POSTGRESQL_LOG_H
#define WORKER_ENGINE_POSTGRESQL_LOG_H

#include "worker/engine/postgresql_replication.h"

typedef struct PostgresqlLog PostgresqlLog;

typedef struct PostgresqlLogParams {
    const PostgresqlLink *link;
    PGconn *conn; /* of postgresql_link_replication, with the slot; borrowed */
    const EngineHost *host;
    const PostgresqlSystem *system;
    const char *slot;
    uint32_t timeline;
    uint64_t start;
    bool acknowledge; /* let the slot forget what was read */
    uint32_t uid, gid;
} PostgresqlLogParams;

MUST_CHECK bool postgresql_log_open(PostgresqlLog **out, const PostgresqlLogParams *params,
                                    Err *err);

/* As SourceOps have it. */
MUST_CHECK bool postgresql_log_next(PostgresqlLog *log, Entry *entry, bool *more, Err *err);
MUST_CHECK bool postgresql_log_read(PostgresqlLog *log, uint8_t *at, size_t room, size_t *got,
                                    uint64_t *zeros, Err *err);

/* Any thread: the log is needed up to here. */
void postgresql_log_stop(PostgresqlLog *log, uint64_t stop);
/* Any thread: the backup failed; the reader fails with the same. */
void postgresql_log_fail(PostgresqlLog *log, const Err *why);
/* Has any of the threads failed? */
bool postgresql_log_failed(PostgresqlLog *log, Err *err);

bool postgresql_log_whole(const PostgresqlLog *log); /* everything up to the stop was read */
uint64_t postgresql_log_bytes(const PostgresqlLog *log);
unsigned postgresql_log_files(const PostgresqlLog *log);
void postgresql_log_close(PostgresqlLog *log); /* NULL is fine */

#endif
