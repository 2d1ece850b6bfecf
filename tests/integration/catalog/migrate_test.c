/* SPDX-License-Identifier: Apache-2.0
 * The schema: made once, by one, never downgraded; and the lists that must agree with it. */
#include "common/base/secret.h"
#include "common/catalog/catalog_enroll.h"
#include "common/catalog/catalog_migrate.h"
#include "protocol/lifecycle.h"
#include "tests/integration/catalog/check.h"

#include <glob.h>
#include <pthread.h>

static Postgres *pg;

static Catalog *admin_of(const char *database)
{
    char conninfo[256];
    Catalog *c = NULL;
    postgres_as(pg, "postgres", database, conninfo);
    OK(catalog_migrate_open(&c, &(CatalogParams){.conninfo = conninfo}, &err));
    return c;
}

static void an_empty_database_gets_the_newest_schema_and_a_second_run_changes_nothing(void **state)
{
    Catalog *c = admin_of("postgres");
    MigrateReport report;
    unsigned version;
    (void)state;
    OK(catalog_migrate_version(c, &version, &err));
    assert_int_equal(version, 0);
    OK(catalog_migrate(c, &report, &err));
    assert_int_equal(report.before, 0);
    assert_int_equal(report.after, catalog_migrate_newest());
    OK(catalog_migrate(c, &report, &err));
    assert_int_equal(report.before, catalog_migrate_newest());
    OK(catalog_migrate_check(c, &err));
    catalog_close(c);
}

static void *migrate_beside(void *database)
{
    Catalog *c = admin_of(database);
    MigrateReport report;
    OK(catalog_migrate(c, &report, &err));
    assert_int_equal(report.after, catalog_migrate_newest());
    catalog_close(c);
    return NULL;
}

static void four_runs_at_once_do_the_work_once(void **state)
{
    char name[] = "together";
    pthread_t threads[4];
    (void)state;
    postgres_do(pg, "postgres", "postgres", "CREATE DATABASE together");
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, migrate_beside, name), 0);
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    Catalog *c = admin_of("together");
    OK(catalog_migrate_check(c, &err));
    catalog_close(c);
}

static void a_newer_schema_is_refused_with_both_numbers(void **state)
{
    char conninfo[256];
    MigrateReport report;
    Catalog *c;
    (void)state;
    postgres_do(pg, "postgres", "postgres", "CREATE DATABASE newer");
    c = admin_of("newer");
    OK(catalog_migrate(c, &report, &err));
    postgres_do(pg, "postgres", "newer", "INSERT INTO holdfast.schema_version VALUES (9000, 'x')");
    REFUSED("catalogue.newer", catalog_migrate(c, &report, &err));
    Err text = {0};
    assert_false(catalog_migrate(c, &report, &text));
    assert_non_null(strstr(text.text, "9000"));
    catalog_close(c);
    postgres_as(pg, "holdfast_scheduler", "newer", conninfo);
    REFUSED("catalogue.newer", catalog_open(&c, &(CatalogParams){.conninfo = conninfo}, &err));
    REFUSED("catalogue.newer",
            catalog_open(&c, &(CatalogParams){.conninfo = conninfo, .checked = true}, &err));
}

static void a_database_without_the_schema_says_migrate(void **state)
{
    char conninfo[256];
    Catalog *c;
    (void)state;
    postgres_do(pg, "postgres", "postgres", "CREATE DATABASE none");
    postgres_as(pg, "holdfast_scheduler", "none", conninfo);
    REFUSED("catalogue.older", catalog_open(&c, &(CatalogParams){.conninfo = conninfo}, &err));
    REFUSED("catalogue.older",
            catalog_open(&c, &(CatalogParams){.conninfo = conninfo, .checked = true}, &err));
}

static void a_migration_that_dies_leaves_the_last_whole_number(void **state)
{
    MigrateReport report;
    unsigned version;
    (void)state;
    postgres_do(pg, "postgres", "postgres", "CREATE DATABASE broken");
    /* Something stands in the way of the third one. */
    postgres_do(pg, "postgres", "broken",
                "CREATE SCHEMA holdfast AUTHORIZATION holdfast_owner; "
                "CREATE TABLE holdfast.chunk (x int)");
    Catalog *c = admin_of("broken");
    Err why = {0};
    assert_false(catalog_migrate(c, &report, &why));
    assert_non_null(strstr(why.text, "0003"));
    OK(catalog_migrate_version(c, &version, &err));
    assert_int_equal(version, 2);
    postgres_do(pg, "postgres", "broken", "DROP TABLE holdfast.chunk");
    OK(catalog_migrate(c, &report, &err));
    assert_int_equal(report.before, 2);
    catalog_close(c);
}

static void an_administrator_need_not_be_a_superuser(void **state)
{
    char conninfo[256];
    MigrateReport report;
    Catalog *c;
    Text pool = TEXT("fra");
    (void)state;
    postgres_do(pg, "postgres", "postgres",
                "CREATE ROLE keeper LOGIN CREATEROLE; CREATE DATABASE kept OWNER keeper; GRANT "
                "holdfast_owner TO keeper");
    postgres_as(pg, "keeper", "kept", conninfo);
    OK(catalog_migrate_open(&c, &(CatalogParams){.conninfo = conninfo}, &err));
    OK(catalog_migrate(c, &report, &err));
    Secret *word = secret_new((Slice){(const uint8_t *)"pass", 4});
    OK(catalog_enroll(c,
                      &(EnrollParams){.name = TEXT("kept-w"),
                                      .host = TEXT("h"),
                                      .pools = &pool,
                                      .pool_count = 1,
                                      .password = word},
                      &err));
    OK(catalog_migrate_password(c, word, &err));
    OK(catalog_enroll_drop(c, TEXT("kept-w"), &err));
    secret_free(word);
    catalog_close(c);
}

static void a_role_that_is_no_worker_is_not_made_one(void **state)
{
    Text pool = TEXT("fra");
    (void)state;
    Catalog *c = admin_of("postgres");
    REFUSED("enroll.role_exists", catalog_enroll(c,
                                                 &(EnrollParams){.name = TEXT("postgres"),
                                                                 .host = TEXT("h"),
                                                                 .pools = &pool,
                                                                 .pool_count = 1},
                                                 &err));
    REFUSED("catalogue.constraint", catalog_enroll(c,
                                                   &(EnrollParams){.name = TEXT("Bad Name"),
                                                                   .host = TEXT("h"),
                                                                   .pools = &pool,
                                                                   .pool_count = 1},
                                                   &err));
    REFUSED("worker.unknown", catalog_enroll_drop(c, TEXT("nobody"), &err));
    catalog_close(c);
}

/* --- lists that must agree ------------------------------------------------------------------- */

static int64_t count_of(const char *sql)
{
    Fleet view = {.pg = pg};
    return fleet_count(&view, sql);
}

static void the_moves_that_SQL_allows_are_those_of_the_life_cycle(void **state)
{
    static const struct {
        JobState from;
        const char *event;
        JobState to;
    } moves[] = {
#define STATE(...)
#define MOVE(from, event, to, why) {JOB_##from, #event, JOB_##to},
#include "protocol/lifecycle.def"
#undef STATE
#undef MOVE
    };
    size_t count = sizeof moves / sizeof moves[0];
    char sql[600];
    (void)state;
    for (size_t i = 0; i < count; i++) {
        snprintf(sql, sizeof sql,
                 "SELECT count(*) FROM lifecycle WHERE from_state = '%s' AND event "
                 "= '%s' AND to_state = '%s'",
                 lifecycle_name(moves[i].from), moves[i].event, lifecycle_name(moves[i].to));
        if (count_of(sql) != 1)
            fail_msg("SQL has no move %s", sql);
    }
    assert_int_equal(count_of("SELECT count(*) FROM lifecycle"), count);
    for (JobState state_of = 0; state_of < JOB_STATE_COUNT; state_of++) {
        snprintf(
            sql, sizeof sql,
            "SELECT count(*) FROM pg_constraint c JOIN pg_proc p ON p.proname = c.conname WHERE "
            "c.conrelid = 'job'::regclass AND c.contype = 'c' AND c.conname = 'job_sound' AND "
            "p.prosrc LIKE '%%''%s''%%'",
            lifecycle_name(state_of));
        assert_true(count_of(sql) > 0);
    }
    /* What a row of a job may not be: kind, trigger, schedule, slot, lanes, priority, state, claim,
     * finished_at, max_failures. The first one is sound. */
    static const char *const rows[] = {
        "'backup', 'manual', NULL, NULL, 1, 0, 'running', gen_random_uuid(), NULL, 3",
        "'backups', 'manual', NULL, NULL, 1, 0, 'running', gen_random_uuid(), NULL, 3",
        "'backup', 'chance', NULL, NULL, 1, 0, 'running', gen_random_uuid(), NULL, 3",
        "'backup', 'manual', 'nightly', NULL, 1, 0, 'running', gen_random_uuid(), NULL, 3",
        "'backup', 'manual', NULL, now(), 1, 0, 'running', gen_random_uuid(), NULL, 3",
        "'backup', 'manual', NULL, NULL, 4, 0, 'running', gen_random_uuid(), NULL, 3",
        "'backup', 'manual', NULL, NULL, 1, 101, 'running', gen_random_uuid(), NULL, 3",
        "'backup', 'manual', NULL, NULL, 1, 0, 'walking', NULL, NULL, 3",
        "'backup', 'manual', NULL, NULL, 1, 0, 'running', NULL, NULL, 3",
        "'backup', 'manual', NULL, NULL, 1, 0, 'pending', gen_random_uuid(), NULL, 3",
        "'backup', 'manual', NULL, NULL, 1, 0, 'completed', NULL, NULL, 3",
        "'backup', 'manual', NULL, NULL, 1, 0, 'pending', NULL, now(), 3",
        "'backup', 'manual', NULL, NULL, 1, 0, 'running', gen_random_uuid(), NULL, 0"};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        snprintf(sql, sizeof sql,
                 "SELECT count(*) FROM (VALUES (%s)) v(k, t, e, s, l, p, a, c, f, m) WHERE "
                 "job_sound(k, t, e, s::timestamptz, l::smallint, p::smallint, a, c::uuid, "
                 "f::timestamptz, m)",
                 rows[i]);
        assert_int_equal(count_of(sql), i == 0);
    }
}

static void every_file_of_statements_and_migrations_is_listed(void **state)
{
    static const char *const listed[] = {
#define STATEMENT(name)    #name,
#define VIEW(symbol, name) #name,
#include "common/catalog/statements.def"
#undef STATEMENT
#undef VIEW
    };
    static const char *const migrations[] = {
        "0000_roles",
#define MIGRATION(name) #name,
#include "common/catalog/migrations.def"
#undef MIGRATION
    };
    glob_t found;
    (void)state;
    assert_int_equal(glob("common/catalog/sql/*.sql", 0, NULL, &found), 0);
    assert_int_equal(found.gl_pathc, sizeof listed / sizeof listed[0]);
    for (size_t i = 0; i < found.gl_pathc; i++) {
        FILE *file = fopen(found.gl_pathv[i], "r");
        char line[256];
        assert_non_null(file);
        assert_non_null(fgets(line, sizeof line, file));
        if (strncmp(line, "-- ", 3) != 0)
            fail_msg("%s does not begin with what it returns", found.gl_pathv[i]);
        fclose(file);
    }
    globfree(&found);
    assert_int_equal(glob("common/catalog/migrations/*.sql", 0, NULL, &found), 0);
    assert_int_equal(found.gl_pathc, sizeof migrations / sizeof migrations[0]);
    for (size_t i = 0; i < found.gl_pathc; i++)
        assert_non_null(strstr(found.gl_pathv[i], migrations[i]));
    globfree(&found);
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
        cmocka_unit_test(an_empty_database_gets_the_newest_schema_and_a_second_run_changes_nothing),
        cmocka_unit_test(four_runs_at_once_do_the_work_once),
        cmocka_unit_test(a_newer_schema_is_refused_with_both_numbers),
        cmocka_unit_test(a_database_without_the_schema_says_migrate),
        cmocka_unit_test(a_migration_that_dies_leaves_the_last_whole_number),
        cmocka_unit_test(an_administrator_need_not_be_a_superuser),
        cmocka_unit_test(a_role_that_is_no_worker_is_not_made_one),
        cmocka_unit_test(the_moves_that_SQL_allows_are_those_of_the_life_cycle),
        cmocka_unit_test(every_file_of_statements_and_migrations_is_listed),
    };
    return cmocka_run_group_tests(tests, start, stop);
}
