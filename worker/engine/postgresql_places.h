/* SPDX-License-Identifier: Apache-2.0
 * postgresql_places.h — where the parts of a physical backup go: the data directory, and a place
 * for each tablespace. request: target {"path", "tablespaces": {"<oid or old location>":
 * "<directory>"}} and the receipt's `details`. A tablespace that is not named goes beside the data
 * directory, to <path>.tablespace-<oid>: never to where it was, which on the same host is another
 * server's. Not below the data directory either, where the server's own tools would take it for a
 * part of that. Pure. */
#ifndef WORKER_ENGINE_POSTGRESQL_PLACES_H
#define WORKER_ENGINE_POSTGRESQL_PLACES_H

#include "common/base/buf.h"
#include "protocol/err.h"

#include <jansson.h>

typedef struct PostgresqlPlace {
    Text prefix;   /* of the entries that belong here: "pg_tblspc/<oid>/"; empty: data directory */
    Text path;     /* absolute, ends with a NUL */
    Text location; /* where the server had it; empty: not known, or the data directory */
    json_int_t oid;
    Buf bytes; /* what prefix and path point into */
} PostgresqlPlace;

typedef struct PostgresqlPlaces {
    PostgresqlPlace *at; /* 0: the data directory */
    size_t count;
} PostgresqlPlaces;

/* ERR_USAGE "target.path", "target.tablespaces": no absolute path, a tablespace that the backup has
 * not, or one named twice. ERR_CONFLICT "target.tablespaces_meet": two would share a directory, or
 * one would lie within another. Text of the request is lent. */
MUST_CHECK bool postgresql_places_of(const json_t *request, PostgresqlPlaces *out, Err *err);
void postgresql_places_free(PostgresqlPlaces *places); /* empty is fine */

#endif
