/* SPDX-License-Identifier: Apache-2.0
 * wal_take.h — takes one file of a server's log into the spool, after it was looked through. */
#ifndef WORKER_WAL_WAL_TAKE_H
#define WORKER_WAL_WAL_TAKE_H

#include "worker/engine/postgresql_spool.h"
#include "worker/engine/postgresql_wal_file.h"

typedef struct WalTake {
    const char *root; /* of the spool */
    const char *path; /* as the server gives it: %p, from its data directory */
    uint64_t limit;   /* bytes that may wait in the spool; 0: any */
    bool take_over;   /* the spool is this data directory's from now on, whoever's it was */
} WalTake;

typedef struct WalTaken {
    PostgresqlSpool spool;
    char name[64];
    char sha256[POSTGRESQL_SPOOL_SHA256];
    bool done; /* nothing need be waited for */
} WalTaken;

/* Durable in the spool when it returns; without it nothing of the file is there. */
MUST_CHECK bool wal_take(const WalTake *params, WalTaken *out, Err *err);
/* Has a committed backup what was taken? Fails when it has other bytes under the name. */
MUST_CHECK bool wal_taken_stored(const WalTaken *taken, bool *stored, Err *err);
void wal_taken_close(WalTaken *taken);

#endif
