/* SPDX-License-Identifier: Apache-2.0 */
#include "common/catalog/catalog_verify.h"

#include "common/base/mem.h"
#include "common/catalog/statement.h"

enum { PACKS_A_PAGE = 1000 };

/* no, object, pack, kind, bytes, sha256, from this column on. */
static void take_pack(const Rows *rows, size_t i, int column, PackRow *out)
{
    *out = (PackRow){.pack_no = rows_u64(rows, i, column), .bytes = rows_u64(rows, i, column + 4)};
    rows_uuid(rows, i, column + 1, &out->object);
    rows_uuid(rows, i, column + 2, &out->pack);
    out->kind = text_equal(rows_text(rows, i, column + 3), TEXT("meta")) ? PACK_META : PACK_DATA;
    rows_sha256(rows, i, column + 5, &out->sha256);
}

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
            PackRow row;
            take_pack(&rows, i, 0, &row);
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

/* --- rounds --------------------------------------------------------------------------------- */

bool catalog_verify_ask(Catalog *c, const VerifyAsk *ask, JobCreated *out, Err *err)
{
    scoped(args_free) Args args = {0};
    scoped(rows_free) Rows rows = {0};
    args_text(&args, ask->source);
    args_text(&args, ask->level);
    args_text_or_null(&args, ask->store);
    if (ask->within_s == 0)
        args_i64_null(&args);
    else
        args_i64(&args, (int64_t)ask->within_s);
    args_text_or_null(&args, ask->pool);
    args_text(&args, ask->actor);
    args_text_or_null(&args, ask->idempotency_key);
    if (!statement_row(c, &asset_sql_verify_ask_sql, &args, &rows, err))
        return false;
    *out = (JobCreated){.job = rows_u64(&rows, 0, 0),
                        .pool = rows_u32(&rows, 0, 1),
                        .again = rows_flag(&rows, 0, 2)};
    return true;
}

bool catalog_verify_begin(Catalog *c, const Fence *fence, VerifyRound *out, Err *err)
{
    scoped(args_free) Args args = {0};
    scoped(rows_free) Rows rows = {0};
    statement_fence(&args, fence);
    if (!statement_row(c, &asset_sql_verify_begin_sql, &args, &rows, err))
        return false;
    *out = (VerifyRound){rows_u64(&rows, 0, 0), rows_u64(&rows, 0, 1), rows_u64(&rows, 0, 2),
                         rows_u64(&rows, 0, 3)};
    return true;
}

bool catalog_verify_next(Catalog *c, const Fence *fence, uint64_t *after, PackRow *out,
                         size_t *count, Err *err)
{
    scoped(args_free) Args args = {0};
    scoped(rows_free) Rows rows = {0};
    statement_fence(&args, fence);
    args_i64(&args, (int64_t)*after);
    args_i32(&args, (int32_t)*count);
    if (!statement_run(c, &asset_sql_verify_next_sql, &args, &rows, err))
        return false;
    *count = rows_count(&rows);
    for (size_t i = 0; i < *count; i++) {
        take_pack(&rows, i, 1, &out[i]);
        *after = rows_u64(&rows, i, 0);
    }
    return true;
}

bool catalog_verify_seen(Catalog *c, const Fence *fence, const uint64_t *pack_nos,
                         const Sha256 *sha256s, size_t count, Err *err)
{
    scoped(args_free) Args args = {0};
    statement_fence(&args, fence);
    statement_packs(&args, pack_nos, sha256s, count);
    return statement_run(c, &asset_sql_verify_seen_sql, &args, NULL, err);
}

bool catalog_verify_end(Catalog *c, const Fence *fence, VerifyJudged *out, Err *err)
{
    scoped(args_free) Args args = {0};
    scoped(rows_free) Rows rows = {0};
    *out = (VerifyJudged){0};
    statement_fence(&args, fence);
    if (!statement_row(c, &asset_sql_verify_end_sql, &args, &rows, err))
        return false;
    out->proved = rows_u64(&rows, 0, 3);
    out->losses = mem_array(VerifyLoss, rows_count(&rows));
    for (size_t i = 0; i < rows_count(&rows); i++) {
        VerifyLoss *loss = &out->losses[out->loss_count];
        if (rows_null(&rows, i, 0))
            continue;
        rows_uuid(&rows, i, 0, &loss->backup);
        rows_uuid(&rows, i, 1, &loss->object);
        loss->chunks = rows_u64(&rows, i, 2);
        out->loss_count++;
    }
    return true;
}
