/* SPDX-License-Identifier: Apache-2.0
 * postgresql_select.h — which entries a restore is about. A path names an entry or everything
 * below it; a glob follows files_glob.h. Nothing selected means everything. */
#ifndef WORKER_ENGINE_POSTGRESQL_SELECT_H
#define WORKER_ENGINE_POSTGRESQL_SELECT_H

#include "protocol/err.h"

#include <jansson.h>

typedef struct PostgresqlSelect PostgresqlSelect;

/* select: {"paths": […], "globs": […], "tables": […]} or NULL; the first two as json_bytes, tables
 * as SQL writes them, "schema.table" or "table" of public, in whichever database. */
MUST_CHECK bool postgresql_select_new(PostgresqlSelect **out, const json_t *select, Err *err);
void postgresql_select_free(PostgresqlSelect *select);

/* Every table's path that there is goes by; then each that was named must have been among them:
 * ERR_MISSING "target.table". */
void postgresql_select_see(PostgresqlSelect *select, Text path);
MUST_CHECK bool postgresql_select_complete(const PostgresqlSelect *select, Err *err);

bool postgresql_select_entry(const PostgresqlSelect *select, Text path);
/* For the encoded name of a database: may anything of it be selected, and is all of it? */
bool postgresql_select_database(const PostgresqlSelect *select, Text part);
bool postgresql_select_whole(const PostgresqlSelect *select, Text part);

#endif
