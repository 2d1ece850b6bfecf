/* SPDX-License-Identifier: Apache-2.0
 * catalog_enroll.h — who may be a worker: a login role and its registration, made together.
 * The registration is the ceiling: what a worker announces may narrow it, never widen it. Uses an
 * administrator's connection (catalog_migrate_open). */
#ifndef COMMON_CATALOG_CATALOG_ENROLL_H
#define COMMON_CATALOG_CATALOG_ENROLL_H

#include "common/catalog/catalog.h"

typedef struct EnrollParams {
    Text name; /* of the worker and of its login role: [a-z0-9][a-z0-9_-]{0,47} */
    Text host; /* its implicit pool is "host:" + this */
    const Text *pools;
    size_t pool_count;
    const Text *sources; /* may also speak for these, whatever their pool */
    size_t source_count;
    bool reader;                   /* may call chunks verified and take read jobs */
    bool pruner;                   /* may forget backups and collect packs */
    const struct Secret *password; /* NULL: the role gets none (peer or certificate login) */
} EnrollParams;

/* Again for the same name: replaces pools, sources, reader, pruner, and the password if one is
 * given. A login role of that name that is not a worker's is refused (ERR_CONFLICT
 * enroll.role_exists). */
MUST_CHECK bool catalog_enroll(Catalog *admin, const EnrollParams *params, Err *err);

/* Drops the role and retires the registration; the history stays. */
MUST_CHECK bool catalog_enroll_drop(Catalog *admin, Text name, Err *err);

#endif
