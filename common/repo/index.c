/* SPDX-License-Identifier: Apache-2.0
 * index.c — building and reading index objects. */
#include "common/repo/index.h"

#include "common/base/crashpoint.h"
#include "common/base/mem.h"
#include "common/base/rand.h"
#include "common/repo/canon.h"
#include "common/repo/chunker.h"
#include "common/repo/repo_internal.h"

enum {
    INDEX_FORMAT = 1,
    KEY_FORMAT = 1,
    KEY_PACKS = 2,
    KEY_BACKUP = 3, /* of the head only */
    /* 180 000 chunks: what waits here and three copies of it while it is sealed are memory of the
     * job, however much it stores. */
    OBJECT_FULL = 8 * 1024 * 1024,
};

/* Both parts of one pack, encoded at once: 45 bytes a chunk instead of a row's 64. */
typedef struct IndexedPack {
    uint64_t pack_no;
    Buf head, body;
} IndexedPack;

struct IndexBuilder {
    Repo *repo;
    RepoLedger *ledger; /* NULL: nobody is told */
    Uuid backup;
    size_t full; /* bytes of one object */
    IndexedPack *packs;
    size_t count, room;
    size_t fresh; /* bytes added since the last put */
};

IndexBuilder *index_builder_new(Repo *repo, RepoLedger *ledger, const Uuid *backup)
{
    IndexBuilder *builder = mem_new(IndexBuilder);
    size_t wanted = repo_index_bytes(repo);
    builder->repo = repo;
    builder->ledger = ledger;
    builder->full = wanted == 0 ? OBJECT_FULL : wanted;
    builder->backup = *backup;
    return builder;
}

static void add_head(Buf *out, const PackRow *row)
{
    canon_array(out, 5);
    canon_bin(out, (Slice){row->pack.bytes, sizeof row->pack.bytes});
    canon_bin(out, (Slice){row->object.bytes, sizeof row->object.bytes});
    canon_bin(out, (Slice){row->sha256.bytes, sizeof row->sha256.bytes});
    canon_uint(out, row->bytes);
    canon_uint(out, row->kind);
}

static void add_chunk(Buf *out, const ChunkRow *chunk)
{
    canon_array(out, 6);
    canon_bin(out, (Slice){chunk->id.bytes, sizeof chunk->id.bytes});
    canon_uint(out, chunk->ordinal);
    canon_uint(out, chunk->codec);
    canon_uint(out, chunk->offset);
    canon_uint(out, chunk->stored);
    canon_uint(out, chunk->plain);
}

void index_builder_add(IndexBuilder *builder, const PackRow *row)
{
    if (builder->count == builder->room) {
        builder->room = builder->room == 0 ? 16 : builder->room * 2;
        builder->packs = mem_resize(builder->packs, builder->room * sizeof builder->packs[0]);
    }
    IndexedPack *pack = &builder->packs[builder->count++];
    *pack = (IndexedPack){.pack_no = row->pack_no};
    add_head(&pack->head, row);
    canon_array(&pack->body, 2);
    canon_bin(&pack->body, (Slice){row->pack.bytes, sizeof row->pack.bytes});
    canon_array(&pack->body, (uint32_t)row->chunk_count);
    for (size_t i = 0; i < row->chunk_count; i++)
        add_chunk(&pack->body, &row->chunks[i]);
    builder->fresh += pack->body.len;
}

bool index_builder_full(const IndexBuilder *builder)
{
    return builder->fresh >= builder->full;
}

/* {format, [pack, …]}: the frame of both parts; the head says whose it is. */
static void frame(Buf *out, uint32_t count, Slice packs, const Uuid *backup)
{
    canon_map(out, backup == NULL ? 2 : 3);
    canon_uint(out, KEY_FORMAT);
    canon_uint(out, INDEX_FORMAT);
    canon_uint(out, KEY_PACKS);
    canon_array(out, count);
    buf_add_slice(out, packs);
    if (backup == NULL)
        return;
    canon_uint(out, KEY_BACKUP);
    canon_bin(out, (Slice){backup->bytes, sizeof backup->bytes});
}

/* What one object is made of. */
typedef struct Object {
    Buf heads, bodies;
    uint64_t *nos;
    uint32_t count;
} Object;

static void object_clear(Object *object)
{
    buf_clear(&object->heads);
    buf_clear(&object->bodies);
    object->count = 0;
}

static void object_free(Object *object)
{
    buf_free(&object->heads);
    buf_free(&object->bodies);
    mem_free(object->nos);
}

static bool put_one(const IndexBuilder *builder, const Object *object, Uuid *index, Err *err)
{
    scoped(buf_free) Buf head = {0}, body = {0};
    char name[REPO_NAME];
    RepoLedger *ledger = builder->ledger;
    Uuid id = rand_uuid();
    frame(&head, object->count, buf_slice(&object->heads), &builder->backup);
    frame(&body, object->count, buf_slice(&object->bodies), NULL);
    if (ledger != NULL &&
        !ledger->ops->index_begin(ledger, &builder->backup, &id, object->nos, object->count, err))
        return err_note(err, "announcing the index");
    CRASHPOINT("repo.index_begun");
    repo_name("index", &id, name);
    if (!repo_put(builder->repo, DISK_INDEX, name, NULL, buf_slice(&head), buf_slice(&body), NULL,
                  err))
        return err_note(err, "storing the index");
    *index = id;
    return true;
}

static void pack_done(IndexedPack *pack)
{
    buf_free(&pack->head);
    buf_free(&pack->body);
}

/* Moves the packs in `used` into objects; what is left stays for the next time. */
bool index_builder_put(IndexBuilder *builder, const PackSet *used, Uuid *index, Err *err)
{
    scoped(object_free) Object object = {.nos = mem_array(uint64_t, builder->count)};
    size_t kept = 0;
    bool good = true;
    memset(index, 0, sizeof *index);
    for (size_t i = 0; i < builder->count; i++) {
        IndexedPack pack = builder->packs[i];
        if (!good || !packset_has(used, pack.pack_no)) {
            builder->packs[kept++] = pack;
            continue;
        }
        buf_add_slice(&object.heads, buf_slice(&pack.head));
        buf_add_slice(&object.bodies, buf_slice(&pack.body));
        object.nos[object.count++] = pack.pack_no;
        pack_done(&pack);
        if (object.bodies.len < builder->full)
            continue;
        good = put_one(builder, &object, index, err);
        object_clear(&object);
    }
    builder->count = kept;
    builder->fresh = 0;
    return good && (object.count == 0 || put_one(builder, &object, index, err));
}

void index_builder_free(IndexBuilder *builder)
{
    if (builder == NULL)
        return;
    for (size_t i = 0; i < builder->count; i++)
        pack_done(&builder->packs[i]);
    mem_free(builder->packs);
    mem_free(builder);
}

/* Leaves the reader at the first pack; 0 and bad when the frame is not one. */
static uint32_t read_frame(CanonReader *r)
{
    uint64_t last = 0, format = 0;
    if (canon_read_map(r) < 2)
        r->bad = true;
    if (canon_read_key(r, &last) == KEY_FORMAT)
        format = canon_read_uint(r);
    if (format != INDEX_FORMAT || canon_read_key(r, &last) != KEY_PACKS)
        r->bad = true;
    return r->bad ? 0 : canon_read_array(r);
}

static void read_head(CanonReader *r, PackRow *row)
{
    memset(row, 0, sizeof *row);
    if (canon_read_array(r) != 5)
        r->bad = true;
    canon_read_exact(r, row->pack.bytes, sizeof row->pack.bytes);
    canon_read_exact(r, row->object.bytes, sizeof row->object.bytes);
    canon_read_exact(r, row->sha256.bytes, sizeof row->sha256.bytes);
    row->bytes = canon_read_uint(r);
    uint64_t kind = canon_read_uint(r);
    if (kind != PACK_DATA && kind != PACK_META)
        r->bad = true;
    row->kind = (PackKind)kind;
}

static uint32_t read_u32(CanonReader *r)
{
    uint64_t value = canon_read_uint(r);
    if (value > UINT32_MAX)
        r->bad = true;
    return (uint32_t)value;
}

static void read_chunk(CanonReader *r, ChunkRow *chunk)
{
    if (canon_read_array(r) != 6)
        r->bad = true;
    canon_read_exact(r, chunk->id.bytes, sizeof chunk->id.bytes);
    chunk->ordinal = read_u32(r);
    chunk->codec = (uint8_t)read_u32(r);
    chunk->offset = canon_read_uint(r);
    chunk->stored = read_u32(r);
    chunk->plain = read_u32(r);
    if (chunk->plain > CHUNK_PLAIN_MAX || chunk->stored > 2 * CHUNK_PLAIN_MAX)
        r->bad = true;
}

/* The packs of the body stand in the order of the head. */
static void read_body(CanonReader *r, PackRow *row, Buf *rows)
{
    Uuid pack = {0};
    if (canon_read_array(r) != 2)
        r->bad = true;
    canon_read_exact(r, pack.bytes, sizeof pack.bytes);
    if (!uuid_equal(&pack, &row->pack))
        r->bad = true;
    uint32_t count = canon_read_array(r);
    buf_clear(rows);
    for (uint32_t i = 0; i < count && !r->bad; i++)
        read_chunk(r, (ChunkRow *)(void *)buf_extend(rows, sizeof(ChunkRow)));
    row->chunks = (const ChunkRow *)(const void *)rows->at;
    row->chunk_count = count;
}

bool index_read(Slice head, Slice body, PackVisit *visit, void *ctx, Err *err)
{
    scoped(buf_free) Buf rows = {0};
    CanonReader heads = canon_reader(head), bodies = canon_reader(body);
    uint32_t count = read_frame(&heads);
    if (body.len > 0 && read_frame(&bodies) != count)
        bodies.bad = true;
    for (uint32_t i = 0; i < count && !heads.bad && !bodies.bad; i++) {
        PackRow row;
        read_head(&heads, &row);
        if (body.len > 0)
            read_body(&bodies, &row, &rows);
        if (!heads.bad && !bodies.bad && !visit(ctx, &row, err))
            return false;
    }
    if (heads.bad || bodies.bad)
        return err_set(err, ERR_CORRUPT, "repo.bad_index",
                       "an index object is not a valid record; what it names is looked up in the "
                       "packs themselves");
    return true;
}

Uuid index_backup(Slice head)
{
    Uuid backup = {0};
    uint64_t last = KEY_PACKS;
    CanonReader r = canon_reader(head);
    if (canon_read_map(&r) < 3)
        return backup;
    for (unsigned i = 0; i < 4; i++) /* two keys and their values */
        canon_skip(&r);
    if (canon_read_key(&r, &last) != KEY_BACKUP ||
        !canon_read_exact(&r, backup.bytes, sizeof backup.bytes))
        memset(&backup, 0, sizeof backup);
    return backup;
}
