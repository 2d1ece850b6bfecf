/* SPDX-License-Identifier: Apache-2.0 */
#include "common/codec/keyset.h"

#include "common/base/rand.h"

/* The kit's reader, by the name that slots use. */
static void reader_of(const Kit *kit, uint8_t id[16])
{
    uint8_t reader[SEAL_PUBLIC];
    seal_public_of(kit->reader_secret, reader);
    keyfile_reader_id(reader, id);
}

static bool find_reader(const KeysRecord *keys, const uint8_t id[16], unsigned *at, Err *err)
{
    for (unsigned i = 0; i < keys->reader_count; i++) {
        uint8_t one[16];
        keyfile_reader_id(keys->readers[i], one);
        if (memcmp(one, id, sizeof one) == 0) {
            *at = i;
            return true;
        }
    }
    return err_set(err, ERR_CONFLICT, "key.retired",
                   "the reader of this recovery kit is none of %s.keys: it was retired; use the "
                   "newest kit",
                   keys->set);
}

bool keyset_id_secret(const KeysRecord *keys, const Kit *kit, uint8_t out[SEAL_KEY], Err *err)
{
    uint8_t id[16];
    unsigned at = 0;
    reader_of(kit, id);
    return find_reader(keys, id, &at, err) &&
           seal_unbox(kit->reader_secret, keys->boxes[at], out, err);
}

static void hand_down(KeysRecord *keys, const uint8_t id[16], const uint8_t secret[SEAL_SECRET],
                      const uint8_t to[SEAL_PUBLIC])
{
    OlderReader *row = &keys->older[keys->older_count++];
    memcpy(row->id, id, sizeof row->id);
    keyfile_reader_id(to, row->to);
    seal_box(to, secret, row->box);
}

/* What the old reader has of those before it, to the new one; rows beyond `count` are new. */
static bool hand_down_older(KeysRecord *keys, const Kit *old, const uint8_t old_id[16],
                            const uint8_t to[SEAL_PUBLIC], Err *err)
{
    unsigned count = keys->older_count;
    bool done = true;
    for (unsigned i = 0; done && i < count; i++) {
        uint8_t secret[SEAL_KEY];
        if (memcmp(keys->older[i].to, old_id, sizeof keys->older[i].to) != 0)
            continue;
        done = seal_unbox(old->reader_secret, keys->older[i].box, secret, err);
        if (done)
            hand_down(keys, keys->older[i].id, secret, to);
        explicit_bzero(secret, sizeof secret);
    }
    return done;
}

static unsigned held_by(const KeysRecord *keys, const uint8_t id[16])
{
    unsigned count = 0;
    for (unsigned i = 0; i < keys->older_count; i++)
        count += memcmp(keys->older[i].to, id, sizeof keys->older[i].to) == 0;
    return count;
}

bool keyset_rotate(KeysRecord *keys, Kit *kit, Err *err)
{
    Kit fresh = *kit;
    uint8_t id_secret[SEAL_KEY];
    uint8_t reader[SEAL_PUBLIC];
    uint8_t old_id[16];
    reader_of(kit, old_id);
    if (!keyset_id_secret(keys, kit, id_secret, err))
        return false;
    if (keys->reader_count == DISK_READERS_MOST ||
        keys->older_count + held_by(keys, old_id) + 1 > DISK_OLDER_MOST)
        return err_set(err, ERR_FULL, "key.readers",
                       "%s has %u readers and %u secrets of before: retire the old readers first",
                       keys->set, keys->reader_count, keys->older_count);
    rand_bytes(fresh.reader_secret, sizeof fresh.reader_secret);
    seal_public_of(fresh.reader_secret, reader);
    bool done = hand_down_older(keys, kit, old_id, reader, err);
    if (done) {
        hand_down(keys, old_id, kit->reader_secret, reader);
        memmove(keys->readers[1], keys->readers[0], (size_t)keys->reader_count * SEAL_PUBLIC);
        memmove(keys->boxes[1], keys->boxes[0], (size_t)keys->reader_count * SEAL_BOX);
        memcpy(keys->readers[0], reader, sizeof reader);
        seal_box(reader, id_secret, keys->boxes[0]);
        keys->reader_count++;
        keys->generation++;
        *kit = fresh;
    }
    explicit_bzero(&fresh, sizeof fresh);
    explicit_bzero(id_secret, sizeof id_secret);
    return done;
}

static bool has_secret(const KeysRecord *keys, const uint8_t id[16], const uint8_t to[16])
{
    for (unsigned i = 0; i < keys->older_count; i++)
        if (memcmp(keys->older[i].id, id, 16) == 0 && memcmp(keys->older[i].to, to, 16) == 0)
            return true;
    return false;
}

bool keyset_retire(KeysRecord *keys, const Kit *kit, Err *err)
{
    uint8_t own[16];
    unsigned at = 0;
    reader_of(kit, own);
    if (!find_reader(keys, own, &at, err))
        return false;
    if (keys->reader_count == 1)
        return err_set(err, ERR_CONFLICT, "key.nothing",
                       "the kit's reader is the only one of %s: rotate first", keys->set);
    for (unsigned i = 0; i < keys->reader_count; i++) {
        uint8_t one[16];
        keyfile_reader_id(keys->readers[i], one);
        if (i != at && !has_secret(keys, one, own))
            return err_set(err, ERR_CONFLICT, "key.kit",
                           "the reader of this kit lacks the secret of a reader that it would "
                           "retire: use the newest kit");
    }
    memmove(keys->readers[0], keys->readers[at], SEAL_PUBLIC);
    memmove(keys->boxes[0], keys->boxes[at], SEAL_BOX);
    keys->reader_count = 1;
    unsigned left = 0;
    for (unsigned i = 0; i < keys->older_count; i++)
        if (memcmp(keys->older[i].to, own, sizeof own) == 0)
            keys->older[left++] = keys->older[i];
    keys->older_count = left;
    keys->least_writer = ++keys->generation;
    return true;
}

bool keyset_revoke(KeysRecord *keys, const char *host, const Sha256 *kept, uint64_t now_s, Err *err)
{
    unsigned at = 0;
    while (at < keys->revoked_count && strcmp(keys->revoked[at].host, host) != 0)
        at++;
    if (at == DISK_REVOKED_MOST)
        return err_set(err, ERR_FULL, "key.revoked_most", "%s has %d revoked hosts already",
                       keys->set, DISK_REVOKED_MOST);
    RevokedHost *row = &keys->revoked[at];
    if (strlen(host) >= sizeof row->host)
        return err_set(err, ERR_USAGE, "key.name", "the host's name is too long");
    if (at == keys->revoked_count)
        keys->revoked_count++;
    *row = (RevokedHost){.before = ++keys->generation, .kept = *kept, .at_s = now_s};
    memcpy(row->host, host, strlen(host));
    return true;
}
