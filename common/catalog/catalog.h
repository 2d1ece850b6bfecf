/* SPDX-License-Identifier: Apache-2.0
 * catalog.h — one connection to the catalogue, the PostgreSQL schema `holdfast`.
 * A Catalog belongs to one thread. Each call is one statement and one transaction, bounded by the
 * statement time limit, and may be repeated: the answer to "the connection died" is catalog_reset
 * and the same call again, never "it failed". Nothing is kept in the session, so a pooler in
 * transaction mode may stand between. There is no general query call: what can be asked is in the
 * catalog_*.h beside this one, the SQL in sql/, one statement a file.
 * Instants are Unix nanoseconds (the catalogue keeps microseconds); 0 means "none". */
#ifndef COMMON_CATALOG_CATALOG_H
#define COMMON_CATALOG_CATALOG_H

#include "common/base/buf.h"
#include "protocol/ids.h"

struct Secret;

typedef struct Catalog Catalog;

typedef struct CatalogParams {
    const char *conninfo;          /* URI or key=value form, without a password */
    const struct Secret *password; /* NULL: none, or libpq's own ways (.pgpass) */
    const char *application;       /* shown in pg_stat_activity; NULL: "holdfast" */
    int64_t timeout_ms;            /* of one statement; 0: 30 000 */
    int64_t connect_timeout_s;     /* 0: 5 */
    int interrupt_fd; /* readable: whoever waits for an answer stops waiting; 0: none */
    bool checked;     /* this program has opened one there without this */
} CatalogParams;

/* Connects. Every statement is parsed by the server once, so that a missing right, an older schema
 * or a typo is told now; catalog_migrate.h has the connection that comes before a schema. `checked`
 * asks for the schema's version only: parsing them all costs the server more than the commit of a
 * small backup, and a job has a connection of its own. */
MUST_CHECK bool catalog_open(Catalog **out, const CatalogParams *params, Err *err);

/* The connection looks usable; false after a call failed with ERR_UNREACHABLE or ERR_TIMEOUT. */
bool catalog_ok(const Catalog *c);

/* Connects again with the same parameters. */
MUST_CHECK bool catalog_reset(Catalog *c, Err *err);

/* The only clock that grants and expires. */
MUST_CHECK bool catalog_server_now(Catalog *c, int64_t *now_ns, Err *err);

void catalog_close(Catalog *c); /* NULL is fine */

/* Who speaks for a job: compared whole by every call that changes something. */
typedef struct Fence {
    uint64_t job;
    uint64_t attempt;
    Uuid claim;
} Fence;

/* Causes that callers react to (Err.cause):
 *   catalogue.unreachable  the connection broke or never came (ERR_UNREACHABLE)
 *   catalogue.timeout      the statement took too long; the connection was dropped (ERR_TIMEOUT)
 *   catalogue.denied       this role may not do that (ERR_DENIED)
 *   catalogue.interrupted  the caller's interrupt_fd became readable (ERR_CANCELLED); the
 * connection was dropped, what was asked may have happened or not catalogue.busy         lock or
 * serialization conflict that repeating solves (ERR_BUSY) catalogue.full         the server's disk
 * is full (ERR_FULL) catalogue.newer        the schema is newer than this program (ERR_CONFLICT)
 *   catalogue.older        the schema is older: holdfast-scheduler migrate (ERR_CONFLICT)
 *   job.fenced             the attempt no longer holds its job (ERR_FENCED) */

#endif
