/* SPDX-License-Identifier: Apache-2.0
 * catalog_verify.h — what a reader needs to prove packs: those that nobody has seen whole, and what
 * the catalogue says is in them. Only for enrolled readers (ERR_DENIED else). */
#ifndef COMMON_CATALOG_CATALOG_VERIFY_H
#define COMMON_CATALOG_CATALOG_VERIFY_H

#include "common/catalog/catalog.h"
#include "protocol/pack.h"

/* Undamaged packs of the backup that this job is about: those that a reader has opened whole
 * (seen), or those that none has; rows without chunks. */
MUST_CHECK bool catalog_pack_unseen(Catalog *c, const Fence *fence, const Uuid *backup, bool seen,
                                    PackVisit *visit, void *ctx, Err *err);

/* The rows of one pack, by ordinal; freed with mem_free. */
MUST_CHECK bool catalog_pack_chunks(Catalog *c, const Fence *fence, uint64_t pack_no,
                                    ChunkRow **chunks, size_t *count, Err *err);

#endif
