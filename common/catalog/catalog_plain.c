/* SPDX-License-Identifier: Apache-2.0 */
#include "common/catalog/catalog_plain.h"

#include "common/catalog/statement.h"

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

bool catalog_plain_stage(Catalog *c, const Fence *fence, const char *name, bool meta,
                         uint64_t bytes, const Sha256 *sha256, bool *ours, Err *err)
{
    scoped(args_free) Args args = {0};
    scoped(rows_free) Rows rows = {0};
    statement_fence(&args, fence);
    args_text(&args, text_of(name));
    args_flag(&args, meta);
    if (sha256 == NULL) {
        args_i64_null(&args);
        args_bytes(&args, NULL, 0);
    } else {
        args_i64(&args, (int64_t)bytes);
        args_bytes(&args, sha256->bytes, sizeof sha256->bytes);
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
