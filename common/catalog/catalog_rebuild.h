/* SPDX-License-Identifier: Apache-2.0
 * catalog_rebuild.h — telling the catalogue again what a store holds: after the catalogue was lost,
 * or after it or the store was put back to an earlier day. Called by a rebuild job under its fence,
 * or with a zero fence as the administrator of the catalogue, without a job. Every call may be
 * repeated; what is there stays. */
#ifndef COMMON_CATALOG_CATALOG_REBUILD_H
#define COMMON_CATALOG_CATALOG_REBUILD_H

#include "common/catalog/catalog.h"
#include "protocol/pack.h"

/* Whose calls these are. repository is given by catalog_rebuild_begin. */
typedef struct Rebuilder {
    Fence fence; /* zero: the administrator */
    uint32_t repository;
} Rebuilder;

typedef struct RebuildPlace {
    Text store, key_set; /* key_set empty: not encrypted; both without a job only */
    Text config;         /* JSON of the store, where the catalogue does not know it */
    Uuid id;             /* of the repository */
    Text what;           /* rebuild or merge */
} RebuildPlace;

/* From here on the repository is frozen. *known: backups that are in the catalogue already. */
MUST_CHECK bool catalog_rebuild_begin(Catalog *c, Rebuilder *who, const RebuildPlace *place,
                                      uint64_t *known, Err *err);

/* seen[i]: this index object was imported already. */
MUST_CHECK bool catalog_rebuild_indexes(Catalog *c, const Rebuilder *who, const Uuid *objects,
                                        size_t count, bool *seen, Err *err);

/* The packs of one index object; object nil: of none. */
typedef struct RebuildIndex {
    Uuid object, backup; /* backup nil: the head does not say */
    Sha256 sha256;       /* of the stored object */
    Slice signer;        /* public key of whoever signed it */
} RebuildIndex;
MUST_CHECK bool catalog_rebuild_packs(Catalog *c, const Rebuilder *who, const RebuildIndex *index,
                                      const PackRow *packs, size_t count, uint64_t *new_packs,
                                      uint64_t *new_chunks, Err *err);

/* Packs that the catalogue knows, with objects above `after` up to `until`, in their order. The
 * visit is lent rows without chunks. */
MUST_CHECK bool catalog_rebuild_expected(Catalog *c, const Rebuilder *who, const Uuid *after,
                                         const Uuid *until, PackVisit *visit, void *ctx, Err *err);

/* These were looked for by name and are not there. *gone: how many of them should have been. */
MUST_CHECK bool catalog_rebuild_gone(Catalog *c, const Rebuilder *who, const uint64_t *pack_nos,
                                     size_t count, Text why, uint64_t *gone, Err *err);

/* without may be NULL: an object to pass over. */
MUST_CHECK bool catalog_rebuild_find(Catalog *c, const Rebuilder *who, const ChunkId *ids,
                                     size_t count, const Uuid *without, ChunkPlace *out, Err *err);

MUST_CHECK bool catalog_rebuild_known(Catalog *c, const Rebuilder *who, const Uuid *backups,
                                      size_t count, bool *known, Err *err);

/* Backups of the catalogue that are not deleted, by id: `most` at most of those after `after`. */
typedef struct RebuildKnown {
    Uuid backup;
    Sha256 manifest;
    bool marked;
} RebuildKnown;
MUST_CHECK bool catalog_rebuild_backups(Catalog *c, const Rebuilder *who, const Uuid *after,
                                        size_t most, RebuildKnown *out, size_t *count, Err *err);

typedef enum RebuildAnswer {
    REBUILD_IMPORTED = 1,
    REBUILD_RECOVERED, /* it had no marker, and nothing spoke against it */
    REBUILD_KNOWN,
    REBUILD_ZOMBIE, /* it had no marker, and `why` speaks against it */
} RebuildAnswer;

typedef struct RebuildBackup {
    Uuid id, index;
    Sha256 manifest;
    Slice signer;
    const uint64_t *pack_nos;
    size_t pack_count;
    Text facts; /* a JSON object; migrations/…_rebuild.sql reads its members */
} RebuildBackup;
MUST_CHECK bool catalog_rebuild_backup(Catalog *c, const Rebuilder *who,
                                       const RebuildBackup *backup, RebuildAnswer *answer,
                                       char why[256], Err *err);

/* Its manifest is not in the store any more. *news: nobody had said so. */
MUST_CHECK bool catalog_rebuild_lost(Catalog *c, const Rebuilder *who, const Uuid *backup, Text why,
                                     bool *news, Err *err);
/* The store says, signed by the prune role, that it was forgotten. *had: it was still here. */
MUST_CHECK bool catalog_rebuild_forgotten(Catalog *c, const Rebuilder *who, const Uuid *backup,
                                          bool *had, Err *err);

/* Of the packs that this run did not find, those that no backup needs: a collector took them. Asked
 * when all backups are told. */
MUST_CHECK bool catalog_rebuild_dead(Catalog *c, const Rebuilder *who, uint64_t *dead, Err *err);
/* The store says that it is held. *news: the catalogue held it for less long, or not at all. */
MUST_CHECK bool catalog_rebuild_hold(Catalog *c, const Rebuilder *who, const Uuid *backup,
                                     int64_t until_ns, Text reason, bool *news, Err *err);

/* epoch: the store's. *now: the repository's from here on. */
MUST_CHECK bool catalog_rebuild_done(Catalog *c, const Rebuilder *who, uint64_t epoch, Text what,
                                     Text report, uint64_t *now, Err *err);

#endif
