/* SPDX-License-Identifier: Apache-2.0
 * postgresql_name.h — names of databases, schemas and tables are data: how they become a part of
 * an entry path, a word of SQL, a value of a connection string. Any byte but NUL
 * may be in one. A path part keeps every byte but '%', '/', control characters, and the dots of
 * "." and "..", which become %XX. */
#ifndef WORKER_ENGINE_POSTGRESQL_NAME_H
#define WORKER_ENGINE_POSTGRESQL_NAME_H

#include "common/base/buf.h"

void postgresql_name_part(Buf *path, Text name);               /* adds the encoded part */
void postgresql_name_path(Buf *path, Text schema, Text table); /* adds "tables/<schema>/<table>" */
void postgresql_name_unpart(Text part, Buf *name);             /* the inverse; lenient */
void postgresql_name_quote(Buf *sql, Text name);               /* "a""b" */
void postgresql_name_literal(Buf *sql, Text value); /* E'a\'b', safe in every encoding we meet */
void postgresql_name_conninfo(Buf *out, const char *key, Text value); /* key='va\'lue' */

/* Splits "databases/<db>/tables/<schema>/<table>" at its slashes; false if there are not `count`.
 */
bool postgresql_name_split(Text path, Text *parts, size_t room, size_t *count);

#endif
