/* SPDX-License-Identifier: Apache-2.0
 * postgresql_check.h — the lines that `source test` shows: what was looked at, how it is, and what
 * to do where it is not well. */
#ifndef WORKER_ENGINE_POSTGRESQL_CHECK_H
#define WORKER_ENGINE_POSTGRESQL_CHECK_H

#include "protocol/err.h"

#include <jansson.h>

typedef struct PostgresqlChecks {
    json_t *list; /* [{"name","ok","text","next"}] */
    bool ok;      /* all of them */
} PostgresqlChecks;

/* Adds a line; next is shown where it is not ok. Returns ok. */
bool postgresql_check(PostgresqlChecks *checks, const char *name, bool ok, const char *next,
                      const char *text);
/* One that failed: the Err's text, and what it says to do. */
void postgresql_check_err(PostgresqlChecks *checks, const char *name, const Err *err);

#endif
