/* SPDX-License-Identifier: Apache-2.0
 * postgresql_adopt.h — a cluster that was restored from a physical backup becomes a throw-away
 * server. Its files are held against the server's own list first (pg_verifybackup), go over to the
 * sandbox's user, and get settings of ours instead of those that came with them: what they would
 * load, archive to, or replicate from is not for a trial. Then it recovers, from its own log or to
 * the end of what was laid beside it (postgresql_archive.h), in single-user mode, where it needs
 * nobody's name to make a superuser for us; every page is read and its checksum compared where the
 * cluster has them (pg_checksums); and it starts.
 *
 * Causes "proof.…" speak of the backup, "sandbox.…" of this host. Clusters of version 15 were run.
 */
#ifndef WORKER_ENGINE_POSTGRESQL_ADOPT_H
#define WORKER_ENGINE_POSTGRESQL_ADOPT_H

#include "worker/engine/postgresql_link.h"
#include "worker/engine/postgresql_server.h"

enum { POSTGRESQL_ADOPT_USER = 40 };

/* Whom we come in as: a name that no cluster has. */
void postgresql_adopt_user(char out[POSTGRESQL_ADOPT_USER]);
typedef struct PostgresqlAdopt {
    const char *user;  /* as above, the server's own */
    bool checksums;    /* the cluster has some */
    const json_t *log; /* it goes on with a log that was laid there; NULL: it ends with its own */
    uint64_t segment;  /* bytes of a file of the log */
} PostgresqlAdopt;

MUST_CHECK bool postgresql_adopt(PostgresqlServer *server, const PostgresqlAdopt *how, Err *err);
/* Did its recovery come to the last segment that was laid? report gets it: log.reached. */
MUST_CHECK bool postgresql_adopt_reached(PostgresqlLink *link, PGconn *conn,
                                         const PostgresqlAdopt *how, json_t *report, Err *err);

#endif
