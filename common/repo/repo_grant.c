/* SPDX-License-Identifier: Apache-2.0 */
#include "common/repo/repo_grant.h"

#include "common/base/mem.h"
#include "common/repo/object.h"
#include "common/repo/pack.h"
#include "common/repo/repo_internal.h"
#include "common/repo/wrap.h"

#include <stdlib.h>

enum { BATCH = 1000 };

typedef struct Wanted {
    ChunkId *ids;
    size_t count, room;
    ChunkPlace *places;
} Wanted;

static bool want(void *ctx, const ChunkId *id, bool meta, Err *err)
{
    Wanted *wanted = ctx;
    (void)meta;
    if (wanted->count == GRANT_MOST / GRANT_ROW)
        return err_set(err, ERR_FULL, "grant.large",
                       "the backup has more chunks than one grant holds: restore it on a host with "
                       "a reader key");
    if (wanted->count == wanted->room) {
        wanted->room = wanted->room == 0 ? BATCH : wanted->room * 2;
        wanted->ids = mem_resize(wanted->ids, wanted->room * sizeof wanted->ids[0]);
    }
    wanted->ids[wanted->count++] = *id;
    return true;
}

static int compare_ids(const void *a, const void *b)
{
    return memcmp(a, b, sizeof(ChunkId));
}

static int compare_packs(const void *a, const void *b)
{
    const ChunkPlace *left = a, *right = b;
    return uuid_compare(&left->object, &right->object);
}

static bool find(Wanted *wanted, RepoLocator *locator, Err *err)
{
    if (wanted->count > 0)
        qsort(wanted->ids, wanted->count, sizeof wanted->ids[0], compare_ids);
    wanted->places = mem_array(ChunkPlace, wanted->count);
    for (size_t at = 0; at < wanted->count; at += BATCH) {
        size_t count = wanted->count - at < BATCH ? wanted->count - at : BATCH;
        if (!locator->ops->find(locator, wanted->ids + at, count, wanted->places + at, err))
            return false;
        for (size_t i = at; i < at + count; i++)
            if (!wanted->places[i].found)
                return err_set(err, ERR_CORRUPT, "repo.lost_chunk",
                               "a chunk of the backup is nowhere: verify it before it is granted");
    }
    if (wanted->count > 0)
        qsort(wanted->places, wanted->count, sizeof wanted->places[0], compare_packs);
    return true;
}

static bool add_pack(Repo *repo, const ChunkPlace *places, size_t count, GrantWriter *out, Err *err)
{
    PackReader *pack = NULL;
    uint8_t key[SEAL_KEY];
    if (!pack_open(&pack, repo_keyring(repo), repo_store(repo), &places[0].object, &places[0].pack,
                   err))
        return false;
    for (size_t i = 0; i < count; i++) {
        pack_chunk_key(pack, &places[i].chunk, key);
        grant_add_chunk(out, &places[i].pack, places[i].chunk.ordinal, key);
    }
    explicit_bzero(key, sizeof key);
    pack_close(pack);
    return true;
}

static bool add_manifest(Repo *repo, const Uuid *backup, GrantWriter *out, Err *err)
{
    scoped(buf_free) Buf stored = {0};
    char name[REPO_NAME];
    uint8_t key[SEAL_KEY];
    bool found;
    Slice slots;
    repo_name("manifests", backup, name);
    if (!store_get(repo_store(repo), name, DISK_OBJECT_MOST, &found, &stored, err))
        return false;
    if (!found)
        return err_set(err, ERR_MISSING, "repo.no_manifest", "the store has no %s", name);
    if (wrap_is(buf_slice(&stored))) {
        if (!wrap_key(repo_keyring(repo), buf_slice(&stored), &slots, key, err))
            return err_note(err, "%s", name);
        grant_add_object(out, slots, key);
        if (!wrap_strip(repo_keyring(repo), &stored, err))
            return err_note(err, "%s", name);
    }
    if (!object_key(repo_keyring(repo), DISK_MANIFEST, buf_slice(&stored), &slots, key, err))
        return err_note(err, "%s", name);
    grant_add_object(out, slots, key);
    explicit_bzero(key, sizeof key);
    return true;
}

bool repo_grant(Repo *repo, RepoLocator *locator, RepoReader *reader, const Uuid *backup,
                GrantWriter *out, bool (*go_on)(void *ctx, Err *err), void *ctx, Err *err)
{
    Wanted wanted = {0};
    bool fine = add_manifest(repo, backup, out, err) && reader_chunks(reader, want, &wanted, err) &&
                find(&wanted, locator, err);
    for (size_t at = 0, end; fine && at < wanted.count; at = end) {
        for (end = at; end < wanted.count &&
                       uuid_equal(&wanted.places[end].object, &wanted.places[at].object);)
            end++;
        fine = go_on(ctx, err) && add_pack(repo, wanted.places + at, end - at, out, err);
    }
    mem_free(wanted.ids);
    mem_free(wanted.places);
    return fine;
}
