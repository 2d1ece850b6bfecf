/* SPDX-License-Identifier: Apache-2.0 */
#include "common/catalog/catalog_migrate.h"
#include "tests/harness/postgres.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

static Postgres *pg;

static Catalog *admin(void)
{
    Catalog *c = NULL;
    Err err = {0};
    if (!catalog_migrate_open(&c, &(CatalogParams){.conninfo = postgres_url(pg)}, &err))
        fail_msg("%s", err.text);
    return c;
}

static void an_empty_database_gets_the_newest_schema(void **state)
{
    Catalog *c = admin();
    MigrateReport report;
    Err err = {0};
    (void)state;
    if (!catalog_migrate(c, &report, &err))
        fail_msg("%s: %s", err.cause, err.text);
    assert_int_equal(report.before, 0);
    assert_int_equal(report.after, catalog_migrate_newest());
    if (!catalog_migrate_check(c, &err))
        fail_msg("%s: %s", err.cause, err.text);
    catalog_close(c);
}

static int start(void **state)
{
    (void)state;
    pg = postgres_start(NULL);
    return 0;
}

static int stop(void **state)
{
    (void)state;
    postgres_stop(pg);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_empty_database_gets_the_newest_schema),
    };
    return cmocka_run_group_tests(tests, start, stop);
}
