/* SPDX-License-Identifier: Apache-2.0 */
#include "common/repo/object.h"

#include "common/base/hash.h"
#include "common/base/rand.h"

#include <stdio.h>

/* Byte offsets of the fixed part; README.md draws it. */
enum {
    AT_KIND = DISK_HEAD,
    AT_SLOTS = AT_KIND + 1,
    AT_SET = AT_SLOTS + 1,
    AT_HEAD_LEN = AT_SET + 16,
    AT_BODY_LEN = AT_HEAD_LEN + 4,
    AT_SALT = AT_BODY_LEN + 4,
    FIXED = AT_SALT + 16,
    COMMITMENT = 32,
    LABEL = 40,
};

static void label_of(DiskObject kind, char out[LABEL])
{
    snprintf(out, LABEL, "holdfast object %d 1", (int)kind);
}

static uint32_t le32_at(const uint8_t *at)
{
    return (uint32_t)at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24;
}

/* The key of an object sealed under a derived key: own key, then the salt, so that no key serves
 * twice. */
static void own_object_key(const uint8_t *own_key, const uint8_t *salt, uint8_t out[SEAL_KEY])
{
    uint8_t info[32] = "holdfast object";
    memcpy(info + 16, salt, 16);
    seal_derive(own_key, (Slice){info, sizeof info}, out);
}

static void body_key_of(const uint8_t key[SEAL_KEY], uint8_t out[SEAL_KEY])
{
    static const char info[] = "holdfast object body";
    seal_derive(key, (Slice){(const uint8_t *)info, sizeof info - 1}, out);
}

/* Certificate and content, as they are sealed together. */
static void join_body(const Keyring *keyring, Slice body, Buf *out)
{
    Slice certificate = keyring_certificate(keyring);
    buf_add_le16(out, (uint16_t)certificate.len);
    buf_add_slice(out, certificate);
    buf_add_slice(out, body);
}

/* Slots and key commitment; `key` is the object's. */
static void add_key(const Keyring *keyring, const uint8_t *own_key, size_t start, uint8_t *key,
                    Buf *out)
{
    Sha256 commitment;
    if (own_key != NULL)
        own_object_key(own_key, out->at + start + AT_SALT, key);
    else {
        rand_bytes(key, SEAL_KEY);
        keyring_seal(keyring, key, out);
    }
    hash_hmac_sha256((Slice){key, SEAL_KEY}, (Slice){out->at + start, out->len - start},
                     &commitment);
    buf_add(out, commitment.bytes, COMMITMENT);
}

bool object_pack(const Keyring *keyring, DiskObject kind, const uint8_t *own_key, Slice head,
                 Slice body, Buf *out, Err *err)
{
    scoped(buf_free) Buf inner = {0};
    uint8_t key[SEAL_KEY];
    uint8_t body_key[SEAL_KEY];
    uint8_t salt[16];
    uint8_t signature[SEAL_SIGNATURE];
    char label[LABEL];
    size_t start = out->len;
    bool plain = keyring_plain(keyring);
    bool governs = kind == DISK_FORGOTTEN || kind == DISK_HOLD || kind == DISK_AUDIT;
    if (!keyring_can_write(keyring) && !(governs && keyring_can_prune(keyring)))
        return err_set(err, ERR_DENIED, "repo.no_writer",
                       "this host has no writer key of %s, so it can sign nothing",
                       keyring_set(keyring));
    if (!keyring_may_seal(keyring, err))
        return false;
    if (head.len + body.len > DISK_OBJECT_MOST)
        return err_set(err, ERR_FULL, "repo.object_large", "an object of %zu bytes is over %d",
                       head.len + body.len, DISK_OBJECT_MOST);
    join_body(keyring, body, &inner);
    buf_add(out, disk_magic(DISK_OBJECT), DISK_MAGIC);
    buf_add_byte(out, disk_version(DISK_OBJECT));
    buf_add_byte(out, plain ? DISK_PLAIN : own_key != NULL ? DISK_DERIVED : DISK_SEALED);
    buf_add_byte(out, (uint8_t)kind);
    buf_add_byte(out, own_key != NULL ? 0 : (uint8_t)keyring_slots(keyring));
    Uuid set = keyring_set_id(keyring);
    buf_add(out, set.bytes, sizeof set.bytes);
    buf_add_le32(out, (uint32_t)head.len);
    buf_add_le32(out, (uint32_t)(inner.len + (plain ? 0 : SEAL_TAG)));
    rand_bytes(salt, sizeof salt);
    buf_add(out, salt, sizeof salt);
    if (!plain)
        add_key(keyring, own_key, start, key, out);
    buf_add_slice(out, head);
    if (plain)
        buf_add_slice(out, buf_slice(&inner));
    else {
        body_key_of(key, body_key);
        uint8_t *at = buf_extend(out, inner.len + SEAL_TAG);
        seal_encrypt(body_key, (Slice){out->at + start, (size_t)(at - out->at) - start},
                     buf_slice(&inner), at);
        label_of(kind, label);
        keyring_sign(keyring, label, (Slice){out->at + start, out->len - start}, signature);
        buf_add(out, signature, sizeof signature);
        explicit_bzero(key, sizeof key);
        explicit_bzero(body_key, sizeof body_key);
    }
    return true;
}

/* Where the parts of a stored object lie; every length was checked against the bytes there are. */
typedef struct Parts {
    uint8_t algorithm;
    Slice slots;
    const uint8_t *commitment; /* NULL: plain */
    Slice head;
    Slice body;
    const uint8_t *signature; /* NULL: plain */
} Parts;

static bool damaged(Err *err, const char *what)
{
    return err_set(err, ERR_CORRUPT, "repo.damaged", "a stored object is damaged: %s", what);
}

static bool split(DiskObject kind, Slice stored, Parts *parts, Err *err)
{
    *parts = (Parts){0};
    if (!disk_check(stored, DISK_OBJECT, &parts->algorithm, err))
        return false;
    if (stored.len < FIXED || stored.len > 2u * DISK_OBJECT_MOST)
        return damaged(err, "its length");
    if (stored.at[AT_KIND] != kind)
        return damaged(err, "it is of another kind than its name says");
    bool plain = parts->algorithm == DISK_PLAIN;
    if (parts->algorithm > DISK_DERIVED || stored.at[AT_SLOTS] > DISK_READERS_MOST)
        return damaged(err, "its algorithm is not known");
    uint64_t slots = (uint64_t)stored.at[AT_SLOTS] * DISK_SLOT;
    uint64_t head = le32_at(stored.at + AT_HEAD_LEN);
    uint64_t body = le32_at(stored.at + AT_BODY_LEN);
    uint64_t key_part = plain ? 0 : slots + COMMITMENT;
    if (FIXED + key_part + head + body + (plain ? 0 : SEAL_SIGNATURE) != stored.len)
        return damaged(err, "its parts do not add up to its length");
    const uint8_t *at = stored.at + FIXED;
    parts->slots = (Slice){at, plain ? 0 : (size_t)slots};
    at += parts->slots.len;
    parts->commitment = plain ? NULL : at;
    at += plain ? 0 : COMMITMENT;
    parts->head = (Slice){at, (size_t)head};
    at += head;
    parts->body = (Slice){at, (size_t)body};
    at += body;
    parts->signature = plain ? NULL : at;
    return true;
}

bool object_head(DiskObject kind, Slice stored, Slice *head, Err *err)
{
    Parts parts;
    if (!split(kind, stored, &parts, err))
        return false;
    *head = parts.head;
    return true;
}

static bool open_key(const Keyring *keyring, const Parts *parts, const uint8_t *own_key,
                     Slice stored, uint8_t key[SEAL_KEY], Err *err)
{
    Sha256 commitment;
    Uuid set = keyring_set_id(keyring);
    if (memcmp(stored.at + AT_SET, set.bytes, sizeof set.bytes) != 0)
        return err_set(err, ERR_CORRUPT, "repo.key_mismatch",
                       "a stored object belongs to another key set than %s", keyring_set(keyring));
    if (parts->algorithm == DISK_DERIVED) {
        if (own_key == NULL)
            return damaged(err, "it is not sealed to readers");
        own_object_key(own_key, stored.at + AT_SALT, key);
    } else if (!keyring_unseal(keyring, parts->slots, key, err))
        return false;
    hash_hmac_sha256((Slice){key, SEAL_KEY},
                     (Slice){stored.at, (size_t)(parts->commitment - stored.at)}, &commitment);
    return hash_equal(commitment.bytes, parts->commitment, COMMITMENT) ||
           damaged(err, "its key is not the one it commits to");
}

bool object_key(const Keyring *keyring, DiskObject kind, Slice stored, Slice *slots,
                uint8_t key[SEAL_KEY], Err *err)
{
    Parts parts;
    if (!split(kind, stored, &parts, err))
        return false;
    *slots = parts.slots;
    return (parts.algorithm == DISK_SEALED || damaged(err, "it is not sealed to readers")) &&
           open_key(keyring, &parts, NULL, stored, key, err);
}

/* Decrypts certificate and content into inner. */
static bool open_body(const Keyring *keyring, const Parts *parts, const uint8_t *own_key,
                      Slice stored, Buf *inner, Err *err)
{
    uint8_t key[SEAL_KEY];
    uint8_t body_key[SEAL_KEY];
    if ((parts->algorithm == DISK_PLAIN) != keyring_plain(keyring))
        return err_set(err, ERR_CORRUPT, "repo.downgraded",
                       "a stored object is %ssealed, which this key set does not allow",
                       parts->algorithm == DISK_PLAIN ? "not " : "");
    if (parts->algorithm == DISK_PLAIN) {
        buf_add_slice(inner, parts->body);
        return true;
    }
    if (parts->body.len < SEAL_TAG)
        return damaged(err, "its body is too short");
    if (!open_key(keyring, parts, own_key, stored, key, err))
        return false;
    body_key_of(key, body_key);
    Slice ad = {stored.at, (size_t)(parts->body.at - stored.at)};
    uint8_t *at = buf_extend(inner, parts->body.len - SEAL_TAG);
    bool done = seal_decrypt(body_key, ad, parts->body, at, err);
    explicit_bzero(key, sizeof key);
    explicit_bzero(body_key, sizeof body_key);
    return done;
}

bool object_unpack(const Keyring *keyring, DiskObject kind, const uint8_t *own_key, Slice stored,
                   Slice *head, Buf *body, Signer *signer, Err *err)
{
    Parts parts;
    Signer unused;
    char label[LABEL];
    static const uint8_t unsigned_mark[SEAL_SIGNATURE];
    scoped(buf_free) Buf inner = {0};
    if (!split(kind, stored, &parts, err) ||
        !open_body(keyring, &parts, own_key, stored, &inner, err))
        return false;
    if (inner.len < 2)
        return damaged(err, "its body is too short");
    size_t certificate_len = (size_t)inner.at[0] | (size_t)inner.at[1] << 8;
    if (certificate_len > inner.len - 2)
        return damaged(err, "its certificate is cut short");
    Slice certificate = {inner.at + 2, certificate_len};
    Slice signed_part = {stored.at, stored.len - (parts.signature == NULL ? 0 : SEAL_SIGNATURE)};
    label_of(kind, label);
    if (!keyring_check(keyring, certificate, label, signed_part,
                       parts.signature == NULL ? unsigned_mark : parts.signature,
                       signer == NULL ? &unused : signer, err))
        return false;
    buf_add(body, inner.at + 2 + certificate_len, inner.len - 2 - certificate_len);
    *head = parts.head;
    return true;
}
