/* SPDX-License-Identifier: Apache-2.0
 * postgresql_link.h — how one server is reached: the connection part of a source's config, its
 * password, and the same for the server's own programs. The password goes into libpq's memory and,
 * when a program needs it, into a file 0600 in the attempt's private directory; never into an
 * argument or an environment. Server errors become Err here and nowhere else: the SQLSTATE decides
 * code and cause ("source.auth"; "target.auth" when the link is where a restore goes to). A server
 * older than 13 is refused by name. */
#ifndef WORKER_ENGINE_POSTGRESQL_LINK_H
#define WORKER_ENGINE_POSTGRESQL_LINK_H

#include "common/base/buf.h"
#include "worker/engine/engine.h"

#include <libpq-fe.h>

typedef struct PostgresqlLink PostgresqlLink;

/* config: host port user password service sslmode sslrootcert sslcert sslkey connect_timeout
 * maintenance_database. side: "source" or "target". */
MUST_CHECK bool postgresql_link_open(PostgresqlLink **out, const json_t *config,
                                     const EngineHost *host, const char *side, Err *err);
void postgresql_link_close(PostgresqlLink *link);
void postgresql_link_release(PostgresqlLink **link); /* for scoped() */

const char *postgresql_link_side(const PostgresqlLink *link);

/* A session in a database (empty: the maintenance database), with dump settings: no time limits,
 * search_path empty, ISO dates, the database's own encoding. */
MUST_CHECK bool postgresql_link_connect(PostgresqlLink *link, Text database, PGconn **out,
                                        Err *err);
/* A session that takes replication commands and no SQL (postgresql_replication.h). */
MUST_CHECK bool postgresql_link_replication(PostgresqlLink *link, PGconn **out, Err *err);
void postgresql_link_disconnect(PGconn **conn); /* for scoped() too */

/* For the server's programs: a connection string without secrets, and an environment (both live
 * until close). */
MUST_CHECK bool postgresql_link_program(PostgresqlLink *link, Text database, Buf *conninfo,
                                        const char *const **environment, Err *err);

/* One statement that must succeed. *out may be NULL; parameters are text, or NULL. `what` begins
 * the error: "listing tables". */
MUST_CHECK bool postgresql_link_query(const PostgresqlLink *link, PGconn *conn, const char *what,
                                      const char *sql, const char *const *values, int count,
                                      PGresult **out, Err *err);
MUST_CHECK bool postgresql_link_exec(const PostgresqlLink *link, PGconn *conn, const char *what,
                                     const char *sql, Err *err);
/* Turns a failed result (NULL: the connection broke) into *err; returns false. */
bool postgresql_link_failed(const PostgresqlLink *link, PGconn *conn, const PGresult *result,
                            const char *what, Err *err);
/* The same of a session for replication. */
bool postgresql_link_replication_failed(const PostgresqlLink *link, PGconn *conn,
                                        const PGresult *result, const char *what, Err *err);
void postgresql_link_clear(PGresult **result); /* for scoped() */

Text postgresql_link_value(const PGresult *result, int row, int column);

#endif
