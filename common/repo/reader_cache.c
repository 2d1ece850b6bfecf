/* SPDX-License-Identifier: Apache-2.0
 * reader_cache.c — chunks on their way out of packs: places, open packs, decoded content.
 * Threads that want the same chunk wait for the one that opens it, so a bundle of small files is
 * decoded once however many lanes restore them. */
#include "common/base/mem.h"
#include "common/base/wait.h"
#include "common/repo/chunker.h"
#include "common/repo/reader_internal.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

enum {
    BUCKETS = 4096,
    PLACES_MAX = 32768, /* about 5 MiB of places; then they are forgotten and asked again */
    PACKS_OPEN = 64,    /* each is a header and a key */
    BENCHES = 16,       /* decoders kept for threads to come */
    OTHERS = 8,         /* places beside its own that are ever asked */
    TRIES = 64,         /* places of one chunk */
};

typedef struct OpenedPack {
    PackReader *reader;
    Uuid object;
    unsigned holders;
    uint64_t used; /* tick of the last use */
} OpenedPack;

typedef struct Bench {
    CodecWork *work;
    Buf scratch;
} Bench;

struct ReaderCache {
    Repo *repo;
    RepoLocator *locator;
    size_t limit, bytes; /* of decoded content, held or not */
    pthread_mutex_t lock;
    pthread_cond_t loaded;
    Decoded *buckets[BUCKETS];
    Decoded *oldest, *newest; /* not held by anybody */
    IdMap known;              /* index into places */
    ChunkPlace *places;
    uint32_t places_room;
    OpenedPack packs[PACKS_OPEN];
    uint64_t tick;
    Bench *benches[BENCHES];
    unsigned bench_count;
    const ReaderElsewhere *elsewhere;
    ReaderCache *others[OTHERS]; /* of its places, made when they are first needed */
    pthread_mutex_t turning;     /* of the list above */
    atomic_bool away;            /* the store itself failed: the others are asked first */
};

ReaderCache *reader_cache_new(Repo *repo, RepoLocator *locator, size_t bytes)
{
    ReaderCache *cache = mem_new(ReaderCache);
    cache->repo = repo;
    cache->locator = locator;
    cache->limit = bytes;
    pthread_mutex_init(&cache->lock, NULL);
    pthread_cond_init(&cache->loaded, NULL);
    pthread_mutex_init(&cache->turning, NULL);
    return cache;
}

void reader_cache_elsewhere(ReaderCache *cache, const ReaderElsewhere *elsewhere)
{
    cache->elsewhere = elsewhere;
}

static Decoded **bucket_of(ReaderCache *cache, const ChunkId *id)
{
    return &cache->buckets[(id->bytes[8] | id->bytes[9] << 8) % BUCKETS];
}

static Decoded *find(ReaderCache *cache, const ChunkId *id)
{
    Decoded *d = *bucket_of(cache, id);
    while (d != NULL && memcmp(&d->id, id, sizeof *id) != 0)
        d = d->next;
    return d;
}

static void unlink_idle(ReaderCache *cache, Decoded *d)
{
    *(d->older != NULL ? &d->older->newer : &cache->oldest) = d->newer;
    *(d->newer != NULL ? &d->newer->older : &cache->newest) = d->older;
    d->older = d->newer = NULL;
}

static void link_idle(ReaderCache *cache, Decoded *d)
{
    d->older = cache->newest;
    *(cache->newest != NULL ? &cache->newest->newer : &cache->oldest) = d;
    cache->newest = d;
}

static void forget(ReaderCache *cache, Decoded *d)
{
    Decoded **at = bucket_of(cache, &d->id);
    while (*at != d)
        at = &(*at)->next;
    *at = d->next;
    cache->bytes -= d->len;
    mem_free(d->at);
    mem_free(d);
}

static void make_room(ReaderCache *cache)
{
    while (cache->bytes > cache->limit && cache->oldest != NULL) {
        Decoded *d = cache->oldest;
        unlink_idle(cache, d);
        forget(cache, d);
    }
}

static int compare_ids(const void *a, const void *b)
{
    return memcmp(a, b, sizeof(ChunkId));
}

/* Caller holds the lock. */
static void note_place(ReaderCache *cache, const ChunkId *id, const ChunkPlace *place)
{
    if (cache->known.count >= PLACES_MAX)
        idmap_free(&cache->known);
    uint32_t at = idmap_add(&cache->known, id, NULL);
    if (at >= cache->places_room) {
        cache->places_room = cache->places_room == 0 ? 256 : cache->places_room * 2;
        cache->places = mem_resize(cache->places, cache->places_room * sizeof cache->places[0]);
    }
    cache->places[at] = *place;
}

/* Those not known yet, sorted, each once. */
static size_t unknown_ids(ReaderCache *cache, const ChunkId *ids, size_t count, ChunkId *out)
{
    size_t kept = 0, unique = 0;
    pthread_mutex_lock(&cache->lock);
    for (size_t i = 0; i < count; i++)
        if (idmap_find(&cache->known, &ids[i]) == IDMAP_NONE && find(cache, &ids[i]) == NULL)
            out[kept++] = ids[i];
    pthread_mutex_unlock(&cache->lock);
    if (kept > 0)
        qsort(out, kept, sizeof out[0], compare_ids);
    for (size_t i = 0; i < kept; i++)
        if (i == 0 || memcmp(&out[i], &out[unique - 1], sizeof out[0]) != 0)
            out[unique++] = out[i];
    return unique;
}

bool reader_locate(ReaderCache *cache, const ChunkId *ids, size_t count, Err *err)
{
    ChunkId *asked = mem_array(ChunkId, count);
    size_t unknown = unknown_ids(cache, ids, count, asked);
    ChunkPlace *places = mem_array(ChunkPlace, unknown);
    bool good =
        unknown == 0 || cache->locator->ops->find(cache->locator, asked, unknown, places, err);
    pthread_mutex_lock(&cache->lock);
    for (size_t i = 0; good && i < unknown; i++)
        note_place(cache, &asked[i], &places[i]);
    pthread_mutex_unlock(&cache->lock);
    mem_free(asked);
    mem_free(places);
    return good || err_note(err, "locating chunks");
}

bool reader_place(ReaderCache *cache, const ChunkId *id, ChunkPlace *place, Err *err)
{
    for (unsigned round = 0; round < 2; round++) {
        pthread_mutex_lock(&cache->lock);
        uint32_t at = idmap_find(&cache->known, id);
        if (at != IDMAP_NONE)
            *place = cache->places[at];
        pthread_mutex_unlock(&cache->lock);
        if (at != IDMAP_NONE)
            return true;
        if (!cache->locator->ops->find(cache->locator, id, 1, place, err))
            return err_note(err, "locating a chunk");
        pthread_mutex_lock(&cache->lock);
        note_place(cache, id, place);
        pthread_mutex_unlock(&cache->lock);
    }
    return true;
}

/* A slot for the pack: its own when it is open, else the one used longest ago that nobody holds.
 * NULL: all are held. Caller holds the lock. */
static OpenedPack *pack_slot(ReaderCache *cache, const Uuid *object, bool *opened)
{
    OpenedPack *best = NULL;
    for (unsigned i = 0; i < PACKS_OPEN; i++) {
        OpenedPack *pack = &cache->packs[i];
        *opened = pack->reader != NULL && uuid_equal(&pack->object, object);
        if (*opened)
            return pack;
        if (pack->holders == 0 && (best == NULL || pack->used < best->used))
            best = pack;
    }
    return best;
}

/* Several threads may open the same pack at once; the second's work is thrown away. */
static bool take_pack(ReaderCache *cache, const ChunkPlace *place, OpenedPack **slot,
                      PackReader **reader, Err *err)
{
    bool opened;
    pthread_mutex_lock(&cache->lock);
    *slot = pack_slot(cache, &place->object, &opened);
    if (opened) {
        (*slot)->holders++;
        (*slot)->used = ++cache->tick;
        *reader = (*slot)->reader;
    }
    pthread_mutex_unlock(&cache->lock);
    if (opened)
        return true;
    if (!pack_open(reader, repo_keyring(cache->repo), repo_store(cache->repo), &place->object,
                   &place->pack, err))
        return false;
    pthread_mutex_lock(&cache->lock);
    *slot = pack_slot(cache, &place->object, &opened);
    if (*slot != NULL && !opened) {
        pack_close((*slot)->reader);
        **slot = (OpenedPack){.reader = *reader, .object = place->object};
    } else if (*slot != NULL) {
        pack_close(*reader);
        *reader = (*slot)->reader;
    }
    if (*slot != NULL) {
        (*slot)->holders++;
        (*slot)->used = ++cache->tick;
    }
    pthread_mutex_unlock(&cache->lock);
    return true;
}

static void drop_pack(ReaderCache *cache, OpenedPack *slot, PackReader *reader)
{
    if (slot == NULL) {
        pack_close(reader);
        return;
    }
    pthread_mutex_lock(&cache->lock);
    slot->holders--;
    pthread_mutex_unlock(&cache->lock);
}

static Bench *take_bench(ReaderCache *cache)
{
    pthread_mutex_lock(&cache->lock);
    Bench *bench = cache->bench_count > 0 ? cache->benches[--cache->bench_count] : NULL;
    pthread_mutex_unlock(&cache->lock);
    if (bench == NULL) {
        bench = mem_new(Bench);
        bench->work = codec_work_new();
    }
    return bench;
}

static void free_bench(Bench *bench)
{
    codec_work_free(bench->work);
    buf_free(&bench->scratch);
    mem_free(bench);
}

static void drop_bench(ReaderCache *cache, Bench *bench)
{
    pthread_mutex_lock(&cache->lock);
    bool kept = cache->bench_count < BENCHES;
    if (kept)
        cache->benches[cache->bench_count++] = bench;
    pthread_mutex_unlock(&cache->lock);
    if (!kept)
        free_bench(bench);
}

static bool damaged(const ChunkId *id, const ChunkPlace *place, Err *err)
{
    char chunk[CHUNK_ID_TEXT], object[UUID_TEXT], was[sizeof err->text];
    ids_hex(id->bytes, sizeof id->bytes, chunk);
    chunk[12] = 0;
    uuid_text(&place->object, object);
    memcpy(was, err->text, sizeof was);
    return err_set(err, ERR_CORRUPT, "repo.damaged",
                   "chunk %s… in pack %s: %.200s; restore what does not need it, or take another "
                   "copy of this backup",
                   chunk, object, was);
}

/* What ERR_MISSING and ERR_CORRUPT say is about this place; anything else about the way there. */
static bool place_failed(const Err *err)
{
    return err->code == ERR_MISSING || err->code == ERR_CORRUPT;
}

static bool open_at(ReaderCache *cache, const ChunkId *id, const ChunkPlace *place, uint8_t *plain,
                    Err *err)
{
    OpenedPack *slot;
    PackReader *reader;
    if (memcmp(&place->chunk.id, id, sizeof *id) != 0)
        return err_set(err, ERR_CORRUPT, "repo.wrong_place", "its place belongs to another chunk");
    if (!take_pack(cache, place, &slot, &reader, err))
        return false;
    Bench *bench = take_bench(cache);
    bool good = pack_chunk(reader, bench->work, &bench->scratch, &place->chunk, plain, err);
    drop_bench(cache, bench);
    drop_pack(cache, slot, reader);
    return good;
}

static bool not_found(const ChunkId *id, Err *err)
{
    char chunk[CHUNK_ID_TEXT];
    ids_hex(id->bytes, sizeof id->bytes, chunk);
    chunk[12] = 0;
    return err_set(err, ERR_CORRUPT, "repo.chunk_missing",
                   "chunk %s… is in no pack that is known; restore what does not need it, or take "
                   "another copy of this backup",
                   chunk);
}

/* Places of one chunk that were tried; a locator that knows no more names one of them again. */
typedef struct Tried {
    Uuid objects[TRIES];
    unsigned count;
} Tried;

static bool tried_new(Tried *tried, const Uuid *object)
{
    for (unsigned i = 0; i < tried->count; i++)
        if (uuid_equal(&tried->objects[i], object))
            return false;
    if (tried->count == TRIES)
        return false;
    tried->objects[tried->count++] = *object;
    return true;
}

/* Opens a chunk where it is said to be and, when that fails, wherever else in this repository it
 * may be. */
static bool open_here(ReaderCache *cache, const ChunkId *id, ChunkPlace *place, uint8_t **at,
                      Err *err)
{
    if (!reader_place(cache, id, place, err))
        return false;
    Tried tried = {.count = 0};
    *at = NULL;
    while (place->found) {
        if (place->chunk.plain > CHUNK_PLAIN_MAX)
            break;
        *at = mem_resize(*at, place->chunk.plain + 1);
        if (open_at(cache, id, place, *at, err))
            return true;
        if (!place_failed(err)) {
            mem_free(*at);
            return false;
        }
        tried_new(&tried, &place->object);
        ChunkPlace other = {0};
        Err ignored = {0};
        bool found =
            cache->locator->ops->again(cache->locator, &place->object, id, &other, &ignored) &&
            other.found && tried_new(&tried, &other.object);
        if (!found) {
            mem_free(*at);
            return damaged(id, place, err);
        }
        *place = other;
        pthread_mutex_lock(&cache->lock);
        note_place(cache, id, place);
        pthread_mutex_unlock(&cache->lock);
    }
    mem_free(*at);
    return not_found(id, err);
}

/* What another place cannot better: whoever reads was told to stop, or is wrong itself. */
static bool is_final(const Err *err)
{
    return err->code == ERR_CANCELLED || err->code == ERR_FENCED || err->code == ERR_BUG ||
           err->code == ERR_USAGE;
}

/* The cache of the n-th other place; NULL: it does not open. */
static ReaderCache *turn_to(ReaderCache *cache, unsigned n, bool *more)
{
    Repo *repo = NULL;
    RepoLocator *locator = NULL;
    pthread_mutex_lock(&cache->turning);
    *more = true;
    if (cache->others[n] == NULL &&
        cache->elsewhere->place(cache->elsewhere->ctx, n, &repo, &locator, more))
        cache->others[n] = reader_cache_new(repo, locator, 0);
    ReaderCache *other = cache->others[n];
    pthread_mutex_unlock(&cache->turning);
    return other;
}

static bool open_elsewhere(ReaderCache *cache, const ChunkId *id, ChunkPlace *place, uint8_t **at,
                           const Err *why)
{
    bool more = cache->elsewhere != NULL;
    for (unsigned n = 0; more && n < OTHERS; n++) {
        Err ignored = {0};
        ReaderCache *other = turn_to(cache, n, &more);
        if (other == NULL || !open_here(other, id, place, at, &ignored))
            continue;
        pthread_mutex_lock(&cache->turning);
        cache->elsewhere->came(cache->elsewhere->ctx, n, place->chunk.plain, why);
        pthread_mutex_unlock(&cache->turning);
        return true;
    }
    return false;
}

static bool open_chunk(ReaderCache *cache, const ChunkId *id, ChunkPlace *place, uint8_t **at,
                       Err *err)
{
    static const Err gone = {.cause = "store.away", .text = "its store failed before"};
    if (cache->away && open_elsewhere(cache, id, place, at, &gone))
        return true;
    if (open_here(cache, id, place, at, err))
        return true;
    if (is_final(err) || cache->elsewhere == NULL)
        return false;
    /* Not this object but the way to all of them: each further one would wait as long. */
    if (!place_failed(err))
        cache->away = true;
    Err here = *err;
    if (!open_elsewhere(cache, id, place, at, &here))
        return false;
    *err = (Err){0};
    return true;
}

/* Fills an entry that this thread made; the others wait for `loading` to end. */
static bool load(ReaderCache *cache, Decoded *d, Err *err)
{
    ChunkPlace place;
    uint8_t *at = NULL;
    bool good = open_chunk(cache, &d->id, &place, &at, err);
    pthread_mutex_lock(&cache->lock);
    d->loading = false;
    d->failed = !good;
    if (good) {
        d->at = at;
        d->len = place.chunk.plain;
        cache->bytes += d->len;
        make_room(cache);
    } else {
        d->why = *err;
    }
    pthread_cond_broadcast(&cache->loaded);
    pthread_mutex_unlock(&cache->lock);
    if (!good)
        reader_drop(cache, d);
    return good;
}

bool reader_take(ReaderCache *cache, const ChunkId *id, Decoded **out, Err *err)
{
    pthread_mutex_lock(&cache->lock);
    Decoded *d = find(cache, id);
    bool mine = d == NULL;
    if (mine) {
        d = mem_new(Decoded);
        d->id = *id;
        d->loading = true;
        d->next = *bucket_of(cache, id);
        *bucket_of(cache, id) = d;
    } else if (d->holders == 0) {
        unlink_idle(cache, d);
    }
    d->holders++;
    while (!mine && d->loading)
        wait_signal(&cache->loaded, &cache->lock);
    bool failed = !mine && d->failed;
    if (failed)
        *err = d->why;
    pthread_mutex_unlock(&cache->lock);
    *out = d;
    if (mine)
        return load(cache, d, err);
    if (failed)
        reader_drop(cache, d);
    return !failed;
}

/* A failure is not kept: the next who asks tries again. */
void reader_drop(ReaderCache *cache, Decoded *d)
{
    pthread_mutex_lock(&cache->lock);
    if (--d->holders == 0) {
        if (d->failed)
            forget(cache, d);
        else
            link_idle(cache, d);
        make_room(cache);
    }
    pthread_mutex_unlock(&cache->lock);
}

bool reader_prove(ReaderCache *cache, const ChunkId *id, ChunkPlace *place, bool *good,
                  uint32_t *plain, Err *why, Err *err)
{
    uint8_t *at = NULL;
    memset(place, 0, sizeof *place);
    *good = open_chunk(cache, id, place, &at, why);
    *plain = *good ? place->chunk.plain : 0;
    if (*good)
        mem_free(at);
    if (*good || place_failed(why))
        return true;
    *err = *why;
    return false;
}

void reader_cache_free(ReaderCache *cache)
{
    if (cache == NULL)
        return;
    while (cache->oldest != NULL) {
        Decoded *d = cache->oldest;
        unlink_idle(cache, d);
        forget(cache, d);
    }
    for (unsigned i = 0; i < PACKS_OPEN; i++)
        pack_close(cache->packs[i].reader);
    while (cache->bench_count > 0)
        free_bench(cache->benches[--cache->bench_count]);
    for (unsigned i = 0; i < OTHERS; i++)
        reader_cache_free(cache->others[i]);
    idmap_free(&cache->known);
    mem_free(cache->places);
    pthread_mutex_destroy(&cache->turning);
    pthread_mutex_destroy(&cache->lock);
    pthread_cond_destroy(&cache->loaded);
    mem_free(cache);
}
