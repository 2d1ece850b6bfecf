/* SPDX-License-Identifier: Apache-2.0
 * catalog_grant.h — restore grants: asked for, made by a reader, taken by the one worker that they
 * are for. What is kept here is sealed; common/codec/grant.h says to whom. */
#ifndef COMMON_CATALOG_CATALOG_GRANT_H
#define COMMON_CATALOG_CATALOG_GRANT_H

#include "common/catalog/catalog_job.h"

/* --- the scheduler's side ------------------------------------------------------------------- */

typedef struct GrantRequest {
    Uuid backup;
    Text worker;
    uint64_t seconds; /* from now */
    Text actor, reason, idempotency_key;
} GrantRequest;
/* The grant, and the job of a reader that makes it. ERR_CONFLICT grant.no_certificate, grant.plain;
 * ERR_USAGE grant.reason, grant.time; ERR_MISSING backup.unknown, worker.unknown. */
MUST_CHECK bool catalog_grant_ask(Catalog *c, const GrantRequest *request, JobCreated *job,
                                  Uuid *grant, Err *err);
MUST_CHECK bool catalog_grant_withdraw(Catalog *c, const Uuid *grant, Text actor, Text reason,
                                       Err *err);

/* --- workers: every call under the fence ---------------------------------------------------- */

typedef struct GrantWanted {
    Uuid id;
    char worker[128];
    Buf certificate; /* hex; buf_free */
    int64_t until_s;
} GrantWanted;
/* For the reader that holds the job; ERR_CONFLICT grant.over when nobody waits any more. */
MUST_CHECK bool catalog_grant_wanted(Catalog *c, const Fence *fence, GrantWanted *out, Err *err);
enum { GRANT_PART = 1 << 20 };
MUST_CHECK bool catalog_grant_put(Catalog *c, const Fence *fence, unsigned n, Slice bytes,
                                  bool last, Err *err);

/* For the worker that it is for, whose restore then has used it: appends all of it to *out.
 * ERR_DENIED with the reason as its cause: grant.not_yours, .other, .withdrawn, .expired,
 * .not_made, .used, .unknown. */
MUST_CHECK bool catalog_grant_take(Catalog *c, const Fence *fence, Buf *out, Err *err);

#endif
