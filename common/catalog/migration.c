/* SPDX-License-Identifier: Apache-2.0 */
#include "common/catalog/migration.h"

extern const Asset asset_sql_0000_roles_sql;
#define MIGRATION(name) extern const Asset asset_sql_##name##_sql;
#include "common/catalog/migrations.def"
#undef MIGRATION

static const Asset *const scripts[] = {
#define MIGRATION(name) &asset_sql_##name##_sql,
#include "common/catalog/migrations.def"
#undef MIGRATION
};

size_t migration_count(void)
{
    return sizeof scripts / sizeof scripts[0];
}

const Asset *migration_at(size_t index)
{
    return scripts[index];
}

const Asset *migration_roles(void)
{
    return &asset_sql_0000_roles_sql;
}
