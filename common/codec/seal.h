/* SPDX-License-Identifier: Apache-2.0
 * seal.h — the cryptography of stored bytes, in six primitives; protocol/README.md says how
 * records use them. AES-256-GCM (OpenSSL) with a nonce of zero: every key seals one message, once,
 * because it is derived for it from a random key. HKDF-SHA-256's expand step with one block. X25519
 * sealed boxes and Ed25519 signatures (libsodium). */
#ifndef COMMON_CODEC_SEAL_H
#define COMMON_CODEC_SEAL_H

#include "common/base/buf.h"
#include "protocol/ids.h"

enum {
    SEAL_KEY = 32,
    SEAL_TAG = 16,
    SEAL_PUBLIC = 32,
    SEAL_SECRET = 32,
    SEAL_SIGN_PUBLIC = 32,
    SEAL_SIGN_SEED = 32,
    SEAL_SIGNATURE = 64,
    SEAL_BOX = 48 + SEAL_KEY, /* a 32-byte key in a sealed box */
};

/* Ciphertext, then the tag, at out: plain.len + SEAL_TAG bytes. */
void seal_encrypt(const uint8_t key[SEAL_KEY], Slice ad, Slice plain, uint8_t *out);
/* plain has sealed.len - SEAL_TAG bytes. ERR_CORRUPT seal.damaged when the tag does not hold. */
MUST_CHECK bool seal_decrypt(const uint8_t key[SEAL_KEY], Slice ad, Slice sealed, uint8_t *plain,
                             Err *err);

/* SipHash-2-4 with 128 bits (Aumasson, Bernstein; libsodium's siphashx24): names something short,
 * unforgeably for whoever lacks the key, without what it costs to set an HMAC up. No name for
 * content: two texts of one name can be found by whoever has the key. */
enum { SEAL_SHORT_KEY = 16, SEAL_SHORT = 16 };
void seal_short(const uint8_t key[SEAL_SHORT_KEY], Slice bytes, uint8_t out[SEAL_SHORT]);

/* A name of content for whoever wrote it, several times as fast as a hash that needs no key: GMAC
 * (NIST SP 800-38D) under the first key and a nonce of zero, a universal hash while nobody sees it,
 * and SipHash-2-4 with 128 bits of its value and the length under the second (Wegman and Carter,
 * 1981). Without the keys two contents of one name are found by chance only, at 2^-100 a pair; with
 * them they can be made. */
enum { SEAL_MARK = 16 };
typedef struct SealMarker SealMarker; /* of one thread at a time */
SealMarker *seal_marker_new(const uint8_t key[SEAL_KEY], const uint8_t outer[SEAL_SHORT_KEY]);
void seal_mark(SealMarker *marker, Slice content, uint8_t out[SEAL_MARK]); /* up to 1 GiB */
void seal_marker_free(SealMarker *marker);                                 /* NULL is fine */

/* HKDF-Expand(SHA-256, key, info, 32): HMAC(key, info | 0x01). */
void seal_derive(const uint8_t key[SEAL_KEY], Slice info, uint8_t out[SEAL_KEY]);

/* A key for whoever holds the secret half of `to` (crypto_box_seal). */
void seal_box(const uint8_t to[SEAL_PUBLIC], const uint8_t key[SEAL_KEY], uint8_t out[SEAL_BOX]);
MUST_CHECK bool seal_unbox(const uint8_t secret[SEAL_SECRET], const uint8_t box[SEAL_BOX],
                           uint8_t key[SEAL_KEY], Err *err);
void seal_public_of(const uint8_t secret[SEAL_SECRET], uint8_t out[SEAL_PUBLIC]);

/* Ed25519 over label | 0x00 | sha256(bytes): a signature of one kind of record is none of another.
 */
void seal_sign(const uint8_t seed[SEAL_SIGN_SEED], const char *label, Slice bytes,
               uint8_t out[SEAL_SIGNATURE]);
bool seal_signed(const uint8_t by[SEAL_SIGN_PUBLIC], const char *label, Slice bytes,
                 const uint8_t signature[SEAL_SIGNATURE]);
void seal_sign_public_of(const uint8_t seed[SEAL_SIGN_SEED], uint8_t out[SEAL_SIGN_PUBLIC]);

/* Argon2id (libsodium's), for a passphrase. Limits from a record are bounded before use: 1 GiB and
 * 10 passes at most. */
MUST_CHECK bool seal_stretch(Slice passphrase, const uint8_t salt[16], uint64_t passes,
                             uint64_t memory_bytes, uint8_t out[SEAL_KEY], Err *err);

#endif
