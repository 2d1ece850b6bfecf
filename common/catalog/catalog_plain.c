/* SPDX-License-Identifier: Apache-2.0 */
#include "common/catalog/catalog_plain.h"

#include "common/base/mem.h"
#include "common/catalog/statement.h"

enum { TAKEN_AT_ONCE = 200 };

bool catalog_plain_open(Catalog *c, const Fence *fence, PlainOpened *out, Err *err)
{
    scoped(args_free) Args args = {0};
    scoped(rows_free) Rows rows = {0};
    statement_fence(&args, fence);
    *out = (PlainOpened){0};
    if (!statement_run(c, &asset_sql_plain_open_sql, &args, &rows, err))
        return false;
    if (rows_count(&rows) == 0)
        return true;
    rows_copy(&rows, 0, 0, out->name, sizeof out->name);
    out->bytes = rows_u64(&rows, 0, 1);
    out->hashed = !rows_null(&rows, 0, 2);
    rows_sha256(&rows, 0, 2, &out->sha256);
    out->committed = rows_flag(&rows, 0, 3);
    out->newest = rows_flag(&rows, 0, 4);
    out->told = rows_flag(&rows, 0, 5);
    return true;
}

bool catalog_plain_stage(Catalog *c, const Fence *fence, const PlainStage *stage, bool *ours,
                         Err *err)
{
    scoped(args_free) Args args = {0};
    scoped(rows_free) Rows rows = {0};
    statement_fence(&args, fence);
    args_text(&args, text_of(stage->name));
    args_text(&args, stage->latest);
    args_flag(&args, stage->meta);
    if (stage->sha256 == NULL) {
        args_i64_null(&args);
        args_bytes(&args, NULL, 0);
    } else {
        args_i64(&args, (int64_t)stage->bytes);
        args_bytes(&args, stage->sha256->bytes, sizeof stage->sha256->bytes);
    }
    if (!statement_row(c, &asset_sql_plain_stage_sql, &args, &rows, err))
        return false;
    *ours = rows_flag(&rows, 0, 0);
    return true;
}

bool catalog_plain_commit(Catalog *c, const Fence *fence, bool *newest, Err *err)
{
    scoped(args_free) Args args = {0};
    scoped(rows_free) Rows rows = {0};
    statement_fence(&args, fence);
    if (!statement_row(c, &asset_sql_plain_commit_sql, &args, &rows, err))
        return false;
    *newest = rows_flag(&rows, 0, 0);
    return true;
}

bool catalog_plain_latest(Catalog *c, const Fence *fence, Err *err)
{
    scoped(args_free) Args args = {0};
    statement_fence(&args, fence);
    return statement_run(c, &asset_sql_plain_latest_sql, &args, NULL, err);
}

bool catalog_plain_give_up(Catalog *c, const Fence *fence, Text why, Err *err)
{
    scoped(args_free) Args args = {0};
    statement_fence(&args, fence);
    args_text(&args, why);
    return statement_run(c, &asset_sql_plain_give_up_sql, &args, NULL, err);
}

bool catalog_plain_take(Catalog *c, const Fence *fence, PlainGoing **out, size_t *count, Err *err)
{
    scoped(args_free) Args args = {0};
    scoped(rows_free) Rows rows = {0};
    statement_fence(&args, fence);
    args_i32(&args, TAKEN_AT_ONCE);
    if (!statement_run(c, &asset_sql_plain_take_sql, &args, &rows, err))
        return false;
    *count = rows_count(&rows);
    *out = mem_array(PlainGoing, *count);
    for (size_t i = 0; i < *count; i++) {
        PlainGoing *row = &(*out)[i];
        row->no = rows_u64(&rows, i, 0);
        rows_copy(&rows, i, 1, row->name, sizeof row->name);
        row->bytes = rows_u64(&rows, i, 2);
        row->hashed = !rows_null(&rows, i, 3);
        rows_sha256(&rows, i, 3, &row->sha256);
        rows_copy(&rows, i, 4, row->why, sizeof row->why);
    }
    return true;
}

bool catalog_plain_gone(Catalog *c, const Fence *fence, uint64_t no, Err *err)
{
    scoped(args_free) Args args = {0};
    statement_fence(&args, fence);
    args_i64(&args, (int64_t)no);
    return statement_run(c, &asset_sql_plain_gone_sql, &args, NULL, err);
}

bool catalog_plain_left(Catalog *c, const Fence *fence, const char *name, bool *left, Err *err)
{
    scoped(args_free) Args args = {0};
    scoped(rows_free) Rows rows = {0};
    statement_fence(&args, fence);
    args_text(&args, text_of(name));
    if (!statement_row(c, &asset_sql_plain_left_sql, &args, &rows, err))
        return false;
    *left = rows_flag(&rows, 0, 0);
    return true;
}
