/* SPDX-License-Identifier: Apache-2.0
 * postgresql_swap.h — one database takes the name of another, which keeps its content under a
 * third; or a name that is free, where nothing is set aside. Both renames are one transaction. The
 * first one locks the old database, so nobody new gets in, and waits for whoever is inside; these
 * sessions are ended from a second connection meanwhile. ■ Nothing has to be undone by us: when
 * this process dies at any moment, the server rolls back and the old database has its name and
 * takes sessions as before. */
#ifndef WORKER_ENGINE_POSTGRESQL_SWAP_H
#define WORKER_ENGINE_POSTGRESQL_SWAP_H

#include "worker/engine/postgresql_restore.h"

/* *ended: sessions that were cut off in the old one; those of somebody who had found the new one
 * already, a monitor, are ended too. ERR_CONFLICT "target.busy": somebody inside does not go, a
 * prepared transaction or a session that this role may not end; nothing was changed. */
MUST_CHECK bool postgresql_swap(const PostgresqlRules *rules, PGconn *conn,
                                const PostgresqlRestore *restore, unsigned *ended, Err *err);

#endif
