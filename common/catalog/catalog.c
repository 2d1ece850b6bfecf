/* SPDX-License-Identifier: Apache-2.0 */
#include "common/catalog/catalog_migrate.h"
#include "common/catalog/statement.h"

bool catalog_open(Catalog **out, const CatalogParams *params, Err *err)
{
    unsigned version;
    if (!statement_connect(out, params, err))
        return false;
    if (catalog_migrate_version(*out, &version, err) && version == catalog_migrate_newest() &&
        (params->checked || catalog_migrate_check(*out, err)))
        return true;
    if (err->code == ERR_NONE)
        err_set(err, ERR_CONFLICT,
                version > catalog_migrate_newest() ? "catalogue.newer" : "catalogue.older",
                "the schema has version %u, this program %u: %s", version, catalog_migrate_newest(),
                version > catalog_migrate_newest() ? "upgrade the program"
                                                   : "run holdfast-scheduler migrate");
    catalog_close(*out);
    *out = NULL;
    return false;
}

bool catalog_ok(const Catalog *c)
{
    return statement_ok(c);
}

bool catalog_reset(Catalog *c, Err *err)
{
    return statement_reset(c, err);
}

bool catalog_server_now(Catalog *c, int64_t *now_ns, Err *err)
{
    scoped(rows_free) Rows rows = {0};
    if (!statement_row(c, &asset_sql_server_now_sql, NULL, &rows, err))
        return false;
    *now_ns = rows_time(&rows, 0, 0);
    return true;
}

void catalog_close(Catalog *c)
{
    statement_close(c);
}
