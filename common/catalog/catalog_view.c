/* SPDX-License-Identifier: Apache-2.0 */
#include "common/catalog/catalog_view.h"

#include "common/catalog/statement.h"
#include "common/catalog/view_args.h"

static const Asset *const views[] = {
#define STATEMENT(name)
#define VIEW(symbol, name) [symbol] = &asset_sql_##name##_sql,
#include "common/catalog/statements.def"
#undef STATEMENT
#undef VIEW
};

bool catalog_view(Catalog *c, CatalogView view, const ViewArgs *view_args, Buf *json, Err *err)
{
    static const ViewArgs any;
    scoped(args_free) Args args = {0};
    scoped(rows_free) Rows rows = {0};
    view_args_add(&args, view_args == NULL ? &any : view_args);
    if (!statement_run(c, views[view], &args, &rows, err))
        return false;
    if (rows_count(&rows) == 0)
        return err_set(err, ERR_MISSING, "view.nothing", "the catalogue has nothing of that name");
    buf_add_text(json, rows_text(&rows, 0, 0));
    return true;
}

bool catalog_view_select(Catalog *c, Text source, int64_t at_ns, uint32_t back, Uuid *backup,
                         Err *err)
{
    scoped(args_free) Args args = {0};
    scoped(rows_free) Rows rows = {0};
    args_text(&args, source);
    args_time(&args, at_ns);
    args_i64(&args, back);
    if (!statement_run(c, &asset_sql_backup_select_sql, &args, &rows, err))
        return false;
    if (rows_count(&rows) == 0)
        return err_set(err, ERR_MISSING, "backup.unknown",
                       "%.*s has no such backup: holdfast backup list --source %.*s",
                       TEXT_ARG(source), TEXT_ARG(source));
    rows_uuid(&rows, 0, 0, backup);
    return true;
}
