/* SPDX-License-Identifier: Apache-2.0
 * postgresql_server.h — a throw-away server of one major version: made by initdb in a folder, with
 * a socket in that folder and no network, its memory limited, nothing made durable. Only the user
 * that we run as may connect, as the superuser "postgres"; there is no password. It ends with us,
 * whatever becomes of us: the kernel tells it. It talks to no other server: nothing is archived, no
 * subscription of what was restored is taken up. Servers of version 15 were run; the settings are
 * those of 13 and newer. Errors have causes "sandbox.…". */
#ifndef WORKER_ENGINE_POSTGRESQL_SERVER_H
#define WORKER_ENGINE_POSTGRESQL_SERVER_H

#include "worker/engine/postgresql_tools.h"
#include "worker/engine/sandbox.h"

typedef struct PostgresqlServer PostgresqlServer;

/* Makes and starts it. */
MUST_CHECK bool postgresql_server_make(PostgresqlServer **out, const SandboxParams *params,
                                       const PostgresqlTools *tools, Err *err);
/* One whose data directory somebody else fills: nothing of it is there yet but its other folder.
 * user: whom we come in as. postgresql_adopt.h goes on. */
MUST_CHECK bool postgresql_server_promise(PostgresqlServer **out, const SandboxParams *params,
                                          const PostgresqlTools *tools, const char *user, Err *err);
/* Settings, and who may come in, behind what is there of it. more: further lines of settings. */
MUST_CHECK bool postgresql_server_configure(const PostgresqlServer *server, Text more, Err *err);
MUST_CHECK bool postgresql_server_start(PostgresqlServer *server, Err *err);
/* Runs a program of its version as it runs itself; input is its standard input, or -1. */
MUST_CHECK bool postgresql_server_program(PostgresqlServer *server, const char *name,
                                          const char *const *arguments, int input,
                                          const char *cause, Buf *said, Err *err);
/* Stopped cleanly, all of it written, and started again with nothing in memory. */
MUST_CHECK bool postgresql_server_restart(PostgresqlServer *server, Err *err);
/* Any thread; no process of it goes on. */
void postgresql_server_kill(PostgresqlServer *server);
void postgresql_server_close(PostgresqlServer *server); /* NULL is fine */

/* The connection part of a config: {"host", "port", "user", "maintenance_database"}; lent. */
const json_t *postgresql_server_config(const PostgresqlServer *server);
int postgresql_server_pid(const PostgresqlServer *server);
const char *postgresql_server_data(const PostgresqlServer *server); /* the data directory */
const Confine *postgresql_server_confine(const PostgresqlServer *server);

#endif
