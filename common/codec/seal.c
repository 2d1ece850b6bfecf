/* SPDX-License-Identifier: Apache-2.0 */
#include "common/codec/seal.h"

#include "common/base/hash.h"
#include "common/base/mem.h"

#include <openssl/evp.h>
#include <pthread.h>
#include <sodium.h>
#include <stdlib.h>

static const uint8_t zero_nonce[12];

static pthread_once_t sodium_once = PTHREAD_ONCE_INIT;

static void start_sodium(void)
{
    if (sodium_init() < 0)
        abort();
}

/* These fail only on a bug or without memory; there is no going on with half a cipher. */
static void must(int done)
{
    if (done != 1)
        abort();
}

/* One context a thread: making one costs as much as sealing a small chunk. */
static _Thread_local EVP_CIPHER_CTX *thread_ctx;
static pthread_key_t ctx_key;
static pthread_once_t ctx_once = PTHREAD_ONCE_INIT;

static void free_ctx(void *ctx)
{
    EVP_CIPHER_CTX_free(ctx);
}

static void make_ctx_key(void)
{
    must(pthread_key_create(&ctx_key, free_ctx) == 0);
}

static EVP_CIPHER_CTX *cipher(void)
{
    if (thread_ctx == NULL) {
        pthread_once(&ctx_once, make_ctx_key);
        thread_ctx = EVP_CIPHER_CTX_new();
        must(thread_ctx != NULL);
        pthread_setspecific(ctx_key, thread_ctx);
    }
    return thread_ctx;
}

void seal_encrypt(const uint8_t key[SEAL_KEY], Slice ad, Slice plain, uint8_t *out)
{
    EVP_CIPHER_CTX *ctx = cipher();
    int len;
    must(EVP_EncryptInit_ex(ctx, EVP_aes_256_gcm(), NULL, key, zero_nonce));
    if (ad.len != 0)
        must(EVP_EncryptUpdate(ctx, NULL, &len, ad.at, (int)ad.len));
    if (plain.len != 0)
        must(EVP_EncryptUpdate(ctx, out, &len, plain.at, (int)plain.len));
    must(EVP_EncryptFinal_ex(ctx, out + plain.len, &len));
    must(EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_GET_TAG, SEAL_TAG, out + plain.len));
}

bool seal_decrypt(const uint8_t key[SEAL_KEY], Slice ad, Slice sealed, uint8_t *plain, Err *err)
{
    EVP_CIPHER_CTX *ctx = cipher();
    uint8_t tag[SEAL_TAG];
    int len;
    if (sealed.len < SEAL_TAG)
        return err_set(err, ERR_CORRUPT, "seal.damaged", "sealed bytes are too short");
    size_t plain_len = sealed.len - SEAL_TAG;
    memcpy(tag, sealed.at + plain_len, SEAL_TAG);
    must(EVP_DecryptInit_ex(ctx, EVP_aes_256_gcm(), NULL, key, zero_nonce));
    if (ad.len != 0)
        must(EVP_DecryptUpdate(ctx, NULL, &len, ad.at, (int)ad.len));
    if (plain_len != 0)
        must(EVP_DecryptUpdate(ctx, plain, &len, sealed.at, (int)plain_len));
    must(EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_SET_TAG, SEAL_TAG, tag));
    uint8_t none[SEAL_TAG];
    if (EVP_DecryptFinal_ex(ctx, none, &len) == 1)
        return true;
    return err_set(err, ERR_CORRUPT, "seal.damaged", "sealed bytes fail their check");
}

void seal_derive(const uint8_t key[SEAL_KEY], Slice info, uint8_t out[SEAL_KEY])
{
    uint8_t block[256];
    Sha256 derived;
    must(info.len < sizeof block);
    memcpy(block, info.at, info.len);
    block[info.len] = 1;
    hash_hmac_sha256((Slice){key, SEAL_KEY}, (Slice){block, info.len + 1}, &derived);
    memcpy(out, derived.bytes, SEAL_KEY);
}

void seal_short(const uint8_t key[SEAL_SHORT_KEY], Slice bytes, uint8_t out[SEAL_SHORT])
{
    _Static_assert(SEAL_SHORT_KEY == crypto_shorthash_siphashx24_KEYBYTES &&
                       SEAL_SHORT == crypto_shorthash_siphashx24_BYTES,
                   "as libsodium has them");
    must(crypto_shorthash_siphashx24(out, bytes.at, bytes.len, key) == 0);
}

struct SealMarker {
    EVP_CIPHER_CTX *gmac;
    uint8_t outer[SEAL_SHORT_KEY];
};

SealMarker *seal_marker_new(const uint8_t key[SEAL_KEY], const uint8_t outer[SEAL_SHORT_KEY])
{
    SealMarker *marker = mem_new(SealMarker);
    marker->gmac = EVP_CIPHER_CTX_new();
    must(marker->gmac != NULL);
    must(EVP_EncryptInit_ex(marker->gmac, EVP_aes_256_gcm(), NULL, key, zero_nonce));
    memcpy(marker->outer, outer, sizeof marker->outer);
    return marker;
}

void seal_mark(SealMarker *marker, Slice content, uint8_t out[SEAL_MARK])
{
    uint8_t inner[SEAL_TAG + 8];
    int len;
    must(EVP_EncryptInit_ex(marker->gmac, NULL, NULL, NULL, zero_nonce));
    if (content.len != 0)
        must(EVP_EncryptUpdate(marker->gmac, NULL, &len, content.at, (int)content.len));
    must(EVP_EncryptFinal_ex(marker->gmac, inner, &len));
    must(EVP_CIPHER_CTX_ctrl(marker->gmac, EVP_CTRL_AEAD_GET_TAG, SEAL_TAG, inner));
    for (unsigned i = 0; i < 8; i++)
        inner[SEAL_TAG + i] = (uint8_t)((uint64_t)content.len >> (8 * i));
    seal_short(marker->outer, (Slice){inner, sizeof inner}, out);
}

void seal_marker_free(SealMarker *marker)
{
    if (marker == NULL)
        return;
    EVP_CIPHER_CTX_free(marker->gmac); /* wipes the key */
    explicit_bzero(marker->outer, sizeof marker->outer);
    mem_free(marker);
}

void seal_box(const uint8_t to[SEAL_PUBLIC], const uint8_t key[SEAL_KEY], uint8_t out[SEAL_BOX])
{
    pthread_once(&sodium_once, start_sodium);
    must(crypto_box_seal(out, key, SEAL_KEY, to) == 0);
}

bool seal_unbox(const uint8_t secret[SEAL_SECRET], const uint8_t box[SEAL_BOX],
                uint8_t key[SEAL_KEY], Err *err)
{
    uint8_t public_half[SEAL_PUBLIC];
    seal_public_of(secret, public_half);
    if (crypto_box_seal_open(key, box, SEAL_BOX, public_half, secret) == 0)
        return true;
    return err_set(err, ERR_CORRUPT, "seal.damaged", "a sealed key does not open");
}

void seal_public_of(const uint8_t secret[SEAL_SECRET], uint8_t out[SEAL_PUBLIC])
{
    pthread_once(&sodium_once, start_sodium);
    must(crypto_scalarmult_base(out, secret) == 0);
}

/* What is really signed: short, and of one kind only. */
static size_t signed_text(const char *label, Slice bytes, uint8_t out[128])
{
    Sha256 hash;
    size_t len = strlen(label);
    must(len < 90);
    hash_sha256(bytes, &hash);
    memcpy(out, label, len + 1);
    memcpy(out + len + 1, hash.bytes, sizeof hash.bytes);
    return len + 1 + sizeof hash.bytes;
}

void seal_sign(const uint8_t seed[SEAL_SIGN_SEED], const char *label, Slice bytes,
               uint8_t out[SEAL_SIGNATURE])
{
    uint8_t text[128];
    uint8_t public_half[SEAL_SIGN_PUBLIC];
    uint8_t secret[crypto_sign_SECRETKEYBYTES];
    pthread_once(&sodium_once, start_sodium);
    size_t len = signed_text(label, bytes, text);
    must(crypto_sign_seed_keypair(public_half, secret, seed) == 0);
    must(crypto_sign_detached(out, NULL, text, len, secret) == 0);
    sodium_memzero(secret, sizeof secret);
}

bool seal_signed(const uint8_t by[SEAL_SIGN_PUBLIC], const char *label, Slice bytes,
                 const uint8_t signature[SEAL_SIGNATURE])
{
    uint8_t text[128];
    pthread_once(&sodium_once, start_sodium);
    size_t len = signed_text(label, bytes, text);
    return crypto_sign_verify_detached(signature, text, len, by) == 0;
}

void seal_sign_public_of(const uint8_t seed[SEAL_SIGN_SEED], uint8_t out[SEAL_SIGN_PUBLIC])
{
    uint8_t secret[crypto_sign_SECRETKEYBYTES];
    pthread_once(&sodium_once, start_sodium);
    must(crypto_sign_seed_keypair(out, secret, seed) == 0);
    sodium_memzero(secret, sizeof secret);
}

bool seal_stretch(Slice passphrase, const uint8_t salt[16], uint64_t passes, uint64_t memory_bytes,
                  uint8_t out[SEAL_KEY], Err *err)
{
    pthread_once(&sodium_once, start_sodium);
    if (passes < 1 || passes > 10 || memory_bytes < 8192 || memory_bytes > 1u << 30)
        return err_set(err, ERR_CORRUPT, "key.limits",
                       "a key file asks for %llu passes over %llu bytes; 10 and 1 GiB are the most",
                       (unsigned long long)passes, (unsigned long long)memory_bytes);
    if (crypto_pwhash(out, SEAL_KEY, (const char *)passphrase.at, passphrase.len, salt, passes,
                      (size_t)memory_bytes, crypto_pwhash_ALG_ARGON2ID13) != 0)
        return err_set(err, ERR_FULL, "key.memory", "there is no memory to open the key file");
    return true;
}
