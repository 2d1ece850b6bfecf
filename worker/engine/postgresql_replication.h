/* SPDX-License-Identifier: Apache-2.0
 * postgresql_replication.h — the commands of PostgreSQL's streaming replication protocol that need
 * no stream: who the server is, its settings, timelines and slots; and how places in its log are
 * written. A session is of postgresql_link_replication: physical, so it takes no SQL. Run against
 * server 15; what is said of other versions follows their documents. */
#ifndef WORKER_ENGINE_POSTGRESQL_REPLICATION_H
#define WORKER_ENGINE_POSTGRESQL_REPLICATION_H

#include "worker/engine/postgresql_link.h"

enum {
    POSTGRESQL_LSN_TEXT = 20,  /* "FFFFFFFF/FFFFFFFF" and a NUL */
    POSTGRESQL_WAL_NAME = 25,  /* 24 hexadecimal digits and a NUL */
    POSTGRESQL_SETTING = 128,  /* of a setting's value */
    POSTGRESQL_SLOT_NAME = 64, /* with its NUL, as the server limits it */
};

typedef struct PostgresqlSystem {
    char identifier[24]; /* of the cluster: the same on its standbys, another after initdb */
    uint32_t timeline;
    uint64_t flushed;  /* log position: written to the server's disk; a standby's: replayed */
    int version;       /* 150020 */
    uint64_t segment;  /* bytes of one WAL file */
    uint64_t relation; /* bytes after which a relation goes on in another file */
    uint32_t page;     /* bytes of a page */
    bool checksums;    /* its pages have them */
    bool standby;      /* in recovery */
    bool group_access; /* its data directory is readable by the group */
} PostgresqlSystem;

/* IDENTIFY_SYSTEM and the settings that decide how a cluster is read. */
MUST_CHECK bool postgresql_replication_identify(const PostgresqlLink *link, PGconn *conn,
                                                PostgresqlSystem *out, Err *err);
/* SHOW; the value as the server writes it. */
MUST_CHECK bool postgresql_replication_show(const PostgresqlLink *link, PGconn *conn,
                                            const char *setting, char out[POSTGRESQL_SETTING],
                                            Err *err);
/* The file that tells where a timeline (2 or later) branched off: "00000002.history". */
MUST_CHECK bool postgresql_replication_history(const PostgresqlLink *link, PGconn *conn,
                                               uint32_t timeline, Buf *name, Buf *content,
                                               Err *err);
/* Makes a physical slot that keeps the log from now on; a temporary one ends with the session.
 * name: lower-case letters, digits and '_'. */
MUST_CHECK bool postgresql_replication_slot(const PostgresqlLink *link, PGconn *conn,
                                            const char *name, bool temporary, Err *err);

/* A command whose result may take long, or never come: looks whether the job was cancelled. *out is
 * the next result, whatever it says; NULL: the command is over. The connection broke: false. */
MUST_CHECK bool postgresql_replication_result(const PostgresqlLink *link, PGconn *conn,
                                              const EngineHost *host, const char *what,
                                              PGresult **out, Err *err);

/* "0/16B3748" */
MUST_CHECK bool postgresql_lsn_parse(Text text, uint64_t *out);
void postgresql_lsn_text(uint64_t lsn, char out[POSTGRESQL_LSN_TEXT]);
/* The WAL file that holds this position. */
void postgresql_wal_name(uint32_t timeline, uint64_t lsn, uint64_t segment,
                         char out[POSTGRESQL_WAL_NAME]);

#endif
