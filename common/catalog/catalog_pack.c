/* SPDX-License-Identifier: Apache-2.0 */
#include "common/catalog/catalog_pack.h"

#include "common/base/mem.h"
#include "common/catalog/statement.h"

enum { PACKS_A_PAGE = 64 }; /* of adopt: at 128 KiB chunks some 8 000 chunk rows */

bool catalog_session_revoked(Catalog *c, const Fence *fence, const CatalogRevoked *hosts,
                             size_t count, Err *err)
{
    scoped(args_free) Args args = {0};
    statement_fence(&args, fence);
    args_array(&args, ELEMENT_TEXT, count);
    for (size_t i = 0; i < count; i++)
        args_element_text(&args, hosts[i].host);
    args_array_end(&args);
    args_array(&args, ELEMENT_I64, count);
    for (size_t i = 0; i < count; i++)
        args_element_i64(&args, (int64_t)hosts[i].before);
    args_array_end(&args);
    args_array(&args, ELEMENT_TIME, count);
    for (size_t i = 0; i < count; i++)
        args_element_time(&args, (int64_t)hosts[i].at_s * 1000000000);
    args_array_end(&args);
    return statement_run(c, &asset_sql_session_revoked_sql, &args, NULL, err);
}

bool catalog_repository_bind(Catalog *c, const Fence *fence, const Uuid *repository,
                             uint64_t *gc_epoch, uint64_t *confirmed_epoch, Err *err)
{
    scoped(args_free) Args args = {0};
    scoped(rows_free) Rows rows = {0};
    statement_fence(&args, fence);
    args_uuid(&args, repository);
    if (!statement_row(c, &asset_sql_repository_bind_sql, &args, &rows, err))
        return false;
    *gc_epoch = rows_u64(&rows, 0, 0);
    *confirmed_epoch = rows_u64(&rows, 0, 1);
    return true;
}

bool catalog_repository_look(Catalog *c, const Fence *fence, const Uuid *markers, size_t count,
                             RepositoryLook *out, Err *err)
{
    scoped(args_free) Args args = {0};
    scoped(rows_free) Rows rows = {0};
    statement_fence(&args, fence);
    args_array(&args, ELEMENT_UUID, count);
    for (size_t i = 0; i < count; i++)
        args_element_bytes(&args, markers[i].bytes, sizeof markers[i].bytes);
    args_array_end(&args);
    if (!statement_row(c, &asset_sql_repository_look_sql, &args, &rows, err))
        return false;
    rows_uuid(&rows, 0, 0, &out->newest);
    rows_sha256(&rows, 0, 1, &out->manifest);
    rows_uuid(&rows, 0, 2, &out->stranger);
    return true;
}

bool catalog_repository_set_back(Catalog *c, const Fence *fence, const SetBack *what, bool *news,
                                 Err *err)
{
    scoped(args_free) Args args = {0};
    scoped(rows_free) Rows rows = {0};
    statement_fence(&args, fence);
    args_text(&args, what->why);
    args_uuid(&args, what->lost);
    if (what->has_epoch)
        args_i64(&args, (int64_t)what->epoch);
    else
        args_i64_null(&args);
    if (!statement_row(c, &asset_sql_repository_set_back_sql, &args, &rows, err))
        return false;
    *news = rows_flag(&rows, 0, 0);
    return true;
}

bool catalog_pack_begin(Catalog *c, const Fence *fence, const Uuid *object, const Uuid *pack,
                        PackKind kind, uint64_t *pack_no, Err *err)
{
    scoped(args_free) Args args = {0};
    scoped(rows_free) Rows rows = {0};
    statement_fence(&args, fence);
    args_uuid(&args, object);
    args_uuid(&args, pack);
    args_text(&args, kind == PACK_META ? TEXT("meta") : TEXT("data"));
    if (!statement_row(c, &asset_sql_pack_begin_sql, &args, &rows, err))
        return false;
    *pack_no = rows_u64(&rows, 0, 0);
    return true;
}

bool catalog_index_begin(Catalog *c, const Fence *fence, const Uuid *backup, const Uuid *object,
                         const uint64_t *pack_nos, size_t count, Err *err)
{
    scoped(args_free) Args args = {0};
    statement_fence(&args, fence);
    args_uuid(&args, object);
    args_uuid(&args, uuid_is_nil(backup) ? NULL : backup);
    args_array(&args, ELEMENT_I64, count);
    for (size_t i = 0; i < count; i++)
        args_element_i64(&args, (int64_t)pack_nos[i]);
    args_array_end(&args);
    return statement_run(c, &asset_sql_index_begin_sql, &args, NULL, err);
}

#define COLUMN(args, element, add, rows, count, value)                                             \
    do {                                                                                           \
        args_array((args), (element), (count));                                                    \
        for (size_t n = 0; n < (count); n++) {                                                     \
            const ChunkRow *chunk = &(rows)[n];                                                    \
            add((args), (value));                                                                  \
        }                                                                                          \
        args_array_end(args);                                                                      \
    } while (0)

static void ids(Args *args, const ChunkId *list, size_t count)
{
    args_array(args, ELEMENT_BYTES, count);
    for (size_t i = 0; i < count; i++)
        args_element_bytes(args, list[i].bytes, sizeof list[i].bytes);
    args_array_end(args);
}

bool catalog_pack_stage(Catalog *c, const Fence *fence, const PackRow *row, Err *err)
{
    scoped(args_free) Args args = {0};
    size_t count = row->chunk_count;
    statement_fence(&args, fence);
    args_i64(&args, (int64_t)row->pack_no);
    args_uuid(&args, &row->object);
    args_i64(&args, (int64_t)row->bytes);
    args_bytes(&args, row->sha256.bytes, sizeof row->sha256.bytes);
    args_array(&args, ELEMENT_BYTES, count);
    for (size_t i = 0; i < count; i++)
        args_element_bytes(&args, row->chunks[i].id.bytes, sizeof row->chunks[i].id.bytes);
    args_array_end(&args);
    COLUMN(&args, ELEMENT_I32, args_element_i32, row->chunks, count, (int32_t)chunk->ordinal);
    COLUMN(&args, ELEMENT_I32, args_element_i32, row->chunks, count, chunk->codec);
    COLUMN(&args, ELEMENT_I64, args_element_i64, row->chunks, count, (int64_t)chunk->offset);
    COLUMN(&args, ELEMENT_I32, args_element_i32, row->chunks, count, (int32_t)chunk->stored);
    COLUMN(&args, ELEMENT_I32, args_element_i32, row->chunks, count, (int32_t)chunk->plain);
    return statement_run(c, &asset_sql_pack_stage_sql, &args, NULL, err);
}

bool catalog_pack_places(const Rows *rows, const ChunkId *list, size_t count, ChunkPlace *out,
                         Err *err)
{
    memset(out, 0, count * sizeof *out);
    for (size_t i = 0; i < rows_count(rows); i++) {
        size_t n = (size_t)rows_i64(rows, i, 0);
        if (n == 0 || n > count)
            return err_set(err, ERR_BUG, "catalogue.place", "place %zu of %zu was given", n, count);
        ChunkPlace *place = &out[n - 1];
        place->found = true;
        place->pack_no = rows_u64(rows, i, 1);
        rows_uuid(rows, i, 2, &place->object);
        rows_uuid(rows, i, 3, &place->pack);
        place->chunk = (ChunkRow){
            .id = list[n - 1],
            .ordinal = rows_u32(rows, i, 4),
            .codec = (uint8_t)rows_u32(rows, i, 5),
            .offset = rows_u64(rows, i, 6),
            .stored = rows_u32(rows, i, 7),
            .plain = rows_u32(rows, i, 8),
        };
    }
    return true;
}

/* without: an object to pass over; NULL where the statement has no such argument. */
static bool places(Catalog *c, const Asset *sql, const Fence *fence, const ChunkId *list,
                   size_t count, const Uuid *without, ChunkPlace *out, Err *err)
{
    scoped(args_free) Args args = {0};
    scoped(rows_free) Rows rows = {0};
    statement_fence(&args, fence);
    ids(&args, list, count);
    if (without != NULL)
        args_uuid(&args, without);
    if (!statement_run(c, sql, &args, &rows, err))
        return false;
    return catalog_pack_places(&rows, list, count, out, err);
}

bool catalog_chunk_lookup(Catalog *c, const Fence *fence, const ChunkId *list, size_t count,
                          ChunkPlace *out, Err *err)
{
    return places(c, &asset_sql_chunk_lookup_sql, fence, list, count, NULL, out, err);
}

bool catalog_chunk_find(Catalog *c, const Fence *fence, const ChunkId *list, size_t count,
                        ChunkPlace *out, Err *err)
{
    return places(c, &asset_sql_chunk_find_sql, fence, list, count, NULL, out, err);
}

bool catalog_chunk_find_other(Catalog *c, const Fence *fence, const ChunkId *id, const Uuid *missed,
                              ChunkPlace *out, Err *err)
{
    return places(c, &asset_sql_chunk_find_other_sql, fence, id, 1, missed, out, err);
}

bool catalog_chunk_find_in(Catalog *c, const Fence *fence, uint32_t repository, const ChunkId *list,
                           size_t count, const Uuid *missed, ChunkPlace *out, Err *err)
{
    scoped(args_free) Args args = {0};
    scoped(rows_free) Rows rows = {0};
    statement_fence(&args, fence);
    args_i32(&args, (int32_t)repository);
    ids(&args, list, count);
    args_uuid(&args, missed);
    return statement_run(c, &asset_sql_chunk_find_in_sql, &args, &rows, err) &&
           catalog_pack_places(&rows, list, count, out, err);
}

bool catalog_place_open(Catalog *c, const Fence *fence, uint32_t repository, Err *err)
{
    scoped(args_free) Args args = {0};
    statement_fence(&args, fence);
    args_i32(&args, (int32_t)repository);
    return statement_run(c, &asset_sql_place_open_sql, &args, NULL, err);
}

/* Columns 0 to 5 of both pack lists. */
static void read_pack(const Rows *rows, size_t i, PackRow *row)
{
    *row = (PackRow){.pack_no = rows_u64(rows, i, 0), .bytes = rows_u64(rows, i, 4)};
    rows_uuid(rows, i, 1, &row->object);
    rows_uuid(rows, i, 2, &row->pack);
    row->kind = text_equal(rows_text(rows, i, 3), TEXT("meta")) ? PACK_META : PACK_DATA;
    rows_sha256(rows, i, 5, &row->sha256);
}

static void read_chunk(const Rows *rows, size_t i, ChunkRow *chunk)
{
    Slice id = rows_bytes(rows, i, 6);
    memcpy(chunk->id.bytes, id.at,
           id.len < sizeof chunk->id.bytes ? id.len : sizeof chunk->id.bytes);
    chunk->ordinal = rows_u32(rows, i, 7);
    chunk->codec = (uint8_t)rows_u32(rows, i, 8);
    chunk->offset = rows_u64(rows, i, 9);
    chunk->stored = rows_u32(rows, i, 10);
    chunk->plain = rows_u32(rows, i, 11);
}

/* Packs of one page with their chunks; the rows of a pack stand together. */
static bool visit_page(const Rows *rows, PackVisit *visit, void *ctx, uint64_t *after, Err *err)
{
    size_t count = rows_count(rows);
    scoped(mem_release) ChunkRow *chunks = mem_array(ChunkRow, count);
    for (size_t i = 0; i < count;) {
        PackRow row;
        size_t of_pack = 0;
        read_pack(rows, i, &row);
        for (; i < count && rows_u64(rows, i, 0) == row.pack_no; i++)
            if (!rows_null(rows, i, 6))
                read_chunk(rows, i, &chunks[of_pack++]);
        row.chunks = chunks;
        row.chunk_count = of_pack;
        *after = row.pack_no;
        if (!visit(ctx, &row, err))
            return false;
    }
    return true;
}

bool catalog_pack_staged(Catalog *c, const Fence *fence, uint64_t *after, PackVisit *visit,
                         void *ctx, bool *more, Err *err)
{
    scoped(args_free) Args args = {0};
    scoped(rows_free) Rows rows = {0};
    statement_fence(&args, fence);
    args_i64(&args, (int64_t)*after);
    args_i32(&args, PACKS_A_PAGE);
    if (!statement_run(c, &asset_sql_pack_staged_sql, &args, &rows, err))
        return false;
    *more = rows_count(&rows) > 0;
    return visit_page(&rows, visit, ctx, after, err);
}

bool catalog_pack_take(Catalog *c, const Fence *fence, Err *err)
{
    scoped(args_free) Args args = {0};
    scoped(rows_free) Rows rows = {0};
    statement_fence(&args, fence);
    return statement_row(c, &asset_sql_pack_adopt_sql, &args, &rows, err);
}

bool catalog_pack_adopt(Catalog *c, const Fence *fence, PackVisit *visit, void *ctx, Err *err)
{
    uint64_t after = 0;
    bool more = true;
    if (!catalog_pack_take(c, fence, err))
        return false;
    while (more)
        if (!catalog_pack_staged(c, fence, &after, visit, ctx, &more, err))
            return false;
    return true;
}

bool catalog_pack_of_backup(Catalog *c, const Fence *fence, const Uuid *backup, PackVisit *visit,
                            void *ctx, Err *err)
{
    scoped(rows_free) Rows rows = {0};
    uint64_t after = 0;
    do {
        scoped(args_free) Args args = {0};
        statement_fence(&args, fence);
        args_uuid(&args, backup);
        args_i64(&args, (int64_t)after);
        args_i32(&args, 1000);
        if (!statement_run(c, &asset_sql_pack_of_backup_sql, &args, &rows, err))
            return false;
        for (size_t i = 0; i < rows_count(&rows); i++) {
            PackRow row;
            read_pack(&rows, i, &row);
            after = row.pack_no;
            if (!visit(ctx, &row, err))
                return false;
        }
    } while (rows_count(&rows) > 0);
    return true;
}

bool catalog_pack_verified(Catalog *c, const Fence *fence, const uint64_t *pack_nos,
                           const Sha256 *sha256s, size_t count, size_t *changed, Err *err)
{
    scoped(args_free) Args args = {0};
    scoped(rows_free) Rows rows = {0};
    statement_fence(&args, fence);
    statement_packs(&args, pack_nos, sha256s, count);
    if (!statement_row(c, &asset_sql_pack_verified_sql, &args, &rows, err))
        return false;
    *changed = (size_t)rows_i64(&rows, 0, 0);
    return true;
}

bool catalog_pack_damaged(Catalog *c, const Fence *fence, uint64_t pack_no, Text why, Err *err)
{
    scoped(args_free) Args args = {0};
    statement_fence(&args, fence);
    args_i64(&args, (int64_t)pack_no);
    args_text(&args, why);
    return statement_run(c, &asset_sql_pack_damaged_sql, &args, NULL, err);
}
