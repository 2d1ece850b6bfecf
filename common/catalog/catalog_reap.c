/* SPDX-License-Identifier: Apache-2.0 */
#include "common/base/mem.h"
#include "common/catalog/catalog_plan.h"
#include "common/catalog/statement.h"

bool catalog_reap(Catalog *c, ReapReport *out, Err *err)
{
    scoped(rows_free) Rows rows = {0};
    *out = (ReapReport){0};
    if (!statement_run(c, &asset_sql_reap_sql, NULL, &rows, err))
        return false;
    out->rows = mem_array(ReapRow, rows_count(&rows));
    for (size_t i = 0; i < rows_count(&rows); i++) {
        if (rows_u64(&rows, i, 0) == 0) {
            out->suspects = rows_u32(&rows, i, 4);
            out->grace = rows_flag(&rows, i, 5);
            out->mass = rows_flag(&rows, i, 6);
            continue;
        }
        ReapRow *row = &out->rows[out->count++];
        row->job = rows_u64(&rows, i, 0);
        row->attempt = rows_u64(&rows, i, 1);
        rows_uuid(&rows, i, 2, &row->instance);
        rows_copy(&rows, i, 3, row->state, sizeof row->state);
    }
    return true;
}

void catalog_reap_free(ReapReport *report)
{
    mem_free(report->rows);
    *report = (ReapReport){0};
}

bool catalog_reap_hold(Catalog *c, double silent_s, Err *err)
{
    scoped(args_free) Args args = {0};
    args_double(&args, silent_s);
    return statement_run(c, &asset_sql_reap_hold_sql, &args, NULL, err);
}

bool catalog_leader_take(Catalog *c, const Uuid *holder, Text host, uint64_t *term, Err *err)
{
    scoped(args_free) Args args = {0};
    scoped(rows_free) Rows rows = {0};
    args_uuid(&args, holder);
    args_text(&args, host);
    if (!statement_row(c, &asset_sql_leader_take_sql, &args, &rows, err))
        return false;
    *term = rows_u64(&rows, 0, 0);
    return true;
}

bool catalog_leader_resign(Catalog *c, const Uuid *holder, Err *err)
{
    scoped(args_free) Args args = {0};
    args_uuid(&args, holder);
    return statement_run(c, &asset_sql_leader_resign_sql, &args, NULL, err);
}

bool catalog_decision_add(Catalog *c, const DecisionRow *row, Err *err)
{
    scoped(args_free) Args args = {0};
    args_i64(&args, (int64_t)row->job);
    args_text_or_null(&args, row->source);
    args_text(&args, row->verdict);
    args_text(&args, row->code);
    args_text(&args, row->text);
    return statement_run(c, &asset_sql_decision_add_sql, &args, NULL, err);
}

bool catalog_housekeep(Catalog *c, Err *err)
{
    return statement_run(c, &asset_sql_housekeep_sql, NULL, NULL, err);
}

bool catalog_sweep(Catalog *c, uint64_t *swept, Err *err)
{
    scoped(rows_free) Rows rows = {0};
    if (!statement_row(c, &asset_sql_sweep_staged_sql, NULL, &rows, err))
        return false;
    *swept = rows_u64(&rows, 0, 0);
    return true;
}
