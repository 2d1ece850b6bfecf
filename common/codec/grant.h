/* SPDX-License-Identifier: Apache-2.0
 * grant.h — what one enrolled host without a reader key may open: the keys of the chunks of one
 * backup, and of its manifest, sealed by a reader to that host's box key. Not the keys of packs: a
 * pack may hold what belongs to others.
 *
 * Why so: a chunk's key is derived from its pack's, so it opens that chunk and says nothing of its
 * neighbours; a box to the key of a certificate that the root signed needs no new secret, and
 * whoever carries it (catalogue, network, a backup of either) opens nothing. What a host was
 * granted it can keep: who must expect that it is stolen grants nothing to it. The instant at
 * which a grant ends binds whoever is honest; the catalogue hands it out for one restore, before
 * that instant, and then deletes it. */
#ifndef COMMON_CODEC_GRANT_H
#define COMMON_CODEC_GRANT_H

#include "common/codec/seal.h"
#include "protocol/disk.h"

/* Whom it is for and of what; bound to what is sealed. */
typedef struct GrantFacts {
    Uuid id;
    Uuid set_id;
    Uuid backup;
    int64_t until_s; /* of the wall clock */
    char host[128];  /* of the certificate whose box key opens it */
} GrantFacts;

enum {
    GRANT_ROW = 16 + 4 + SEAL_KEY,
    GRANT_MOST = 64 << 20, /* bytes: some 1.2 million chunks */
};

typedef struct GrantWriter GrantWriter;
GrantWriter *grant_writer_new(void);
void grant_add_chunk(GrantWriter *writer, const Uuid *pack, uint32_t ordinal,
                     const uint8_t key[SEAL_KEY]);
/* The key of an object that is sealed to readers with these slots. */
void grant_add_object(GrantWriter *writer, Slice slots, const uint8_t key[SEAL_KEY]);
size_t grant_count(const GrantWriter *writer);
/* Sealed for the holder of `to`'s secret half; grant.large beyond GRANT_MOST. */
MUST_CHECK bool grant_seal(GrantWriter *writer, const GrantFacts *facts,
                           const uint8_t to[SEAL_PUBLIC], Buf *out, Err *err);
void grant_writer_free(GrantWriter *writer); /* wipes; NULL is fine */

typedef struct Grant Grant;
/* Refused by name, with what was expected of it: grant.not_yours when this host's secret does not
 * open it or it says another host, grant.other when it is of another backup, key set or id,
 * grant.expired behind its end by this host's clock. */
MUST_CHECK bool grant_open(Grant **out, Slice sealed, const GrantFacts *expected, int64_t now_s,
                           const uint8_t secret[SEAL_SECRET], Err *err);
bool grant_chunk_key(const Grant *grant, const Uuid *pack, uint32_t ordinal, uint8_t key[SEAL_KEY]);
bool grant_object_key(const Grant *grant, Slice slots, uint8_t key[SEAL_KEY]);
void grant_free(Grant *grant); /* wipes; NULL is fine */

#endif
