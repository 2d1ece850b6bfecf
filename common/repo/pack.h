/* SPDX-License-Identifier: Apache-2.0
 * pack.h — one immutable object that holds many chunks.
 * A pack has a key of its own, drawn by the process that writes it, sealed to the readers in the
 * header and forgotten with the writer; each chunk has a key derived from that. A write error ends
 * the pack: what follows is another object, another pack id, another key. */
#ifndef COMMON_REPO_PACK_H
#define COMMON_REPO_PACK_H

#include "common/codec/codec.h"
#include "common/codec/keyring.h"
#include "common/repo/ledger.h"
#include "common/store/store.h"
#include "protocol/disk.h"

enum { PACK_NAME = 48 };
/* "packs/<first two hex digits>/<uuid>" */
void pack_name(const Uuid *object, char out[PACK_NAME]);

typedef struct PackWriter PackWriter;

/* Opens the object and writes the header. object and pack are fresh uuids of this attempt. */
MUST_CHECK bool pack_begin(PackWriter **out, const Keyring *keyring, Store *store, PackKind kind,
                           const Uuid *object, const Uuid *pack, Err *err);
/* One chunk, already encoded. plain_len is the length of its content. */
MUST_CHECK bool pack_add(PackWriter *writer, const ChunkId *id, uint8_t codec, Slice coded,
                         size_t plain_len, Err *err);
uint64_t pack_bytes(const PackWriter *writer);
size_t pack_chunks(const PackWriter *writer);
/* Table, end, and the object is durable. row (pack_no left 0) borrows from the writer. */
MUST_CHECK bool pack_finish(PackWriter *writer, PackRow *row, Err *err);
void pack_free(PackWriter *writer); /* without pack_finish nothing is left; NULL is fine */

typedef struct PackReader PackReader;

/* Reads the header, opens the key and checks the key commitment. expected may be NULL: any pack id
 * (offline scans). One reader may serve several threads. */
MUST_CHECK bool pack_open(PackReader **out, const Keyring *keyring, Store *store,
                          const Uuid *object, const Uuid *expected, Err *err);
/* The content of one chunk at `plain` (row->plain bytes); its id is computed again and compared.
 * scratch is the caller's, kept between calls. */
MUST_CHECK bool pack_chunk(const PackReader *reader, CodecWork *work, Buf *scratch,
                           const ChunkRow *row, uint8_t *plain, Err *err);
/* The same of row->stored bytes that were read already. */
MUST_CHECK bool pack_chunk_read(const PackReader *reader, CodecWork *work, Buf *scratch,
                                const ChunkRow *row, const uint8_t *stored, uint8_t *plain,
                                Err *err);
/* The key that opens this chunk and no other, for a grant. Not of a reader that was opened by one.
 */
void pack_chunk_key(const PackReader *reader, const ChunkRow *row, uint8_t out[SEAL_KEY]);
/* The table at the pack's end; *rows is freed with mem_free. */
MUST_CHECK bool pack_table(const PackReader *reader, ChunkRow **rows, size_t *count, Err *err);
PackKind pack_kind(const PackReader *reader);
Uuid pack_id(const PackReader *reader);
void pack_close(PackReader *reader); /* wipes; NULL is fine */

#endif
