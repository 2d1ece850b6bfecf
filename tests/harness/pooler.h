/* SPDX-License-Identifier: Apache-2.0
 * pooler.h — a private PgBouncer in transaction mode before a private PostgreSQL, with fewer
 * connections than clients, so that whatever is left in a session is met by somebody else. */
#ifndef TESTS_HARNESS_POOLER_H
#define TESTS_HARNESS_POOLER_H

#include "tests/harness/postgres.h"

#include <stdbool.h>

typedef struct Pooler Pooler;

/* users: the roles that may pass, ended by NULL. */
Pooler *pooler_start(const Postgres *pg, const char *const *users);
void pooler_as(const Pooler *pooler, const char *role, const char *database, char out[256]);
/* Its connections to the server are closed, those in use when they are free; none is left then. */
void pooler_reconnect(const Pooler *pooler);
void pooler_stop(Pooler *pooler); /* NULL is fine */

#endif
