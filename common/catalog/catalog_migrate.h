/* SPDX-License-Identifier: Apache-2.0
 * catalog_migrate.h — makes and upgrades the schema.
 * Numbered migrations are embedded, run in order, one transaction each, under one lock: two runs at
 * once do the work once, a run that died halfway leaves the last whole number. Run as an
 * administrator (a role that may create roles and schemas). Roles it makes:
 *   holdfast_owner      owns everything, cannot log in
 *   holdfast_scheduler  logs in; table rights, no right to rewrite audit events
 *   holdfast_worker     group of every enrolled worker; EXECUTE on its functions and nothing else
 *   holdfast_reader     group of workers with a reader key: may call chunks verified
 *   holdfast_auditor    SELECT on the audit views and nothing else */
#ifndef COMMON_CATALOG_CATALOG_MIGRATE_H
#define COMMON_CATALOG_CATALOG_MIGRATE_H

#include "common/catalog/catalog.h"

typedef struct MigrateReport {
    unsigned before; /* schema version found; 0: there was none */
    unsigned after;
} MigrateReport;

/* A connection that asks nothing of the schema: for migrate, enroll and doctor. */
MUST_CHECK bool catalog_migrate_open(Catalog **out, const CatalogParams *admin, Err *err);

/* Refuses a schema newer than this program (catalogue.newer, both numbers in the text). */
MUST_CHECK bool catalog_migrate(Catalog *admin, MigrateReport *report, Err *err);

/* Sets the password of holdfast_scheduler; the server sees only its SCRAM verifier. */
MUST_CHECK bool catalog_migrate_password(Catalog *admin, const struct Secret *password, Err *err);

/* The number this program was built with, and the one the schema has (0: no schema). */
unsigned catalog_migrate_newest(void);
MUST_CHECK bool catalog_migrate_version(Catalog *c, unsigned *version, Err *err);

/* Every sql/ file is parsed by the server; the error names the file. catalog_open does this too. */
MUST_CHECK bool catalog_migrate_check(Catalog *c, Err *err);

#endif
