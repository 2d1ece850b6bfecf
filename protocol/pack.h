/* SPDX-License-Identifier: Apache-2.0
 * pack.h — a stored object of many chunks, as the repository writes it and the catalogue keeps it.
 * Neither knows the other; so the rows that they share live here. */
#ifndef PROTOCOL_PACK_H
#define PROTOCOL_PACK_H

#include "protocol/ids.h"

typedef enum PackKind {
    PACK_DATA = 1, /* content of entries */
    PACK_META = 2, /* pages of manifests */
} PackKind;

/* One chunk of a pack, as the pack's own table has it. */
typedef struct ChunkRow {
    ChunkId id;
    uint32_t ordinal; /* in its pack, from 0; part of the chunk's key */
    uint8_t codec;
    uint64_t offset; /* of the sealed bytes in the object */
    uint32_t stored; /* sealed length */
    uint32_t plain;  /* length of the content, 4 MiB at most */
} ChunkRow;

typedef struct PackRow {
    uint64_t pack_no; /* the ledger's number of it */
    Uuid object;      /* names the stored object: packs/<2 hex>/<uuid> */
    Uuid pack;        /* names the pack in its cryptography, never its place */
    PackKind kind;
    uint64_t bytes;
    Sha256 sha256; /* of the whole object */
    const ChunkRow *chunks;
    size_t chunk_count;
} PackRow;

/* Where a chunk lies. found false: nowhere that the asker may use. */
typedef struct ChunkPlace {
    bool found;
    uint64_t pack_no;
    Uuid object;
    Uuid pack;
    ChunkRow chunk;
} ChunkPlace;

/* Lends the row for the call. False ends the visit, with *err set. */
typedef bool PackVisit(void *ctx, const PackRow *row, Err *err);

#endif
