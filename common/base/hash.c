/* SPDX-License-Identifier: Apache-2.0 */
#include "common/base/hash.h"

#include "common/base/mem.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdlib.h>

struct HashSha256 {
    EVP_MD_CTX *ctx;
};

/* OpenSSL fails here only without memory or without its own provider: nothing can go on. */
static void must(int done)
{
    if (done != 1)
        abort();
}

void hash_sha256(Slice bytes, Sha256 *out)
{
    must(EVP_Digest(bytes.at, bytes.len, out->bytes, NULL, EVP_sha256(), NULL));
}

void hash_hmac_sha256(Slice key, Slice bytes, Sha256 *out)
{
    static const uint8_t none[1];
    const uint8_t *at = key.at == NULL ? none : key.at;
    must(HMAC(EVP_sha256(), at, (int)key.len, bytes.at == NULL ? none : bytes.at, bytes.len,
              out->bytes, NULL) != NULL);
}

HashSha256 *hash_sha256_new(void)
{
    HashSha256 *hash = mem_new(HashSha256);
    hash->ctx = EVP_MD_CTX_new();
    must(hash->ctx != NULL);
    must(EVP_DigestInit_ex(hash->ctx, EVP_sha256(), NULL));
    return hash;
}

void hash_sha256_add(HashSha256 *hash, Slice bytes)
{
    must(EVP_DigestUpdate(hash->ctx, bytes.at, bytes.len));
}

void hash_sha256_end(HashSha256 *hash, Sha256 *out)
{
    must(EVP_DigestFinal_ex(hash->ctx, out->bytes, NULL));
    must(EVP_DigestInit_ex(hash->ctx, EVP_sha256(), NULL));
}

void hash_sha256_free(HashSha256 *hash)
{
    if (hash == NULL)
        return;
    EVP_MD_CTX_free(hash->ctx);
    mem_free(hash);
}

bool hash_equal(const void *a, const void *b, size_t len)
{
    return CRYPTO_memcmp(a, b, len) == 0;
}
