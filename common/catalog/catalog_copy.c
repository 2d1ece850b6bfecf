/* SPDX-License-Identifier: Apache-2.0 */
#include "common/catalog/catalog_copy.h"

#include "common/catalog/statement.h"

enum { PACKS_A_PAGE = 1000 };

bool catalog_copy_open(Catalog *c, const Fence *fence, uint32_t from, CopyOpened *out, Err *err)
{
    scoped(args_free) Args args = {0};
    scoped(rows_free) Rows rows = {0};
    statement_fence(&args, fence);
    args_i32(&args, (int32_t)from);
    if (!statement_row(c, &asset_sql_copy_open_sql, &args, &rows, err))
        return false;
    *out = (CopyOpened){.packs = rows_u64(&rows, 0, 2),
                        .bytes = rows_u64(&rows, 0, 3),
                        .present = rows_flag(&rows, 0, 4)};
    rows_uuid(&rows, 0, 0, &out->backup);
    rows_sha256(&rows, 0, 1, &out->manifest_sha256);
    return true;
}

static void read_pack(const Rows *rows, size_t i, CopyPack *pack)
{
    PackRow *row = &pack->row;
    *pack = (CopyPack){.have = rows_u64(rows, i, 6), .have_staged = rows_flag(rows, i, 8)};
    row->pack_no = rows_u64(rows, i, 0);
    rows_uuid(rows, i, 1, &row->object);
    rows_uuid(rows, i, 2, &row->pack);
    row->kind = text_equal(rows_text(rows, i, 3), TEXT("meta")) ? PACK_META : PACK_DATA;
    row->bytes = rows_u64(rows, i, 4);
    rows_sha256(rows, i, 5, &row->sha256);
    rows_uuid(rows, i, 7, &pack->have_object);
}

bool catalog_copy_packs(Catalog *c, const Fence *fence, uint32_t from, uint64_t after,
                        CopyPackVisit *visit, void *ctx, Err *err)
{
    scoped(args_free) Args args = {0};
    scoped(rows_free) Rows rows = {0};
    statement_fence(&args, fence);
    args_i32(&args, (int32_t)from);
    args_i64(&args, (int64_t)after);
    args_i32(&args, PACKS_A_PAGE);
    if (!statement_run(c, &asset_sql_copy_packs_sql, &args, &rows, err))
        return false;
    for (size_t i = 0; i < rows_count(&rows); i++) {
        CopyPack pack;
        read_pack(&rows, i, &pack);
        if (!visit(ctx, &pack, err))
            return false;
    }
    return true;
}

bool catalog_copy_stage(Catalog *c, const Fence *fence, uint64_t pack_no, const Uuid *object,
                        const PackRow *from, Err *err)
{
    scoped(args_free) Args args = {0};
    statement_fence(&args, fence);
    args_i64(&args, (int64_t)pack_no);
    args_uuid(&args, object);
    args_i64(&args, (int64_t)from->pack_no);
    args_i64(&args, (int64_t)from->bytes);
    args_bytes(&args, from->sha256.bytes, sizeof from->sha256.bytes);
    return statement_run(c, &asset_sql_copy_stage_sql, &args, NULL, err);
}

bool catalog_copy_damaged(Catalog *c, const Fence *fence, uint64_t pack_no, Text why, Err *err)
{
    scoped(args_free) Args args = {0};
    statement_fence(&args, fence);
    args_i64(&args, (int64_t)pack_no);
    args_text(&args, why);
    return statement_run(c, &asset_sql_copy_damaged_sql, &args, NULL, err);
}

bool catalog_copy_commit(Catalog *c, const Fence *fence, const CopyRow *row, CommitAnswer *answer,
                         char detail[256], Err *err)
{
    scoped(args_free) Args args = {0};
    scoped(rows_free) Rows rows = {0};
    statement_fence(&args, fence);
    args_i32(&args, (int32_t)row->from);
    args_uuid(&args, &row->index_object);
    args_array(&args, ELEMENT_I64, row->pack_count);
    for (size_t i = 0; i < row->pack_count; i++)
        args_element_i64(&args, (int64_t)row->pack_nos[i]);
    args_array_end(&args);
    args_i64(&args, (int64_t)row->new_bytes);
    return statement_row(c, &asset_sql_copy_commit_sql, &args, &rows, err) &&
           catalog_commit_answer(&rows, answer, detail, err);
}

bool catalog_copy_ask(Catalog *c, const CopyRequest *request, JobCreated *out, Err *err)
{
    scoped(args_free) Args args = {0};
    scoped(rows_free) Rows rows = {0};
    args_uuid(&args, &request->backup);
    args_text(&args, request->store);
    args_text_or_null(&args, request->pool);
    args_text(&args, request->actor);
    args_text_or_null(&args, request->idempotency_key);
    args_flag(&args, request->plain);
    if (!statement_row(c, &asset_sql_backup_copy_ask_sql, &args, &rows, err))
        return false;
    *out = (JobCreated){.job = rows_u64(&rows, 0, 0),
                        .pool = rows_u32(&rows, 0, 1),
                        .again = rows_flag(&rows, 0, 2)};
    return true;
}

bool catalog_copies_fire(Catalog *c, uint64_t *made, Err *err)
{
    scoped(rows_free) Rows rows = {0};
    if (!statement_row(c, &asset_sql_copies_fire_sql, NULL, &rows, err))
        return false;
    *made = rows_u64(&rows, 0, 0);
    return true;
}
