/* SPDX-License-Identifier: Apache-2.0
 * postgresql_settings.h — a database's own properties as SQL: what pg_dump writes only together
 * with the database's old name. Reads properties.json. */
#ifndef WORKER_ENGINE_POSTGRESQL_SETTINGS_H
#define WORKER_ENGINE_POSTGRESQL_SETTINGS_H

#include "common/base/buf.h"

#include <jansson.h>

/* What follows CREATE DATABASE <name>: template, encoding, locale. */
void postgresql_settings_create(const json_t *properties, int server_version, Buf *sql);
/* ALTER, GRANT and COMMENT statements for a database that is called `name` now. */
void postgresql_settings_alter(const json_t *properties, const char *name, bool ignore_owners,
                               Buf *sql);

#endif
