/* SPDX-License-Identifier: Apache-2.0 */
#include "common/catalog/catalog_verify.h"

#include "common/base/mem.h"
#include "common/catalog/statement.h"

enum { PACKS_A_PAGE = 1000 };

bool catalog_pack_unseen(Catalog *c, const Fence *fence, const Uuid *backup, bool seen,
                         PackVisit *visit, void *ctx, Err *err)
{
    scoped(rows_free) Rows rows = {0};
    uint64_t after = 0;
    for (;;) {
        scoped(args_free) Args args = {0};
        statement_fence(&args, fence);
        args_uuid(&args, backup);
        args_flag(&args, seen);
        args_i64(&args, (int64_t)after);
        args_i32(&args, PACKS_A_PAGE);
        if (!statement_run(c, &asset_sql_pack_unseen_sql, &args, &rows, err))
            return false;
        if (rows_count(&rows) == 0)
            return true;
        for (size_t i = 0; i < rows_count(&rows); i++) {
            PackRow row = {.pack_no = rows_u64(&rows, i, 0), .bytes = rows_u64(&rows, i, 4)};
            rows_uuid(&rows, i, 1, &row.object);
            rows_uuid(&rows, i, 2, &row.pack);
            row.kind = text_equal(rows_text(&rows, i, 3), TEXT("meta")) ? PACK_META : PACK_DATA;
            rows_sha256(&rows, i, 5, &row.sha256);
            after = row.pack_no;
            if (!visit(ctx, &row, err))
                return false;
        }
    }
}

bool catalog_pack_chunks(Catalog *c, const Fence *fence, uint64_t pack_no, ChunkRow **chunks,
                         size_t *count, Err *err)
{
    scoped(args_free) Args args = {0};
    scoped(rows_free) Rows rows = {0};
    statement_fence(&args, fence);
    args_i64(&args, (int64_t)pack_no);
    if (!statement_run(c, &asset_sql_pack_chunks_sql, &args, &rows, err))
        return false;
    *count = rows_count(&rows);
    *chunks = mem_array(ChunkRow, *count);
    for (size_t i = 0; i < *count; i++) {
        Slice id = rows_bytes(&rows, i, 0);
        ChunkRow *chunk = &(*chunks)[i];
        if (id.len == sizeof chunk->id.bytes)
            memcpy(chunk->id.bytes, id.at, id.len);
        chunk->ordinal = rows_u32(&rows, i, 1);
        chunk->codec = (uint8_t)rows_u32(&rows, i, 2);
        chunk->offset = rows_u64(&rows, i, 3);
        chunk->stored = rows_u32(&rows, i, 4);
        chunk->plain = rows_u32(&rows, i, 5);
    }
    return true;
}
