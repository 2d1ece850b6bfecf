/* SPDX-License-Identifier: Apache-2.0
 * hash.h — SHA-256 and HMAC-SHA-256 by OpenSSL, which uses the CPU's instructions for them. */
#ifndef COMMON_BASE_HASH_H
#define COMMON_BASE_HASH_H

#include "protocol/ids.h"

typedef struct HashSha256 HashSha256;

void hash_sha256(Slice bytes, Sha256 *out);
void hash_hmac_sha256(Slice key, Slice bytes, Sha256 *out);

HashSha256 *hash_sha256_new(void);
void hash_sha256_add(HashSha256 *hash, Slice bytes);
void hash_sha256_end(HashSha256 *hash, Sha256 *out); /* may be used again after it */
void hash_sha256_free(HashSha256 *hash);

/* Takes the same time whatever differs. */
bool hash_equal(const void *a, const void *b, size_t len);

#endif
