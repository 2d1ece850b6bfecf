/* SPDX-License-Identifier: Apache-2.0
 * postgresql_restore.h — one database on its way back.
 * It is built under a temporary name that follows from the final one, so a second restore to the
 * same place finds the first one's remains or waits for it; only when everything is there and
 * counted is it renamed. A database that already has the final name is refused, or, in place and
 * with its name typed, set aside under another name and kept. */
#ifndef WORKER_ENGINE_POSTGRESQL_RESTORE_H
#define WORKER_ENGINE_POSTGRESQL_RESTORE_H

#include "worker/engine/postgresql_link.h"
#include "worker/engine/postgresql_tools.h"

typedef struct PostgresqlRules { /* of the whole restore */
    PostgresqlLink *link;
    const EngineHost *host;
    PostgresqlTools tools;
    int server_version;
    bool in_place, ignore_owners;
    bool confirmed;      /* somebody above us asked for the name already */
    bool fills_empty;    /* a database that is there and has nothing in it may be replaced */
    const char *confirm; /* or NULL */
    unsigned lanes;
} PostgresqlRules;

typedef struct PostgresqlLoaded {
    char *quoted;
    uint64_t rows;
    bool at_least; /* an extension may have made more */
} PostgresqlLoaded;

typedef struct PostgresqlRestore {
    char *name;      /* as it was called */
    char *final;     /* as it will be called */
    char *temporary; /* as it is called until then */
    char *set_aside; /* what the database that had the final name is called now, or NULL */
    unsigned ended;  /* sessions of it that were cut off */
    Buf archive, properties_text;
    json_t *properties;
    bool partial; /* only some tables */
    Buf chosen;   /* lines for pg_restore --use-list when partial */
    size_t left_out;
    bool nothing; /* none of its tables is selected: it is not made */
    bool created;
    PostgresqlLoaded *loaded;
    size_t loaded_count, loaded_room;
    uint64_t blobs, sequences, sequences_skipped;
} PostgresqlRestore;

PostgresqlRestore *postgresql_restore_new(Text name, Text final);
void postgresql_restore_free(PostgresqlRestore *restore);

/* Refuses what may not be overwritten. *exists says whether the final name is taken. */
MUST_CHECK bool postgresql_restore_allowed(const PostgresqlRules *rules, PGconn *conn,
                                           const PostgresqlRestore *restore, bool *exists,
                                           Err *err);
/* Makes the database under its temporary name, with its properties and nothing in it; the remains
 * of an earlier restore to the same place are removed. */
MUST_CHECK bool postgresql_restore_make(PostgresqlRestore *restore, const PostgresqlRules *rules,
                                        PGconn *conn, Err *err);
/* Makes the database and everything that comes before data. `tables`: oids of the chosen ones when
 * partial. */
MUST_CHECK bool postgresql_restore_create(PostgresqlRestore *restore, const PostgresqlRules *rules,
                                          PGconn *conn, const Text *tables, size_t table_count,
                                          Err *err);
/* Indexes, constraints, triggers, refreshes; over several connections. */
MUST_CHECK bool postgresql_restore_complete(PostgresqlRestore *restore,
                                            const PostgresqlRules *rules, Err *err);
/* Compares every loaded table's rows with what the backup says. */
MUST_CHECK bool postgresql_restore_count(PostgresqlRestore *restore, const PostgresqlRules *rules,
                                         Err *err);
/* Gives it its settings, rights and final name. An empty database that it replaces is removed when
 * it is still empty. */
MUST_CHECK bool postgresql_restore_publish(PostgresqlRestore *restore, const PostgresqlRules *rules,
                                           PGconn *conn, Err *err);
/* Removes an unpublished one. */
void postgresql_restore_drop(PostgresqlRestore *restore, const PostgresqlRules *rules);

#endif
