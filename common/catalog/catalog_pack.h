/* SPDX-License-Identifier: Apache-2.0
 * catalog_pack.h — packs and chunks of a session, for the attempt that holds the job.
 * Order: begin -> the object is durable -> stage (with its chunk rows) -> commit. A lookup returns
 * a chunk only from an undamaged pack that this attempt staged or adopted, or that is live and of
 * the job's own domain or verified by a reader: a stolen worker cannot poison other sources. A
 * fence that does not hold is ERR_FENCED job.fenced. */
#ifndef COMMON_CATALOG_CATALOG_PACK_H
#define COMMON_CATALOG_CATALOG_PACK_H

#include "common/catalog/catalog.h"
#include "protocol/pack.h"

/* Hosts that the store's keys have revoked: what they stored is found by this attempt only after a
 * reader has seen it, and not taken over. A login of such a host that is younger than the
 * revocation counts again. */
typedef struct CatalogRevoked {
    Text host;
    uint64_t before; /* certificates below this generation */
    uint64_t at_s;   /* when, seconds since 1970; 0: not known, then no login counts */
} CatalogRevoked;
MUST_CHECK bool catalog_session_revoked(Catalog *c, const Fence *fence, const CatalogRevoked *hosts,
                                        size_t count, Err *err);
/* Binds the order's repository to the id its config carries, the first time; later another id is
 * refused: ERR_CONFLICT repo.other_id. Also gives back what the catalogue knows of its epoch. */
MUST_CHECK bool catalog_repository_bind(Catalog *c, const Fence *fence, const Uuid *repository,
                                        uint64_t *gc_epoch, uint64_t *confirmed_epoch, Err *err);

/* What a session that opens must find in the store, and what it must not: newest (nil: none) is the
 * newest backup whose marker was written, stranger (nil: none) the first of `markers`, which are in
 * the store, that belongs to no backup of the catalogue. What is known to be lost is not asked. */
typedef struct RepositoryLook {
    Uuid newest, stranger;
    Sha256 manifest; /* of newest */
} RepositoryLook;
MUST_CHECK bool catalog_repository_look(Catalog *c, const Fence *fence, const Uuid *markers,
                                        size_t count, RepositoryLook *out, Err *err);

/* The store or the catalogue was set back to an earlier day: from now on lookups find only packs
 * that are begun later or that a reader sees later, and an alert goes out. lost (NULL: none) is the
 * backup that the store lacks; epoch the store's that does not fit (has_epoch). *news false: the
 * same was told before, and nothing changed. */
typedef struct SetBack {
    const Uuid *lost;
    bool has_epoch;
    uint64_t epoch;
    Text why;
} SetBack;
MUST_CHECK bool catalog_repository_set_back(Catalog *c, const Fence *fence, const SetBack *what,
                                            bool *news, Err *err);

MUST_CHECK bool catalog_pack_begin(Catalog *c, const Fence *fence, const Uuid *object,
                                   const Uuid *pack, PackKind kind, uint64_t *pack_no, Err *err);

/* One transaction: bytes, sha256 and chunk rows. Repeating the same is fine; the same pack_no with
 * another sha256 is ERR_CONFLICT pack.restaged. */
MUST_CHECK bool catalog_pack_stage(Catalog *c, const Fence *fence, const PackRow *row, Err *err);

/* Before an index object is written: its session's backup (nil: none, a repack), and the packs that
 * it names, all of this attempt. Repeating the same is fine. */
MUST_CHECK bool catalog_index_begin(Catalog *c, const Fence *fence, const Uuid *backup,
                                    const Uuid *object, const uint64_t *pack_nos, size_t count,
                                    Err *err);

/* ids ascending and without doubles (any order works, sorted is what the index likes); out has
 * count rows in the same order. */
MUST_CHECK bool catalog_chunk_lookup(Catalog *c, const Fence *fence, const ChunkId *ids,
                                     size_t count, ChunkPlace *out, Err *err);

/* Takes over what earlier attempts of this job staged whole; visit sees each pack with its chunks
 * (borrowed for the call). visit returning false ends with its *err. */
MUST_CHECK bool catalog_pack_adopt(Catalog *c, const Fence *fence, PackVisit *visit, void *ctx,
                                   Err *err);
/* Its two halves: taking them over, and some of what this attempt has staged, past the number
 * *after, which moves on; *more false: there was nothing left. */
MUST_CHECK bool catalog_pack_take(Catalog *c, const Fence *fence, Err *err);
MUST_CHECK bool catalog_pack_staged(Catalog *c, const Fence *fence, uint64_t *after,
                                    PackVisit *visit, void *ctx, bool *more, Err *err);

/* For readers (restore, verify, probe): any undamaged pack of the repository that is not dying. */
MUST_CHECK bool catalog_chunk_find(Catalog *c, const Fence *fence, const ChunkId *ids, size_t count,
                                   ChunkPlace *out, Err *err);

/* The same of one id, from another object than `missed`, which is not where it should be. */
MUST_CHECK bool catalog_chunk_find_other(Catalog *c, const Fence *fence, const ChunkId *id,
                                         const Uuid *missed, ChunkPlace *out, Err *err);

/* Another place of the backup that a restore reads: its number in the catalogue, as the order names
 * it. From now on its chunks are found there too; missed may be NULL. */
MUST_CHECK bool catalog_place_open(Catalog *c, const Fence *fence, uint32_t repository, Err *err);
MUST_CHECK bool catalog_chunk_find_in(Catalog *c, const Fence *fence, uint32_t repository,
                                      const ChunkId *ids, size_t count, const Uuid *missed,
                                      ChunkPlace *out, Err *err);

/* The packs of a backup in pack_no order, without chunks: for verify `stored`. */
MUST_CHECK bool catalog_pack_of_backup(Catalog *c, const Fence *fence, const Uuid *backup,
                                       PackVisit *visit, void *ctx, Err *err);

/* A reader opened these stored objects, recomputed every id, found the row's sha256: from now on
 * their chunks may be shared. Only for roles enrolled as readers. changed: rows that matched. */
MUST_CHECK bool catalog_pack_verified(Catalog *c, const Fence *fence, const uint64_t *pack_nos,
                                      const Sha256 *sha256s, size_t count, size_t *changed,
                                      Err *err);

/* A reader found this pack wrong: no lookup returns it any more. */
MUST_CHECK bool catalog_pack_damaged(Catalog *c, const Fence *fence, uint64_t pack_no, Text why,
                                     Err *err);

#endif
