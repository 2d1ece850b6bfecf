/* SPDX-License-Identifier: Apache-2.0
 * catalog_audit.h — who did what, when, from where, why; append-only and hash-chained.
 * Events are inserted unchained, so that no transaction waits for another; one chainer links them
 * within a second: hash = SHA-256(previous hash | JSON array of the row). Rows are never changed
 * or deleted, by triggers and by rights; a cut tail shows only against an anchor kept elsewhere. */
#ifndef COMMON_CATALOG_CATALOG_AUDIT_H
#define COMMON_CATALOG_CATALOG_AUDIT_H

#include "common/catalog/catalog.h"

typedef struct AuditRow {
    Text actor;      /* "a.ito", a token's name, a worker's */
    Text actor_kind; /* user token worker system */
    Text via;        /* cli api web scheduler */
    Text client_ip;  /* empty: none */
    Text action;     /* "backup.run", "policy.apply", … */
    Text object;
    Text reason;
    Text result; /* ok denied failed */
    Text detail; /* JSON object; empty is {} */
} AuditRow;

MUST_CHECK bool catalog_audit_add(Catalog *c, const AuditRow *row, Err *err);

/* Links what is not linked yet, at most 1 000 rows a call; *linked says how many. Any number of
 * schedulers may call it. */
MUST_CHECK bool catalog_audit_chain(Catalog *c, uint32_t *linked, Err *err);

/* The head of the chain, to be kept outside the catalogue; seq 0: empty. */
MUST_CHECK bool catalog_audit_head(Catalog *c, uint64_t *seq, Sha256 *hash, Err *err);
MUST_CHECK bool catalog_audit_anchor(Catalog *c, uint64_t seq, const Sha256 *hash, Text copied_to,
                                     Err *err);

#endif
