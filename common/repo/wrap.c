/* SPDX-License-Identifier: Apache-2.0 */
#include "common/repo/wrap.h"

#include "common/base/hash.h"
#include "common/base/rand.h"
#include "protocol/bytes.h"
#include "protocol/disk.h"

#include <string.h>

enum {
    AT_SLOTS = DISK_HEAD + 1,
    AT_SET = DISK_HEAD + 2,
    AT_SHA256 = AT_SET + 16,
    FIXED = AT_SHA256 + 32,
    COMMITMENT = 32,
    END = 32, /* sha256 of all before it */
};

typedef struct Parts {
    Slice slots;
    const uint8_t *commitment;
    Slice head, sealed; /* head: everything before sealed */
} Parts;

bool wrap_is(Slice stored)
{
    return stored.len >= DISK_MAGIC && memcmp(stored.at, disk_magic(DISK_WRAPPED), DISK_MAGIC) == 0;
}

static bool damaged(Err *err, const char *what)
{
    return err_set(err, ERR_CORRUPT, "repo.damaged", "a wrapped object is damaged: %s", what);
}

static void key_of(const uint8_t key[SEAL_KEY], uint8_t out[SEAL_KEY])
{
    static const char label[] = "holdfast wrapped object";
    seal_derive(key, (Slice){(const uint8_t *)label, sizeof label - 1}, out);
}

static bool split(Slice stored, Parts *parts, Err *err)
{
    uint8_t algorithm;
    Sha256 sum;
    if (!disk_check(stored, DISK_WRAPPED, &algorithm, err))
        return false;
    if (stored.len < FIXED + COMMITMENT + SEAL_TAG + END || algorithm != DISK_SEALED ||
        stored.at[AT_SLOTS] > DISK_READERS_MOST)
        return damaged(err, "its head");
    size_t slots = (size_t)stored.at[AT_SLOTS] * DISK_SLOT;
    size_t head = FIXED + slots + COMMITMENT;
    if (stored.len < head + SEAL_TAG + END)
        return damaged(err, "it is cut short");
    hash_sha256((Slice){stored.at, stored.len - END}, &sum);
    if (memcmp(sum.bytes, stored.at + stored.len - END, END) != 0)
        return damaged(err, "its bytes are not those that were written");
    parts->slots = (Slice){stored.at + FIXED, slots};
    parts->commitment = stored.at + FIXED + slots;
    parts->head = (Slice){stored.at, head};
    parts->sealed = (Slice){stored.at + head, stored.len - head - END};
    return true;
}

bool wrap_pack(const Keyring *keyring, Slice inner, Buf *out, Err *err)
{
    uint8_t key[SEAL_KEY], own[SEAL_KEY];
    Sha256 sum;
    size_t start = out->len;
    Uuid set = keyring_set_id(keyring);
    if (keyring_plain(keyring))
        return err_set(err, ERR_USAGE, "key.plain", "the repository is not encrypted");
    if (!keyring_may_seal(keyring, err))
        return false;
    buf_add(out, disk_magic(DISK_WRAPPED), DISK_MAGIC);
    buf_add_byte(out, disk_version(DISK_WRAPPED));
    buf_add_byte(out, DISK_SEALED);
    buf_add_byte(out, 0);
    buf_add_byte(out, (uint8_t)keyring_slots(keyring));
    buf_add(out, set.bytes, sizeof set.bytes);
    hash_sha256(inner, &sum);
    buf_add(out, sum.bytes, sizeof sum.bytes);
    rand_bytes(key, sizeof key);
    keyring_seal(keyring, key, out);
    hash_hmac_sha256((Slice){key, SEAL_KEY}, (Slice){out->at + start, out->len - start}, &sum);
    buf_add(out, sum.bytes, sizeof sum.bytes);
    key_of(key, own);
    size_t head = out->len - start;
    uint8_t *at = buf_extend(out, inner.len + SEAL_TAG);
    seal_encrypt(own, (Slice){out->at + start, head}, inner, at);
    hash_sha256((Slice){out->at + start, out->len - start}, &sum);
    buf_add(out, sum.bytes, sizeof sum.bytes);
    explicit_bzero(key, sizeof key);
    explicit_bzero(own, sizeof own);
    return true;
}

static bool open_key(const Keyring *keyring, Slice stored, const Parts *parts,
                     uint8_t key[SEAL_KEY], Err *err)
{
    Sha256 commitment;
    Uuid set = keyring_set_id(keyring);
    if (memcmp(stored.at + AT_SET, set.bytes, sizeof set.bytes) != 0)
        return err_set(err, ERR_CORRUPT, "repo.key_mismatch",
                       "a wrapped object belongs to another key set than %s", keyring_set(keyring));
    if (!keyring_unseal(keyring, parts->slots, key, err))
        return false;
    hash_hmac_sha256((Slice){key, SEAL_KEY}, (Slice){stored.at, parts->head.len - COMMITMENT},
                     &commitment);
    return hash_equal(commitment.bytes, parts->commitment, COMMITMENT) ||
           damaged(err, "its key is not the one it commits to");
}

bool wrap_open(const Keyring *keyring, Slice stored, Buf *inner, Err *err)
{
    Parts parts;
    uint8_t key[SEAL_KEY], own[SEAL_KEY];
    Sha256 sum;
    if (!split(stored, &parts, err) || !open_key(keyring, stored, &parts, key, err))
        return false;
    key_of(key, own);
    size_t from = inner->len, len = parts.sealed.len - SEAL_TAG;
    bool good = seal_decrypt(own, parts.head, parts.sealed, buf_extend(inner, len), err);
    explicit_bzero(key, sizeof key);
    explicit_bzero(own, sizeof own);
    if (!good)
        return false;
    hash_sha256((Slice){inner->at + from, len}, &sum);
    return memcmp(sum.bytes, stored.at + AT_SHA256, sizeof sum.bytes) == 0 ||
           damaged(err, "it holds another object than it says");
}

bool wrap_strip(const Keyring *keyring, Buf *stored, Err *err)
{
    Buf inner = {0};
    if (!wrap_is(buf_slice(stored)))
        return true;
    bool good = wrap_open(keyring, buf_slice(stored), &inner, err);
    buf_free(stored);
    *stored = inner;
    return good;
}

bool wrap_sha256(Slice stored, Sha256 *out, Err *err)
{
    Parts parts;
    if (!wrap_is(stored)) {
        hash_sha256(stored, out);
        return true;
    }
    if (!split(stored, &parts, err))
        return false;
    memcpy(out->bytes, stored.at + AT_SHA256, sizeof out->bytes);
    return true;
}

bool wrap_key(const Keyring *keyring, Slice stored, Slice *slots, uint8_t key[SEAL_KEY], Err *err)
{
    Parts parts;
    if (!split(stored, &parts, err))
        return false;
    *slots = parts.slots;
    return open_key(keyring, stored, &parts, key, err);
}
