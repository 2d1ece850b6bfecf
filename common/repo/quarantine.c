/* SPDX-License-Identifier: Apache-2.0 */
#include "common/repo/quarantine.h"

#include "common/base/hash.h"
#include "common/base/mem.h"
#include "common/repo/index.h"
#include "common/repo/object.h"
#include "common/repo/repo_internal.h"

/* As much as one ranged read of a store over a network is worth. */
enum { PART = 4 << 20 };

static bool pass(Store *store, const char *name, uint64_t size, StorePut *put, Err *err)
{
    bool good = true;
    uint8_t *part = mem_resize(NULL, size < PART ? (size_t)size + 1 : PART);
    for (uint64_t at = 0; good && at < size; at += PART) {
        size_t len = size - at < PART ? (size_t)(size - at) : PART;
        good = store_get_range(store, name, at, len, part, err) &&
               store_put_write(put, (Slice){part, len}, err);
    }
    mem_free(part);
    return good;
}

static bool put_copy(Store *store, const char *name, const char *place, uint64_t size, Err *err)
{
    StorePut *put = NULL;
    if (!store_put_begin(store, place, &put, err))
        return false;
    if (pass(store, name, size, put, err))
        return store_put_finish(put, err);
    store_put_abort(put);
    return false;
}

/* A copy that a killed run made is whole: a put is all or nothing. */
static bool same(Store *store, const char *name, uint64_t size, const char *place, Err *err)
{
    Sha256 here, there;
    bool found;
    uint64_t copied;
    if (!store_head(store, place, &found, &copied, err))
        return false;
    bool equal = found && copied == size;
    if (equal && (!verify_hash(store, name, size, &here, err) ||
                  !verify_hash(store, place, size, &there, err)))
        return false;
    return (equal && memcmp(&here, &there, sizeof here) == 0) ||
           err_set(err, ERR_CONFLICT, "quarantine.other",
                   "%s holds other bytes than %s: nothing was changed; look at both", place, name);
}

bool quarantine_copy(Store *store, const char *name, const char *place, bool *found, Err *err)
{
    uint64_t size, copied;
    bool already;
    if (!store_head(store, name, found, &size, err) ||
        !store_head(store, place, &already, &copied, err))
        return err_note(err, "looking at %s", name);
    if (!*found)
        return true;
    if (!already) {
        if (put_copy(store, name, place, size, err))
            return true;
        if (strcmp(err->cause, "store.exists") != 0)
            return err_note(err, "laying %s aside", name);
        *err = (Err){0};
    }
    return same(store, name, size, place, err);
}

typedef struct Packs {
    Uuid *objects;
    size_t count, room;
} Packs;

static bool keep(void *ctx, const PackRow *row, Err *err)
{
    Packs *packs = ctx;
    (void)err;
    if (packs->count == packs->room) {
        packs->room = packs->room == 0 ? 16 : packs->room * 2;
        packs->objects = mem_resize(packs->objects, packs->room * sizeof packs->objects[0]);
    }
    packs->objects[packs->count++] = row->object;
    return true;
}

bool quarantine_index(Store *store, const char *name, bool *readable, Uuid **packs, size_t *count,
                      Err *err)
{
    scoped(buf_free) Buf stored = {0};
    Packs kept = {0};
    Slice head;
    *packs = NULL;
    *count = 0;
    bool good = store_get(store, name, DISK_OBJECT_MOST, readable, &stored, err);
    if (!good && err->code != ERR_CORRUPT)
        return false;
    *readable = good && *readable && object_head(DISK_INDEX, buf_slice(&stored), &head, err) &&
                index_read(head, (Slice){0}, keep, &kept, err);
    *err = (Err){0};
    if (*readable) {
        *packs = kept.objects;
        *count = kept.count;
    } else
        mem_free(kept.objects);
    return true;
}
