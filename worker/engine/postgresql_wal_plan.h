/* SPDX-License-Identifier: Apache-2.0
 * postgresql_wal_plan.h — which of the files of a spool belong to the next batch of a log, in which
 * order, and whether they leave a hole behind what is stored. A batch has one hole at most. */
#ifndef WORKER_ENGINE_POSTGRESQL_WAL_PLAN_H
#define WORKER_ENGINE_POSTGRESQL_WAL_PLAN_H

#include "worker/engine/postgresql_spool.h"
#include "worker/engine/postgresql_wal_server.h"

enum { POSTGRESQL_WAL_FILE = 64 }; /* of a file's name */

/* One entry of the batch. */
typedef struct PostgresqlWalPiece {
    char name[POSTGRESQL_WAL_FILE];
    char file[POSTGRESQL_WAL_FILE]; /* in the spool; "": of a history, that lies elsewhere */
    bool borrowed; /* the end of a timeline, out of the first file of the next one */
    uint32_t timeline;
    uint64_t start, end;
    const Buf *history; /* NULL: a segment */
    uint32_t segment_bytes;
    Sha256 sha256, file_sha256;
} PostgresqlWalPiece;

typedef struct PostgresqlWalPlan {
    /* Given: */
    const PostgresqlSpool *spool;
    char system[24];
    bool has_from; /* a batch before this one is committed, up to: */
    uint32_t from_timeline;
    uint64_t from;
    /* Found: */
    PostgresqlWalServer line; /* timelines and their files alone */
    PostgresqlWalPiece *pieces;
    size_t count;
    bool reached; /* all that lies in the spool is in it */
    bool gap;
    uint64_t gap_from, gap_to;
    int64_t oldest_file_us; /* since 1970 */
} PostgresqlWalPlan;

MUST_CHECK bool postgresql_wal_plan_make(PostgresqlWalPlan *plan, Err *err);
void postgresql_wal_plan_free(PostgresqlWalPlan *plan);

#endif
