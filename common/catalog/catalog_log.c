/* SPDX-License-Identifier: Apache-2.0 */
#include "common/catalog/catalog_log.h"

#include "common/catalog/statement.h"

bool catalog_log_spooled(Catalog *c, const LogSpool *spool, uint64_t *job, Err *err)
{
    scoped(args_free) Args args = {0};
    scoped(rows_free) Rows rows = {0};
    args_text(&args, spool->system);
    args_i64(&args, (int64_t)spool->files);
    args_i64(&args, (int64_t)spool->bytes);
    args_time(&args, spool->oldest_ns);
    *job = 0;
    if (!statement_row(c, &asset_sql_log_spooled_sql, &args, &rows, err))
        return false;
    if (!rows_null(&rows, 0, 0))
        *job = rows_u64(&rows, 0, 0);
    return true;
}

bool catalog_log_idle(Catalog *c, const Fence *fence, Text text, Err *err)
{
    scoped(args_free) Args args = {0};
    scoped(rows_free) Rows rows = {0};
    statement_fence(&args, fence);
    args_text(&args, text);
    if (!statement_row(c, &asset_sql_log_idle_sql, &args, &rows, err))
        return false;
    return !text_equal(rows_text(&rows, 0, 0), TEXT("fenced")) ||
           err_set(err, ERR_FENCED, "job.fenced", "another attempt has this job");
}
