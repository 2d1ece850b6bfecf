/* SPDX-License-Identifier: Apache-2.0 */
#include "common/catalog/catalog_audit.h"

#include "common/catalog/statement.h"

bool catalog_audit_add(Catalog *c, const AuditRow *row, Err *err)
{
    scoped(args_free) Args args = {0};
    args_text(&args, row->actor);
    args_text(&args, row->actor_kind);
    args_text(&args, row->via);
    args_text(&args, row->client_ip);
    args_text(&args, row->action);
    args_text(&args, row->object);
    args_text(&args, row->reason);
    args_text(&args, row->result);
    args_text(&args, row->detail.len == 0 ? TEXT("{}") : row->detail);
    return statement_run(c, &asset_sql_audit_add_sql, &args, NULL, err);
}

bool catalog_audit_chain(Catalog *c, uint32_t *linked, Err *err)
{
    scoped(rows_free) Rows rows = {0};
    if (!statement_row(c, &asset_sql_audit_chain_sql, NULL, &rows, err))
        return false;
    *linked = rows_u32(&rows, 0, 0);
    return true;
}

bool catalog_audit_head(Catalog *c, uint64_t *seq, Sha256 *hash, Err *err)
{
    scoped(rows_free) Rows rows = {0};
    *seq = 0;
    *hash = (Sha256){0};
    if (!statement_run(c, &asset_sql_audit_head_sql, NULL, &rows, err))
        return false;
    if (rows_count(&rows) > 0) {
        *seq = rows_u64(&rows, 0, 0);
        rows_sha256(&rows, 0, 1, hash);
    }
    return true;
}

bool catalog_audit_anchor(Catalog *c, uint64_t seq, const Sha256 *hash, Text copied_to, Err *err)
{
    scoped(args_free) Args args = {0};
    args_i64(&args, (int64_t)seq);
    args_bytes(&args, hash->bytes, sizeof hash->bytes);
    args_text(&args, copied_to);
    return statement_run(c, &asset_sql_audit_anchor_sql, &args, NULL, err);
}
