/* SPDX-License-Identifier: Apache-2.0
 * postgresql_spool.h — the folder between a server that archives its log and the worker that stores
 * it: <root>/<system identifier>/
 *   <name>           a segment, whole and durable: renamed into place after its fsync; removed only
 *                    when a committed backup has it and stored/<name> says so
 *   stored/<name>    the sha256 of what was stored under that name, durable before the file goes
 *   history/<name>   every history file that came by; they are small and stay
 *   returns          "spooled" or "stored": when `holdfast-worker wal-push` may say done
 *   server           the data directory that pushes here: one alone
 * The server's user makes the folders, for its group too, so that a worker of that group may use
 * them. Names that begin with a dot are half-made. */
#ifndef WORKER_ENGINE_POSTGRESQL_SPOOL_H
#define WORKER_ENGINE_POSTGRESQL_SPOOL_H

#include "common/base/buf.h"
#include "common/base/hash.h"

#include <limits.h>
#include <sys/types.h>

#define POSTGRESQL_SPOOL "/var/spool/holdfast/wal"

enum { POSTGRESQL_SPOOL_SHA256 = 65, POSTGRESQL_SPOOL_SMALL = 1 << 20 };

typedef struct PostgresqlSpool {
    int fd, stored, history; /* of the directories */
    char path[PATH_MAX];
} PostgresqlSpool;

/* make: the folders are made where they are not; else ERR_MISSING "wal.no_spool". */
MUST_CHECK bool postgresql_spool_open(PostgresqlSpool *out, const char *root, const char *system,
                                      bool make, Err *err);
void postgresql_spool_close(PostgresqlSpool *spool);

/* A small file in one of the folders, durable when it returns; an older one is replaced. */
MUST_CHECK bool postgresql_spool_put(const PostgresqlSpool *spool, int folder, const char *name,
                                     Slice bytes, Err *err);
/* false without an error: it is not there. */
MUST_CHECK bool postgresql_spool_get(const PostgresqlSpool *spool, int folder, const char *name,
                                     Buf *out, Err *err);
/* All of it; errno where not. */
MUST_CHECK bool postgresql_spool_write(int fd, Slice bytes);
/* Opens a file that lies there, no link; -1 without an error: it is not there. */
int postgresql_spool_file(const PostgresqlSpool *spool, int folder, const char *name, Err *err);
MUST_CHECK bool postgresql_spool_sync(const PostgresqlSpool *spool, int folder, Err *err);

/* What was stored under the name, as hexadecimal digits; "": nothing yet. */
MUST_CHECK bool postgresql_spool_stored(const PostgresqlSpool *spool, const char *name,
                                        char out[POSTGRESQL_SPOOL_SHA256], Err *err);
/* A committed backup has it: notes that, and lets the file go. */
MUST_CHECK bool postgresql_spool_mark(const PostgresqlSpool *spool, const char *name,
                                      const Sha256 *sha256, Err *err);

/* Forgets the oldest notes of what was stored: the catalogue knows it, and these are only for a
 * push that comes again. */
MUST_CHECK bool postgresql_spool_tidy(const PostgresqlSpool *spool, Err *err);

/* Names of a folder's files, sorted bytewise; released by postgresql_spool_names_free. */
typedef struct PostgresqlSpoolNames {
    char **at;
    size_t count;
} PostgresqlSpoolNames;
MUST_CHECK bool postgresql_spool_list(const PostgresqlSpool *spool, int folder,
                                      PostgresqlSpoolNames *out, Err *err);
void postgresql_spool_names_free(PostgresqlSpoolNames *names);

/* Does wal-push return when a file is in the spool? Else when it is stored. */
MUST_CHECK bool postgresql_spool_returns(const PostgresqlSpool *spool, bool *spooled, Err *err);
MUST_CHECK bool postgresql_spool_set_returns(const PostgresqlSpool *spool, bool spooled, Err *err);

#endif
