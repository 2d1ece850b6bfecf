/* SPDX-License-Identifier: Apache-2.0
 * locator.c — places from the index objects of a store: sorted rows, found by halving. Packs that
 * no index names are opened for the tables at their ends when a chunk is found nowhere else. */
#include "common/repo/locator.h"

#include "common/base/mem.h"
#include "common/repo/index.h"
#include "common/repo/pack.h"
#include "common/repo/repo_internal.h"

#include <pthread.h>
#include <stdlib.h>

/* 56 bytes a chunk: a terabyte of 1 MiB chunks takes 56 MiB. */
typedef struct Row {
    ChunkId id;
    uint64_t offset;
    uint32_t pack;
    uint32_t ordinal;
    uint32_t stored;
    uint32_t plain : 23; /* 4 MiB at most */
    uint32_t codec : 8;
    uint32_t in_vain : 1; /* a reader did not find it there */
} Row;

typedef struct IndexLocator {
    RepoLocator locator;
    Repo *repo;
    pthread_mutex_t lock;
    Row *rows;
    size_t count, room;
    PackRow *packs; /* chunks NULL; bytes 0: read from its footer, nothing is known of its sha256 */
    size_t pack_count, pack_room;
    bool footers;  /* were read */
    Uuid *objects; /* index objects read */
    size_t object_count, object_room;
    uint64_t damaged;
} IndexLocator;

static IndexLocator *index_of(RepoLocator *locator)
{
    return (IndexLocator *)locator;
}

static bool take_pack(void *ctx, const PackRow *pack, Err *err)
{
    (void)err;
    IndexLocator *l = ctx;
    if (l->pack_count == l->pack_room) {
        l->pack_room = l->pack_room == 0 ? 64 : l->pack_room * 2;
        l->packs = mem_resize(l->packs, l->pack_room * sizeof l->packs[0]);
    }
    l->packs[l->pack_count] = *pack;
    l->packs[l->pack_count].chunks = NULL;
    l->packs[l->pack_count].pack_no = l->pack_count + 1;
    if (l->count + pack->chunk_count > l->room) {
        l->room = (l->count + pack->chunk_count) * 2;
        l->rows = mem_resize(l->rows, l->room * sizeof l->rows[0]);
    }
    for (size_t i = 0; i < pack->chunk_count; i++) {
        const ChunkRow *c = &pack->chunks[i];
        l->rows[l->count++] = (Row){.id = c->id,
                                    .offset = c->offset,
                                    .pack = (uint32_t)l->pack_count,
                                    .ordinal = c->ordinal,
                                    .stored = c->stored,
                                    .plain = c->plain & 0x7fffff,
                                    .codec = c->codec};
    }
    l->pack_count++;
    return true;
}

static bool was_read(const IndexLocator *l, const Uuid *object)
{
    for (size_t i = 0; i < l->object_count; i++)
        if (uuid_equal(&l->objects[i], object))
            return true;
    return false;
}

/* Is this one object the trouble: damaged, or sealed to other readers than this one? */
static bool only_this(const IndexLocator *l, const Err *err)
{
    return err->code == ERR_CORRUPT || err->code == ERR_INVALID ||
           (strcmp(err->cause, "repo.no_reader") == 0 && keyring_can_read(repo_keyring(l->repo)));
}

/* A damaged index hides the packs it names, no others: it is counted and passed over. */
static bool read_object(void *ctx, const char *name, uint64_t size, Err *err)
{
    (void)size;
    IndexLocator *l = ctx;
    const char *slash = strrchr(name, '/');
    Uuid object;
    if (slash == NULL || !uuid_parse(text_of(slash + 1), &object, err) || was_read(l, &object))
        return true;
    scoped(buf_free) Buf head = {0}, body = {0};
    bool found;
    size_t packs = l->pack_count, rows = l->count;
    Signer signer;
    if (!repo_get(l->repo, DISK_INDEX, name, NULL, &found, &head, &body, NULL, &signer, err) ||
        (found && !index_read(buf_slice(&head), buf_slice(&body), take_pack, l, err))) {
        if (!only_this(l, err))
            return false;
        l->pack_count = packs;
        l->count = rows;
        l->damaged++;
        *err = (Err){0};
    }
    if (l->object_count == l->object_room) {
        l->object_room = l->object_room == 0 ? 64 : l->object_room * 2;
        l->objects = mem_resize(l->objects, l->object_room * sizeof l->objects[0]);
    }
    l->objects[l->object_count++] = object;
    return true;
}

static int compare_uuids(const void *a, const void *b)
{
    return uuid_compare(a, b);
}

/* Packs in the store that no index names. */
typedef struct Strays {
    Uuid *known;
    size_t known_count;
    Uuid *found;
    size_t count, room;
} Strays;

static bool note_stray(void *ctx, const char *name, uint64_t size, Err *err)
{
    (void)size;
    Strays *strays = ctx;
    const char *slash = strrchr(name, '/');
    Uuid object;
    if (slash == NULL || !uuid_parse(text_of(slash + 1), &object, err)) {
        *err = (Err){0};
        return true;
    }
    if (strays->known_count > 0 &&
        bsearch(&object, strays->known, strays->known_count, sizeof object, compare_uuids) != NULL)
        return true;
    if (strays->count == strays->room) {
        strays->room = strays->room == 0 ? 64 : strays->room * 2;
        strays->found = mem_resize(strays->found, strays->room * sizeof strays->found[0]);
    }
    strays->found[strays->count++] = object;
    return true;
}

static void strays_free(Strays *strays)
{
    mem_free(strays->known);
    mem_free(strays->found);
}

static bool find_strays(IndexLocator *l, Strays *strays, Err *err)
{
    *strays = (Strays){.known = mem_array(Uuid, l->pack_count)};
    for (size_t i = 0; i < l->pack_count; i++)
        if (l->packs[i].bytes > 0)
            strays->known[strays->known_count++] = l->packs[i].object;
    if (strays->known_count > 0)
        qsort(strays->known, strays->known_count, sizeof strays->known[0], compare_uuids);
    return store_list(repo_store(l->repo), "packs/", note_stray, strays, err) ||
           err_note(err, "looking for packs that no index names");
}

/* A pack that does not open hides what is in it, nothing else: it may be of an attempt that died.
 */
static bool read_footer(IndexLocator *l, const Uuid *object, Err *err)
{
    PackReader *reader = NULL;
    ChunkRow *rows = NULL;
    size_t count = 0;
    PackRow row = {.object = *object};
    bool good = pack_open(&reader, repo_keyring(l->repo), repo_store(l->repo), object, NULL, err) &&
                pack_table(reader, &rows, &count, err);
    if (good) {
        row.pack = pack_id(reader);
        row.kind = pack_kind(reader);
        row.chunks = rows;
        row.chunk_count = count;
        good = take_pack(l, &row, err);
    }
    mem_free(rows);
    pack_close(reader);
    if (good || !only_this(l, err))
        return good;
    *err = (Err){0};
    return true;
}

static int compare_rows(const void *a, const void *b)
{
    const Row *left = a, *right = b;
    int order = memcmp(&left->id, &right->id, sizeof left->id);
    /* Of several places the newest pack's comes first. */
    return order != 0 ? order : (left->pack < right->pack) - (left->pack > right->pack);
}

static bool load(IndexLocator *l, Err *err)
{
    if (!store_list(repo_store(l->repo), "index/", read_object, l, err))
        return err_note(err, "reading the index");
    if (l->count > 0)
        qsort(l->rows, l->count, sizeof l->rows[0], compare_rows);
    return true;
}

/* Once: a chunk that is nowhere then is lost. */
static bool load_footers(IndexLocator *l, Err *err)
{
    Strays strays;
    if (l->footers)
        return true;
    bool good = find_strays(l, &strays, err);
    for (size_t i = 0; good && i < strays.count; i++)
        good = read_footer(l, &strays.found[i], err);
    strays_free(&strays);
    if (l->count > 0)
        qsort(l->rows, l->count, sizeof l->rows[0], compare_rows);
    l->footers = good;
    return good;
}

static size_t first_of(const IndexLocator *l, const ChunkId *id)
{
    size_t low = 0, high = l->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (memcmp(&l->rows[middle].id, id, sizeof *id) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static ChunkPlace place_of(const IndexLocator *l, const Row *row)
{
    const PackRow *pack = &l->packs[row->pack];
    return (ChunkPlace){true,
                        pack->pack_no,
                        pack->object,
                        pack->pack,
                        {.id = row->id,
                         .ordinal = row->ordinal,
                         .codec = row->codec,
                         .offset = row->offset,
                         .stored = row->stored,
                         .plain = row->plain}};
}

static void find_one(const IndexLocator *l, const ChunkId *id, ChunkPlace *place)
{
    memset(place, 0, sizeof *place);
    for (size_t i = first_of(l, id); i < l->count; i++) {
        if (memcmp(&l->rows[i].id, id, sizeof *id) != 0)
            return;
        if (l->rows[i].in_vain)
            continue;
        *place = place_of(l, &l->rows[i]);
        return;
    }
}

/* Where readers were in vain too: damage has a name then, and is tried again. */
static void find_any(const IndexLocator *l, const ChunkId *id, ChunkPlace *place)
{
    size_t first = first_of(l, id);
    find_one(l, id, place);
    if (!place->found && first < l->count && memcmp(&l->rows[first].id, id, sizeof *id) == 0)
        *place = place_of(l, &l->rows[first]);
}

/* The index of a session names all its packs as long as one is there: many may be gone. */
static void was_in_vain(IndexLocator *l, const ChunkId *id, const Uuid *object)
{
    for (size_t i = first_of(l, id); i < l->count; i++) {
        if (memcmp(&l->rows[i].id, id, sizeof *id) != 0)
            return;
        if (uuid_equal(&l->packs[l->rows[i].pack].object, object))
            l->rows[i].in_vain = true;
    }
}

static bool index_find(RepoLocator *locator, const ChunkId *ids, size_t count, ChunkPlace *places,
                       Err *err)
{
    IndexLocator *l = index_of(locator);
    bool good = true;
    pthread_mutex_lock(&l->lock);
    for (size_t i = 0; good && i < count; i++) {
        find_any(l, &ids[i], &places[i]);
        if (places[i].found || l->footers)
            continue;
        good = load_footers(l, err);
        if (good)
            find_one(l, &ids[i], &places[i]);
    }
    pthread_mutex_unlock(&l->lock);
    return good;
}

/* A repack may have moved the chunk since the index was read. */
static bool index_again(RepoLocator *locator, const Uuid *object, const ChunkId *id,
                        ChunkPlace *place, Err *err)
{
    IndexLocator *l = index_of(locator);
    pthread_mutex_lock(&l->lock);
    was_in_vain(l, id, object);
    find_one(l, id, place);
    bool good = place->found || load(l, err);
    if (good && !place->found)
        find_one(l, id, place);
    if (good && !place->found && !l->footers) {
        good = load_footers(l, err);
        if (good)
            find_one(l, id, place);
    }
    pthread_mutex_unlock(&l->lock);
    return good;
}

static void index_close(RepoLocator *locator)
{
    IndexLocator *l = index_of(locator);
    pthread_mutex_destroy(&l->lock);
    mem_free(l->rows);
    mem_free(l->packs);
    mem_free(l->objects);
    mem_free(l);
}

static const RepoLocatorOps INDEX_OPS = {index_find, index_again, index_close};

bool locator_open_index(RepoLocator **out, Repo *repo, uint64_t *damaged, Err *err)
{
    IndexLocator *l = mem_new(IndexLocator);
    l->locator.ops = &INDEX_OPS;
    l->repo = repo;
    pthread_mutex_init(&l->lock, NULL);
    if (!load(l, err)) {
        index_close(&l->locator);
        return false;
    }
    if (damaged != NULL)
        *damaged = l->damaged;
    *out = &l->locator;
    return true;
}

bool locator_packs(RepoLocator *locator, PackVisit *visit, void *ctx, Err *err)
{
    IndexLocator *l = index_of(locator);
    for (size_t i = 0; i < l->pack_count; i++)
        if (l->packs[i].bytes > 0 && !visit(ctx, &l->packs[i], err))
            return false;
    return true;
}

bool locator_strays(RepoLocator *locator, uint64_t *count, Err *err)
{
    Strays strays;
    bool good = find_strays(index_of(locator), &strays, err);
    *count = strays.count;
    strays_free(&strays);
    return good;
}

void locator_close(RepoLocator *locator)
{
    if (locator != NULL)
        locator->ops->close(locator);
}
