/* SPDX-License-Identifier: Apache-2.0
 * catalog_copy.h — a backup brought into another repository of its key set, for the attempt that
 * holds the copy job, and who asks for it.
 * Order: open -> for every pack that the target lacks: catalog_pack_begin, the object is durable,
 * stage -> commit. What was copied may be shared with backups only after a reader has seen it. */
#ifndef COMMON_CATALOG_CATALOG_COPY_H
#define COMMON_CATALOG_CATALOG_COPY_H

#include "common/catalog/catalog_backup.h"
#include "common/catalog/catalog_job.h"

typedef struct CopyOpened {
    Uuid backup;
    Sha256 manifest_sha256;
    uint64_t packs, bytes; /* where it is read; bytes is what they weigh */
    bool present;          /* the target has it already */
} CopyOpened;

/* from: number of the repository that is read, as the order says; it is kept from the collector
 * until the attempt ends. */
MUST_CHECK bool catalog_copy_open(Catalog *c, const Fence *fence, uint32_t from, CopyOpened *out,
                                  Err *err);

typedef struct CopyPack {
    PackRow row;      /* where it is read, without chunks */
    uint64_t have;    /* number of the same pack in the target; 0: it is to be copied */
    Uuid have_object; /* its name there */
    bool have_staged; /* by an earlier attempt of this job, and adopted */
} CopyPack;
typedef bool CopyPackVisit(void *ctx, const CopyPack *pack, Err *err);
/* Those past a number (of row), in its order, some at a time. */
MUST_CHECK bool catalog_copy_packs(Catalog *c, const Fence *fence, uint32_t from, uint64_t after,
                                   CopyPackVisit *visit, void *ctx, Err *err);

/* The object of pack_no is durable and holds the bytes of the pack `from`. Repeating is fine. */
MUST_CHECK bool catalog_copy_stage(Catalog *c, const Fence *fence, uint64_t pack_no,
                                   const Uuid *object, const PackRow *from, Err *err);

/* An object of either side is not what its row says. */
MUST_CHECK bool catalog_copy_damaged(Catalog *c, const Fence *fence, uint64_t pack_no, Text why,
                                     Err *err);

typedef struct CopyRow {
    uint32_t from;
    Uuid index_object; /* nil when nothing was sent */
    const uint64_t *pack_nos;
    size_t pack_count;
    uint64_t new_bytes;
} CopyRow;
MUST_CHECK bool catalog_copy_commit(Catalog *c, const Fence *fence, const CopyRow *row,
                                    CommitAnswer *answer, char detail[256], Err *err);

typedef struct CopyRequest {
    Uuid backup;
    Text store;
    Text pool; /* empty: where a fit worker is */
    Text actor, idempotency_key;
    bool plain; /* as a file that other programs read, not into a repository */
} CopyRequest;
/* ERR_CONFLICT copy.there, copy.forgotten, copy.other_keys; ERR_MISSING store.unknown. */
MUST_CHECK bool catalog_copy_ask(Catalog *c, const CopyRequest *request, JobCreated *out, Err *err);

/* Copies that came due otherwise than with a commit; waiting ones go where a fit worker is. */
MUST_CHECK bool catalog_copies_fire(Catalog *c, uint64_t *made, Err *err);

#endif
