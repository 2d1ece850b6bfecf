/* SPDX-License-Identifier: Apache-2.0
 * catalog_token.h — API tokens (only their SHA-256 is kept) and idempotency keys. */
#ifndef COMMON_CATALOG_CATALOG_TOKEN_H
#define COMMON_CATALOG_CATALOG_TOKEN_H

#include "common/catalog/catalog.h"

typedef struct TokenRow {
    uint64_t id;
    char name[64];
    char role[16]; /* viewer operator restorer auditor admin */
    int64_t expires_ns;
} TokenRow;

/* ERR_CONFLICT token.exists when a live token has that name, ERR_USAGE token.role. */
MUST_CHECK bool catalog_token_create(Catalog *c, Text name, Text role, const Sha256 *hash,
                                     int64_t expires_ns, Text actor, uint64_t *id, Err *err);

/* *found false: unknown, expired or revoked; the caller does not say which. */
MUST_CHECK bool catalog_token_find(Catalog *c, const Sha256 *hash, TokenRow *out, bool *found,
                                   Err *err);
/* reason may be empty. */
MUST_CHECK bool catalog_token_revoke(Catalog *c, Text name, Text actor, Text reason, Err *err);

/* Is there any live token with this role? For the first start, which makes the admin's. */
MUST_CHECK bool catalog_token_any(Catalog *c, Text role, bool *any, Err *err);

typedef enum IdempotencyAnswer {
    IDEMPOTENCY_NEW = 1, /* do it, then call done */
    IDEMPOTENCY_RUNNING, /* the first one is still at it */
    IDEMPOTENCY_DONE,    /* status and body of the first answer */
    IDEMPOTENCY_OTHER,   /* the key was used for another body */
} IdempotencyAnswer;

MUST_CHECK bool catalog_idempotency_begin(Catalog *c, Text actor, Text key, const Sha256 *request,
                                          IdempotencyAnswer *answer, int *status, Buf *body,
                                          Err *err);
/* status 0: forget the key (the request failed before it did anything). */
MUST_CHECK bool catalog_idempotency_done(Catalog *c, Text actor, Text key, int status, Text body,
                                         Err *err);

#endif
