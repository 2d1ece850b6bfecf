/* SPDX-License-Identifier: Apache-2.0
 * postgresql_base.h — BASE_BACKUP of the replication protocol as one sequence of pieces: for each
 * tablespace and last for the data directory an archive's begin and its bytes, then the bytes of
 * the manifest, then the end. Servers from 15 on send all in one COPY, older ones one COPY an
 * archive; both come out alike. Run against server 15; 13 and 14 are written from their documents
 * and were not run. */
#ifndef WORKER_ENGINE_POSTGRESQL_BASE_H
#define WORKER_ENGINE_POSTGRESQL_BASE_H

#include "worker/engine/postgresql_replication.h"

typedef enum PostgresqlBaseKind {
    POSTGRESQL_BASE_ARCHIVE, /* begins; tablespace and location say which */
    POSTGRESQL_BASE_DATA,
    POSTGRESQL_BASE_MANIFEST,
    POSTGRESQL_BASE_END, /* stop and corrupt are known */
} PostgresqlBaseKind;

typedef struct PostgresqlBasePiece {
    PostgresqlBaseKind kind;
    Slice bytes;         /* until the next call, as location is */
    uint32_t tablespace; /* 0: the data directory */
    Text location;       /* of the tablespace, as the server has it */
} PostgresqlBasePiece;

typedef struct PostgresqlBase PostgresqlBase;

typedef struct PostgresqlBaseParams {
    const PostgresqlLink *link;
    PGconn *conn; /* of postgresql_link_replication; borrowed */
    const EngineHost *host;
    const PostgresqlSystem *system;
    bool spread; /* wait for the next checkpoint instead of asking for one */
    /* Another connection of the same backup has failed: *err says why. */
    bool (*failed)(void *ctx, Err *err);
    void *ctx;
} PostgresqlBaseParams;

typedef struct PostgresqlBaseFacts {
    uint64_t start, stop; /* the log from here to there belongs to it */
    uint32_t timeline;
    bool corrupt;      /* the server says that pages have wrong checksums */
    Text notices;      /* what it said meanwhile, a line each */
    unsigned archives; /* tablespaces and the data directory */
} PostgresqlBaseFacts;

/* Returns when the backup has begun: after the checkpoint. */
MUST_CHECK bool postgresql_base_open(PostgresqlBase **out, const PostgresqlBaseParams *params,
                                     Err *err);
MUST_CHECK bool postgresql_base_next(PostgresqlBase *base, PostgresqlBasePiece *piece, Err *err);
const PostgresqlBaseFacts *postgresql_base_facts(const PostgresqlBase *base);
void postgresql_base_close(PostgresqlBase *base); /* NULL is fine */

#endif
