/* SPDX-License-Identifier: Apache-2.0
 * ledger_catalog.h — the ledger of a write session, kept by the catalogue.
 * What an earlier attempt staged is taken over only where its object is there in its recorded size;
 * of every few the sha256 is read back too. A pack that fails this is as if it had never been. */
#ifndef WORKER_JOB_LEDGER_CATALOG_H
#define WORKER_JOB_LEDGER_CATALOG_H

#include "common/repo/ledger.h"
#include "common/repo/repo.h"
#include "worker/job/patient.h"

typedef struct LedgerCatalogParams {
    Patient *catalog; /* borrowed, as is repo */
    Repo *repo;
    Fence fence;
} LedgerCatalogParams;

RepoLedger *ledger_catalog_new(const LedgerCatalogParams *params);
void ledger_catalog_free(RepoLedger *ledger); /* NULL is fine */

/* For the ledgers of other sessions: tells the catalogue of an index object before it is written.
 */
MUST_CHECK bool ledger_catalog_index(Patient *catalog, const Fence *fence, const Uuid *backup,
                                     const Uuid *object, const uint64_t *pack_nos, size_t count,
                                     Err *err);

/* What this attempt staged itself, without chunks; valid while nothing is staged. */
const PackRow *ledger_catalog_staged(const RepoLedger *ledger, size_t *count);

#endif
