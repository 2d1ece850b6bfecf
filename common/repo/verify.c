/* SPDX-License-Identifier: Apache-2.0
 * verify.c — objects hashed again, chunks opened again.
 * Chunks are proved in batches by a few threads, in the order in which they lie in packs; only when
 * one is damaged is the manifest walked a second time, to say which entries need it. */
#include "common/repo/verify.h"

#include "common/base/hash.h"
#include "common/base/mem.h"
#include "common/repo/pack.h"
#include "common/repo/reader_internal.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

enum {
    READ_PART = 1024 * 1024,
    BATCH = 512,
    THREADS_MAX = 8,
    DAMAGE_MAX = 10000, /* damaged chunks that are told one by one */
};

bool verify_hash(Store *store, const char *name, uint64_t bytes, Sha256 *out, Err *err)
{
    uint8_t *part = mem_resize(NULL, READ_PART);
    HashSha256 *hash = hash_sha256_new();
    bool good = true;
    for (uint64_t at = 0; good && at < bytes; at += READ_PART) {
        size_t len = bytes - at < READ_PART ? (size_t)(bytes - at) : READ_PART;
        good = store_get_range(store, name, at, len, part, err);
        if (good)
            hash_sha256_add(hash, (Slice){part, len});
    }
    hash_sha256_end(hash, out);
    hash_sha256_free(hash);
    mem_free(part);
    return good;
}

/* ERR_CORRUPT and ERR_MISSING speak of the object; anything else of the way to it. */
static bool about_object(const Err *err)
{
    return err->code == ERR_CORRUPT || err->code == ERR_MISSING;
}

bool verify_stored(Repo *repo, const PackRow *row, bool *good, Err *why, Err *err)
{
    char name[PACK_NAME];
    bool found;
    uint64_t size;
    Sha256 sha256;
    pack_name(&row->object, name);
    *good = false;
    memset(why, 0, sizeof *why);
    if (!store_head(repo_store(repo), name, &found, &size, err))
        return err_note(err, "looking at %s", name);
    if (!found) {
        err_set(why, ERR_CORRUPT, "repo.pack_missing",
                "%s is not in the store any more: take another copy of the backup", name);
        return true;
    }
    if (size != row->bytes) {
        err_set(why, ERR_CORRUPT, "repo.pack_size",
                "%s has %llu bytes instead of %llu: take another copy of the backup", name,
                (unsigned long long)size, (unsigned long long)row->bytes);
        return true;
    }
    if (!verify_hash(repo_store(repo), name, size, &sha256, why)) {
        if (about_object(why))
            return true;
        *err = *why;
        return err_note(err, "reading %s", name);
    }
    *good = memcmp(&sha256, &row->sha256, sizeof sha256) == 0;
    if (!*good)
        err_set(why, ERR_CORRUPT, "repo.pack_hash",
                "%s does not hold the bytes that were written: take another copy of the backup",
                name);
    return true;
}

static bool open_rows(Repo *repo, const PackRow *row, Err *why)
{
    PackReader *reader = NULL;
    scoped(buf_free) Buf scratch = {0};
    if (!pack_open(&reader, repo_keyring(repo), repo_store(repo), &row->object, &row->pack, why))
        return false;
    CodecWork *work = codec_work_new();
    uint8_t *plain = mem_resize(NULL, DISK_CHUNK_MOST);
    bool opened = true;
    for (size_t i = 0; opened && i < row->chunk_count; i++)
        opened = row->chunks[i].plain > DISK_CHUNK_MOST
                     ? err_set(why, ERR_CORRUPT, "repo.damaged", "a chunk says it is too long")
                     : pack_chunk(reader, work, &scratch, &row->chunks[i], plain, why);
    mem_free(plain);
    codec_work_free(work);
    pack_close(reader);
    return opened;
}

bool verify_whole(Repo *repo, const PackRow *row, bool *good, Err *why, Err *err)
{
    char name[PACK_NAME];
    if (!verify_stored(repo, row, good, why, err) || !*good)
        return err->code == ERR_NONE;
    *good = open_rows(repo, row, why);
    pack_name(&row->object, name);
    if (*good || about_object(why)) {
        if (!*good)
            err_note(why, "%s", name);
        return true;
    }
    *err = *why;
    return err_note(err, "opening %s", name);
}

static unsigned processors(void)
{
    long online = sysconf(_SC_NPROCESSORS_ONLN);
    return online < 1 ? 1 : online > THREADS_MAX ? THREADS_MAX : (unsigned)online;
}

/* So many threads, this one among them, run the same. */
static void run_together(unsigned threads, void *(*run)(void *), void *ctx)
{
    pthread_t others[THREADS_MAX];
    unsigned started = 0;
    while (started + 1 < threads && pthread_create(&others[started], NULL, run, ctx) == 0)
        started++;
    run(ctx);
    while (started > 0)
        pthread_join(others[--started], NULL);
}

typedef struct Looks {
    Repo *repo;
    VerifyLook *looks;
    size_t count;
    atomic_size_t next;
    atomic_bool failed;
    Err failure; /* of the one that set `failed` */
} Looks;

static void *look(void *ctx)
{
    Looks *all = ctx;
    size_t at;
    while (!all->failed && (at = all->next++) < all->count) {
        Err err = {0};
        VerifyLook *one = &all->looks[at];
        if (one->whole ? verify_whole(all->repo, &one->row, &one->good, &one->why, &err)
                       : verify_stored(all->repo, &one->row, &one->good, &one->why, &err))
            continue;
        if (!atomic_exchange(&all->failed, true))
            all->failure = err;
    }
    return NULL;
}

bool verify_packs(Repo *repo, VerifyLook *looks, size_t count, Err *err)
{
    Looks all = {.repo = repo, .looks = looks, .count = count};
    unsigned threads = processors();
    run_together(count < threads ? (unsigned)count : threads, look, &all);
    if (all.failed)
        *err = all.failure;
    return !all.failed;
}

typedef struct Proof {
    ChunkId id;
    ChunkPlace place;
    bool good;
    uint32_t plain;
    Err why;
} Proof;

typedef struct Verify {
    RepoReader *reader;
    const VerifyWatch *watch;
    VerifyCounts *counts;
    Proof *batch;
    size_t count;
    pthread_mutex_t lock;
    size_t next; /* of the batch */
    Err failure;
    Proof *damaged;
    size_t damaged_count;
    IdMap damaged_ids; /* value: 1 when an entry was told */
} Verify;

static void *prove(void *ctx)
{
    Verify *v = ctx;
    for (;;) {
        pthread_mutex_lock(&v->lock);
        size_t at = v->next++;
        bool over = at >= v->count || v->failure.code != ERR_NONE;
        pthread_mutex_unlock(&v->lock);
        if (over)
            return NULL;
        Proof *p = &v->batch[at];
        Err err = {0};
        if (reader_prove(v->reader->cache, &p->id, &p->place, &p->good, &p->plain, &p->why, &err))
            continue;
        pthread_mutex_lock(&v->lock);
        v->failure = err;
        pthread_mutex_unlock(&v->lock);
    }
}

static void note_damage(Verify *v, const Proof *proof)
{
    v->counts->damaged += proof->place.found;
    v->counts->missing += !proof->place.found;
    if (v->damaged_count == DAMAGE_MAX)
        return;
    v->damaged = mem_resize(v->damaged, (v->damaged_count + 1) * sizeof v->damaged[0]);
    v->damaged[v->damaged_count++] = *proof;
    idmap_add(&v->damaged_ids, &proof->id, NULL);
}

static int by_place(const void *a, const void *b)
{
    const Proof *left = a, *right = b;
    int order = uuid_compare(&left->place.object, &right->place.object);
    if (order != 0)
        return order;
    return (left->place.chunk.offset > right->place.chunk.offset) -
           (left->place.chunk.offset < right->place.chunk.offset);
}

/* One question for the whole batch; its answers also say in which order the chunks lie. */
static bool place_batch(Verify *v, Err *err)
{
    ChunkId *ids = mem_array(ChunkId, v->count);
    for (size_t i = 0; i < v->count; i++)
        ids[i] = v->batch[i].id;
    bool good = reader_locate(v->reader->cache, ids, v->count, err);
    for (size_t i = 0; good && i < v->count; i++)
        good = reader_place(v->reader->cache, &ids[i], &v->batch[i].place, err);
    mem_free(ids);
    return good;
}

static bool run_batch(Verify *v, Err *err)
{
    if (v->watch->cancelled != NULL && v->watch->cancelled(v->watch->ctx))
        return err_set(err, ERR_CANCELLED, "job.cancelled", "the verification was cancelled");
    if (!place_batch(v, err))
        return false;
    qsort(v->batch, v->count, sizeof v->batch[0], by_place);
    v->next = 0;
    run_together(processors(), prove, v);
    if (v->failure.code != ERR_NONE) {
        *err = v->failure;
        return false;
    }
    for (size_t i = 0; i < v->count; i++) {
        v->counts->chunks++;
        v->counts->bytes += v->batch[i].plain;
        if (!v->batch[i].good)
            note_damage(v, &v->batch[i]);
        else if (v->watch->opened != NULL)
            v->watch->opened(v->watch->ctx, v->batch[i].place.pack_no);
    }
    v->count = 0;
    return true;
}

static bool add_chunk(void *ctx, const ChunkId *id, bool meta, Err *err)
{
    (void)meta;
    Verify *v = ctx;
    v->batch[v->count++] = (Proof){.id = *id};
    return v->count < BATCH || run_batch(v, err);
}

static void tell(Verify *v, const Proof *proof, Text path)
{
    VerifyDamage damage = {.pack_no = proof->place.pack_no,
                           .object = proof->place.object,
                           .pack = proof->place.pack,
                           .chunk = proof->id,
                           .path = path,
                           .why = proof->why};
    if (v->watch->damaged != NULL)
        v->watch->damaged(v->watch->ctx, &damage);
}

typedef struct Blame {
    Verify *v;
    Text path;
} Blame;

static bool blame_extent(void *ctx, const Extent *extent, Err *err)
{
    (void)err;
    Blame *blame = ctx;
    uint32_t at = extent->zeros ? IDMAP_NONE : idmap_find(&blame->v->damaged_ids, &extent->id);
    if (at == IDMAP_NONE)
        return true;
    blame->v->damaged_ids.values[at] = 1;
    tell(blame->v, &blame->v->damaged[at], blame->path);
    return true;
}

static bool blame_entry(void *ctx, const Entry *entry, const ReaderContent *content, bool *stop,
                        Err *err)
{
    (void)stop;
    Blame blame = {ctx, entry->path};
    blame.v->counts->entries++;
    if (reader_extents(blame.v->reader, content, blame_extent, &blame, err))
        return true;
    /* A page of extents that does not open was told as a chunk. */
    if (!about_object(err))
        return false;
    memset(err, 0, sizeof *err);
    return true;
}

static bool count_entry(void *ctx, const Entry *entry, const ReaderContent *content, bool *stop,
                        Err *err)
{
    (void)entry;
    (void)content;
    (void)stop;
    (void)err;
    ((Verify *)ctx)->counts->entries++;
    return true;
}

static bool say_damage(Verify *v, Err *err)
{
    ReaderSelection all = {.phase = -1};
    if (v->damaged_count == 0)
        return reader_walk_pages(v->reader, &all, count_entry, NULL, v, err);
    if (!reader_walk_pages(v->reader, &all, blame_entry, NULL, v, err))
        return false;
    for (size_t i = 0; i < v->damaged_count; i++)
        if (v->damaged_ids.values[i] == 0)
            tell(v, &v->damaged[i], (Text){0});
    return true;
}

/* The page itself is told with the chunks; here only its entries are passed over. */
static void pass_page(void *ctx, Text from_path, const Err *why)
{
    (void)ctx;
    (void)from_path;
    (void)why;
}

bool verify_content(RepoReader *reader, const VerifyWatch *watch, VerifyCounts *counts, Err *err)
{
    memset(counts, 0, sizeof *counts);
    Verify v = {
        .reader = reader, .watch = watch, .counts = counts, .batch = mem_array(Proof, BATCH)};
    pthread_mutex_init(&v.lock, NULL);
    ReaderDamage *damage = reader->damage;
    reader->damage = pass_page;
    bool good = reader_chunks(reader, add_chunk, &v, err) && (v.count == 0 || run_batch(&v, err)) &&
                say_damage(&v, err);
    reader->damage = damage;
    pthread_mutex_destroy(&v.lock);
    idmap_free(&v.damaged_ids);
    mem_free(v.damaged);
    mem_free(v.batch);
    return good;
}
