/* SPDX-License-Identifier: Apache-2.0 */
#include "common/repo/repo_copy.h"

#include "common/base/hash.h"
#include "common/base/mem.h"
#include "common/repo/pack.h"
#include "common/repo/repo_internal.h"
#include "common/repo/wrap.h"

enum {
    /* As much as one ranged read of a store over a network is worth; one buffer a copy. */
    PART = 4 << 20,
};

/* ERR_CORRUPT and ERR_MISSING speak of the object; anything else of the way to it. */
static bool about_object(const Err *err)
{
    return err->code == ERR_CORRUPT || err->code == ERR_MISSING;
}

static bool differs(Err *why, const char *name)
{
    err_set(why, ERR_CORRUPT, "repo.pack_hash",
            "%s does not hold the bytes that were written: take another copy of the backup", name);
    return true;
}

/* *whole stays false when the object itself is at fault. */
static bool pass_all(Store *from, const char *name, const PackRow *row, StorePut *put,
                     const RepoCopyWatch *watch, bool *whole, Err *why, Err *err)
{
    Sha256 sha256;
    bool good = true;
    uint8_t *part = mem_resize(NULL, row->bytes < PART ? (size_t)row->bytes : PART);
    HashSha256 *hash = hash_sha256_new();
    for (uint64_t at = 0; good && at < row->bytes; at += PART) {
        size_t len = row->bytes - at < PART ? (size_t)(row->bytes - at) : PART;
        if (!store_get_range(from, name, at, len, part, why)) {
            good = about_object(why);
            if (!good)
                *err = *why;
            goto done;
        }
        hash_sha256_add(hash, (Slice){part, len});
        good = store_put_write(put, (Slice){part, len}, err) && watch->passed(watch->ctx, len, err);
    }
    hash_sha256_end(hash, &sha256);
    *whole = good && memcmp(&sha256, &row->sha256, sizeof sha256) == 0;
    if (good && !*whole)
        good = differs(why, name);
done:
    hash_sha256_free(hash);
    mem_free(part);
    return good;
}

bool repo_copy_pack(Store *from, Store *to, const PackRow *row, const Uuid *object,
                    const RepoCopyWatch *watch, bool *whole, Err *why, Err *err)
{
    char source[PACK_NAME], name[PACK_NAME];
    StorePut *put = NULL;
    pack_name(&row->object, source);
    pack_name(object, name);
    *whole = false;
    if (!store_put_begin(to, name, &put, err))
        return err_note(err, "starting %s", name);
    bool good = pass_all(from, source, row, put, watch, whole, why, err);
    if (good && *whole)
        return store_put_finish(put, err);
    store_put_abort(put);
    return good;
}

static bool is_same(Store *to, const char *name, const Sha256 *sha256, Err *err)
{
    Sha256 there;
    bool found = false;
    scoped(buf_free) Buf bytes = {0};
    if (!store_get(to, name, DISK_OBJECT_MOST, &found, &bytes, err))
        return false;
    if (found && !wrap_sha256(buf_slice(&bytes), &there, err))
        return err_note(err, "%s", name);
    return (found && memcmp(&there, sha256, sizeof there) == 0) ||
           err_set(err, ERR_CONFLICT, "copy.other_manifest",
                   "%s is taken by another manifest: two repositories share this place", name);
}

bool repo_copy_manifest(Store *from, Store *to, const Uuid *backup, const Sha256 *sha256,
                        bool *whole, Err *why, Err *err)
{
    char name[REPO_NAME];
    Sha256 read;
    bool found = false;
    scoped(buf_free) Buf bytes = {0};
    repo_name("manifests", backup, name);
    *whole = false;
    if (!store_get(from, name, DISK_OBJECT_MOST, &found, &bytes, err))
        return err_note(err, "reading %s", name);
    if (!found)
        return err_set(why, ERR_MISSING, "repo.no_manifest", "%s is not in the store", name), true;
    if (!wrap_sha256(buf_slice(&bytes), &read, why))
        return true;
    if (memcmp(&read, sha256, sizeof read) != 0)
        return differs(why, name);
    *whole = true;
    if (store_put(to, name, buf_slice(&bytes), err))
        return true;
    if (err->code != ERR_CONFLICT)
        return err_note(err, "storing %s", name);
    *err = (Err){0};
    return is_same(to, name, sha256, err);
}
