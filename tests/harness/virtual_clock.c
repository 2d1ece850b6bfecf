/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/harness/virtual_clock.h"

#include "common/catalog/catalog_policy.h"

#include <stdio.h>
#include <stdlib.h>

/* pg_catalog is searched first unless a path names it later. Defaults of columns were bound when
 * their tables were made; they are bound again. */
static const char script[] =
    "CREATE SCHEMA virtual;\n"
    "INSERT INTO holdfast.setting VALUES ('virtual_ms', 0, 'a test''s clock');\n"
    "CREATE FUNCTION virtual.clock_timestamp() RETURNS timestamptz LANGUAGE plpgsql SECURITY "
    "DEFINER AS $$ BEGIN RETURN (SELECT to_timestamp(value / 1000.0) FROM holdfast.setting WHERE "
    "name = 'virtual_ms'); END $$;\n"
    "CREATE FUNCTION virtual.random() RETURNS float8 LANGUAGE sql AS 'SELECT 0.5::float8';\n"
    "CREATE FUNCTION virtual.pg_postmaster_start_time() RETURNS timestamptz LANGUAGE sql AS "
    "$$SELECT 'epoch'::timestamptz$$;\n"
    "GRANT USAGE ON SCHEMA virtual TO PUBLIC;\n"
    "GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA virtual TO PUBLIC;\n"
    "DO $$ DECLARE f record; BEGIN\n"
    "  FOR f IN SELECT oid::regprocedure AS name FROM pg_proc WHERE pronamespace = "
    "'holdfast'::regnamespace AND prokind = 'f' LOOP\n"
    "    EXECUTE format('ALTER FUNCTION %s SET search_path = virtual, holdfast, pg_catalog, "
    "pg_temp', f.name);\n"
    "  END LOOP;\n"
    "  FOR f IN SELECT adrelid::regclass AS tab, attname AS col FROM pg_attrdef JOIN pg_attribute "
    "ON attrelid = adrelid AND attnum = adnum WHERE pg_get_expr(adbin, adrelid) = "
    "'clock_timestamp()' LOOP\n"
    "    EXECUTE format('ALTER TABLE %s ALTER COLUMN %I SET DEFAULT virtual.clock_timestamp()', "
    "f.tab, f.col);\n"
    "  END LOOP;\n"
    "END $$;\n";

void virtual_clock_begin(const Fleet *fleet, const char *roles)
{
    char sql[4096];
    postgres_do(fleet->pg, "postgres", "postgres", script);
    for (const char *at = roles; *at != '\0';) {
        int len = (int)strcspn(at, ",");
        snprintf(sql, sizeof sql, "ALTER ROLE %.*s SET search_path = virtual, pg_catalog", len, at);
        postgres_do(fleet->pg, "postgres", "postgres", sql);
        at += len + (at[len] == ',');
    }
    /* What a role is set to holds for connections that begin now; a pooler keeps old ones. */
    if (fleet->pooler != NULL)
        pooler_reconnect(fleet->pooler);
}

void virtual_clock_set(Catalog *scheduler, int64_t now_ms)
{
    Err err = {0};
    if (catalog_setting_set(scheduler, TEXT("virtual_ms"), (double)now_ms, &err))
        return;
    fprintf(stderr, "harness: the virtual clock: %s\n", err.text);
    abort();
}
