/* SPDX-License-Identifier: Apache-2.0
 * postgresql_wal_server.h — what a batch must know of the server before it begins: who it is, where
 * its log stands, which timelines lead there, and the slot that keeps what is not stored yet. */
#ifndef WORKER_ENGINE_POSTGRESQL_WAL_SERVER_H
#define WORKER_ENGINE_POSTGRESQL_WAL_SERVER_H

#include "worker/engine/postgresql_stream.h"

/* A timeline and where it left the one before. */
typedef struct PostgresqlTimeline {
    uint32_t number, parent;
    uint64_t start; /* where its parent ended */
} PostgresqlTimeline;

typedef struct PostgresqlWalServer {
    char system[24];
    uint64_t segment_bytes;
    int64_t at_us;      /* since 1970: what was committed by then lies before `flushed` */
    uint64_t next_xid;  /* that no transaction had yet; 0: one was running, or it is a standby */
    bool quiet;         /* it is `known` still: no commit was written, and no mark was left */
    uint32_t timeline;  /* the server's own */
    uint64_t flushed;   /* where its log stands */
    uint64_t kept_from; /* the slot's first byte, a segment's first */
    bool slot_made;     /* it was not there, or had lost what it was for */
    bool slot_lost;     /* that: max_slot_wal_keep_size let the server throw it away */
    int64_t keeps;      /* that setting, in bytes; -1: any amount */
    bool standby;
    PostgresqlTimeline *timelines; /* ascending, the server's own last; the first has no parent */
    size_t timeline_count;
    Buf *histories; /* content of each one's history file; empty for the first */
} PostgresqlWalServer;

/* The slot's name is checked: letters, digits and underscores. known: the next_xid of the batch
 * before; 0: the mark is left in any case. */
MUST_CHECK bool postgresql_wal_server_look(PostgresqlWalServer *out, PostgresqlLink *link,
                                           const char *slot, uint64_t known, Err *err);
void postgresql_wal_server_free(PostgresqlWalServer *server);

/* Lines "parent<TAB>switch<TAB>reason" of a history file: adds a timeline for each but the first.
 */
MUST_CHECK bool postgresql_wal_history_parse(PostgresqlWalServer *server, uint32_t timeline,
                                             Text content, Err *err);

#endif
