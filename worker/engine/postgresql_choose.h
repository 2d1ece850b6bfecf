/* SPDX-License-Identifier: Apache-2.0
 * postgresql_choose.h — which databases a source means, and a first session to ask for them. */
#ifndef WORKER_ENGINE_POSTGRESQL_CHOOSE_H
#define WORKER_ENGINE_POSTGRESQL_CHOOSE_H

#include "worker/engine/postgresql_link.h"

/* A session in the maintenance database or, where the role may not connect to that, in the first
 * of config's databases. */
MUST_CHECK bool postgresql_choose_connect(PostgresqlLink *link, const json_t *config, PGconn **out,
                                          Err *err);
/* *names: json_bytes of each database that config's `databases` means. [all], or none given, is
 * every one that allows connections, is no template, and admits the role. One that is asked for
 * and not there is refused. */
MUST_CHECK bool postgresql_choose_databases(const PostgresqlLink *link, PGconn *conn,
                                            const json_t *config, json_t **names, Err *err);

#endif
