/* SPDX-License-Identifier: Apache-2.0
 * verify.c — the chunks of a backup opened again.
 * Where packs can be looked at as a whole, a first walk says which are needed: each is then read
 * once, from end to end. Other chunks are proved in batches by a few threads, in the order in which
 * they lie in packs; only when one is damaged is the manifest walked again, to say which entries
 * need it. */
#include "common/base/mem.h"
#include "common/repo/reader_internal.h"
#include "common/repo/verify_internal.h"

#include <pthread.h>
#include <stdlib.h>

enum {
    BATCH = 512,
    DAMAGE_MAX = 10000, /* damaged chunks that are told one by one */
};

typedef struct Proof {
    ChunkId id;
    ChunkPlace place;
    bool good;
    uint32_t plain;
    Err why;
} Proof;

/* What a walk over the chunks is for: to open all, to say what is needed, to open the rest. */
typedef enum Step { STEP_ALL, STEP_SURVEY, STEP_REST } Step;

typedef struct Verify {
    RepoReader *reader;
    const VerifyWatch *watch;
    VerifyCounts *counts;
    Proof *batch;
    size_t count;
    Step step;
    bool lacking;    /* a chunk that is needed has no place */
    uint64_t hidden; /* pages that did not open, over all walks */
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

static bool go_on(const Verify *v, Err *err)
{
    return v->watch->cancelled == NULL || !v->watch->cancelled(v->watch->ctx) ||
           err_set(err, ERR_CANCELLED, "job.cancelled", "the verification was cancelled");
}

/* Leaves in the batch what no look at a whole pack has proved. */
static void pass_whole(Verify *v)
{
    size_t kept = 0;
    for (size_t i = 0; i < v->count; i++)
        if (!v->batch[i].place.found || !v->watch->whole(v->watch->ctx, v->batch[i].place.pack_no))
            v->batch[kept++] = v->batch[i];
    v->count = kept;
}

static void count_batch(Verify *v)
{
    v->counts->chunks += v->count;
    for (size_t i = 0; i < v->count; i++)
        v->counts->bytes += v->batch[i].place.found ? v->batch[i].place.chunk.plain : 0;
}

static void say_needed(Verify *v)
{
    for (size_t i = 0; i < v->count; i++)
        if (v->batch[i].place.found)
            v->watch->needed(v->watch->ctx, &v->batch[i].place);
        else
            v->lacking = true;
}

static bool prove_batch(Verify *v, Err *err)
{
    v->next = 0;
    verify_together(verify_processors(), prove, v);
    if (v->failure.code != ERR_NONE) {
        *err = v->failure;
        return false;
    }
    for (size_t i = 0; i < v->count; i++)
        if (!v->batch[i].good)
            note_damage(v, &v->batch[i]);
    return true;
}

static bool run_batch(Verify *v, Err *err)
{
    if (!go_on(v, err) || !place_batch(v, err))
        return false;
    qsort(v->batch, v->count, sizeof v->batch[0], by_place);
    if (v->step != STEP_REST)
        count_batch(v);
    bool good = true;
    if (v->step == STEP_SURVEY)
        say_needed(v);
    else {
        if (v->step == STEP_REST)
            pass_whole(v);
        good = prove_batch(v, err);
    }
    v->count = 0;
    return good;
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
    if (!verify_about_object(err))
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
    (void)from_path;
    (void)why;
    ((Verify *)ctx)->hidden++;
}

static bool walk_chunks(Verify *v, Step step, Err *err)
{
    v->step = step;
    return reader_chunks(v->reader, add_chunk, v, err) && (v->count == 0 || run_batch(v, err));
}

static bool by_packs(Verify *v, Err *err)
{
    bool all = false;
    return walk_chunks(v, STEP_SURVEY, err) && v->watch->prove(v->watch->ctx, &all, err) &&
           ((all && !v->lacking) || walk_chunks(v, STEP_REST, err));
}

/* What a page hides was not looked at: it is told as damage, or nothing may be said of the rest. */
static bool saw_all(const Verify *v, Err *err)
{
    return v->hidden == 0 || v->counts->damaged + v->counts->missing > 0 ||
           err_set(err, ERR_IO, "repo.unsteady",
                   "a page did not open and then did: what this host reads cannot be trusted; "
                   "look at its memory and its disks, then verify again");
}

bool verify_content(RepoReader *reader, const VerifyWatch *watch, VerifyCounts *counts, Err *err)
{
    memset(counts, 0, sizeof *counts);
    Verify v = {
        .reader = reader, .watch = watch, .counts = counts, .batch = mem_array(Proof, BATCH)};
    pthread_mutex_init(&v.lock, NULL);
    ReaderDamage *damage = reader->damage;
    void *damage_ctx = reader->damage_ctx;
    reader_on_damage(reader, pass_page, &v);
    bool good = (watch->prove == NULL ? walk_chunks(&v, STEP_ALL, err) : by_packs(&v, err)) &&
                say_damage(&v, err) && saw_all(&v, err);
    reader_on_damage(reader, damage, damage_ctx);
    pthread_mutex_destroy(&v.lock);
    idmap_free(&v.damaged_ids);
    mem_free(v.damaged);
    mem_free(v.batch);
    return good;
}
