/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/integration/engine/postgresql_fixture.h"

#include "common/base/json.h"

static Server server, other;

static int start_servers(void **state)
{
    (void)state;
    server_start(&server);
    server_start(&other);
    server_sql(&server, "postgres", "CREATE ROLE owner_of_shop");
    server_sql(&server, "postgres",
               "CREATE ROLE clerk PASSWORD 'hidden'; GRANT clerk TO owner_of_shop");
    server_sql(&server, "postgres", "CREATE DATABASE shop OWNER owner_of_shop CONNECTION LIMIT 50");
    server_sql(&server, "postgres",
               "COMMENT ON DATABASE shop IS 'the shop''s';"
               "ALTER DATABASE shop SET search_path TO \"$user\", 'odd schema', public;"
               "ALTER DATABASE shop SET work_mem TO '5MB';"
               "ALTER ROLE clerk IN DATABASE shop SET statement_timeout TO '3s';"
               "REVOKE CONNECT ON DATABASE shop FROM PUBLIC; GRANT CONNECT ON DATABASE shop TO "
               "clerk");
    server_sql(&server, "shop",
               "SET search_path = public; CREATE TYPE state AS ENUM ('new', 'paid');"
               "CREATE TABLE customer (id serial PRIMARY KEY, name text);"
               "CREATE TABLE ordered (id serial PRIMARY KEY, customer integer REFERENCES customer, "
               "s state DEFAULT 'new', cents integer CHECK (cents > 0));"
               "CREATE INDEX by_cents ON ordered (cents);"
               "CREATE TABLE unrelated (id integer);"
               "INSERT INTO customer (name) SELECT 'c' || i FROM generate_series(1, 100) i;"
               "INSERT INTO ordered (customer, cents) SELECT i % 100 + 1, i FROM "
               "generate_series(1, 1000) i;"
               "INSERT INTO unrelated SELECT 1;"
               "ALTER TABLE ordered OWNER TO owner_of_shop; GRANT SELECT ON ordered TO clerk");
    server_sql(&server, "postgres", "CREATE DATABASE \"other/db\"");
    server_sql(&server, "other/db", "CREATE TABLE t AS SELECT 7 AS seven");
    return 0;
}

static int stop_servers(void **state)
{
    (void)state;
    server_stop(&server);
    server_stop(&other);
    return 0;
}

static void backup_of(const Server *from, Recording *backup, Surroundings *around, json_t **config,
                      const char *databases)
{
    surroundings_open(around);
    *config = server_config(from, databases);
    if (!record(backup, around, *config, 4))
        fail_msg("%s: %s", backup->err.cause, backup->err.text);
}

static void done(Recording *backup, Surroundings *around, json_t *config)
{
    json_decref(config);
    recording_free(backup);
    surroundings_close(around);
}

static void restore_well(Recording *backup, Surroundings *around, const json_t *config,
                         json_t *request, json_t **report)
{
    if (!restore(backup, around, config, request, report))
        fail_msg("%s: %s", backup->err.cause, backup->err.text);
    json_decref(request);
}

static void restore_badly(Recording *backup, Surroundings *around, const json_t *config,
                          json_t *request, const char *cause)
{
    assert_false(restore(backup, around, config, request, NULL));
    if (strcmp(backup->err.cause, cause) != 0)
        fail_msg("%s: %s", backup->err.cause, backup->err.text);
    json_decref(request);
}

static void assert_text(const Server *at, const char *database, const char *sql, const char *wanted)
{
    char *text = server_ask(at, database, sql);
    assert_string_equal(text, wanted);
    mem_free(text);
}

static const char nothing_left[] =
    "SELECT count(*) FROM pg_database WHERE datname LIKE 'holdfast%'";

static void the_database_s_own_settings_come_back(void **state)
{
    Surroundings around;
    Recording backup = {0};
    json_t *config;
    static const char settings[] =
        "SELECT d.datdba::regrole || ' ' || d.datconnlimit || ' ' || shobj_description(d.oid, "
        "'pg_database') || (SELECT string_agg(setrole || setconfig::text, ' ' ORDER BY setrole) "
        "FROM pg_db_role_setting WHERE setdatabase = d.oid) || (SELECT string_agg(x, ',' ORDER BY "
        "x) FROM (SELECT grantee::regrole || privilege_type AS x FROM aclexplode(d.datacl)) a) "
        "FROM pg_database d WHERE datname = current_database()";
    (void)state;
    backup_of(&server, &backup, &around, &config, "[\"shop\"]");
    restore_well(&backup, &around, config, json_pack("{s:{s:s}}", "target", "database", "shop_2"),
                 NULL);
    char *wanted = server_ask(&server, "shop", settings);
    assert_text(&server, "shop_2", settings, wanted);
    mem_free(wanted);
    assert_same_dump(&server, "shop", "shop_2");
    server_sql(&server, "postgres", "DROP DATABASE shop_2");
    done(&backup, &around, config);
}

static void one_table_comes_back_alone_with_what_hangs_on_it(void **state)
{
    Surroundings around;
    Recording backup = {0};
    json_t *config, *report = NULL;
    (void)state;
    backup_of(&server, &backup, &around, &config, "[\"shop\", \"other/db\"]");
    restore_well(&backup, &around, config,
                 json_pack("{s:{s:s}, s:{s:[s]}}", "target", "database", "one", "select", "paths",
                           "databases/shop/tables/public/ordered"),
                 &report);
    assert_text(&server, "one",
                "SELECT string_agg(relname, ' ' ORDER BY relname) FROM pg_class "
                "WHERE relnamespace = 'public'::regnamespace",
                "by_cents ordered ordered_id_seq ordered_pkey");
    assert_int_equal(server_count(&server, "one", "SELECT count(*) FROM public.ordered"), 1000);
    assert_int_equal(server_count(&server, "one", "SELECT nextval('public.ordered_id_seq')"), 1001);
    assert_int_equal(server_count(&server, "one",
                                  "SELECT count(*) FROM pg_constraint WHERE contype "
                                  "= 'f'"),
                     0);
    const json_t *row = json_array_get(json_object_get(report, "databases"), 0);
    assert_int_equal(json_u64_or(row, "left_out", 0), 1); /* the foreign key */
    assert_int_equal(json_u64_or(row, "rows", 0), 1000);
    json_decref(report);
    /* Both of its ends: the foreign key is there. */
    restore_well(&backup, &around, config,
                 json_pack("{s:{s:s}, s:{s:[s]}}", "target", "database", "both", "select", "globs",
                           "databases/shop/tables/public/[co]*"),
                 NULL);
    assert_int_equal(server_count(&server, "both",
                                  "SELECT count(*) FROM pg_constraint WHERE "
                                  "contype = 'f'"),
                     1);
    restore_badly(&backup, &around, config,
                  json_pack("{s:{s:s}, s:{s:[s]}}", "target", "database", "none", "select", "paths",
                            "databases/shop/tables/public/not_there"),
                  "target.nothing");
    assert_int_equal(server_count(&server, "postgres", nothing_left), 0);
    done(&backup, &around, config);
}

static json_t *expecting(const char *database, int tables, int rows)
{
    return json_pack("{s:{s:s}, s:[{s:s, s:i, s:i}]}", "target", "database", database, "expected",
                     "name", "shop", "tables", tables, "rows", rows);
}

/* What the backup recorded beside what came back: a table or a row fewer is no restore. */
static void a_table_that_no_entry_brings_is_missed(void **state)
{
    Surroundings around;
    Recording backup = {0};
    json_t *config;
    (void)state;
    backup_of(&server, &backup, &around, &config, "[\"shop\"]");
    restore_badly(&backup, &around, config, expecting("counted", 4, 1101), "target.rows");
    restore_badly(&backup, &around, config, expecting("counted", 3, 1102), "target.rows");
    assert_int_equal(server_count(&server, "postgres",
                                  "SELECT count(*) FROM pg_database WHERE datname = 'counted' OR "
                                  "datname LIKE 'holdfast%'"),
                     0);
    restore_well(&backup, &around, config, expecting("counted", 3, 1101), NULL);
    server_sql(&server, "postgres", "DROP DATABASE counted");
    done(&backup, &around, config);
}

/* Its sessions cannot be ended by this role: nothing is changed, and nobody is locked out. */
static void a_session_that_may_not_be_ended_leaves_all_as_it_was(void **state)
{
    Surroundings around;
    Recording backup = {0};
    json_t *config;
    (void)state;
    server_sql(&server, "postgres", "CREATE ROLE mover LOGIN CREATEDB");
    server_sql(&server, "postgres", "CREATE DATABASE moved OWNER mover");
    server_sql(
        &server, "moved",
        "ALTER SCHEMA public OWNER TO mover; SET ROLE mover; CREATE TABLE public.t AS SELECT "
        "1 AS i");
    backup_of(&server, &backup, &around, &config, "[\"moved\"]");
    json_object_set_new(config, "user", json_string("mover"));
    PGconn *busy = server_connect(&server, "moved"); /* the superuser's */
    restore_badly(&backup, &around, config,
                  json_pack("{s:b, s:s}", "in_place", 1, "confirm", "moved"), "target.denied");
    PQclear(PQexec(busy, "INSERT INTO public.t VALUES (2)"));
    assert_int_equal(server_count(&server, "moved", "SELECT count(*) FROM public.t"), 2);
    assert_int_equal(server_count(&server, "postgres",
                                  "SELECT count(*) FROM pg_database WHERE datname LIKE "
                                  "'moved_before%' OR datname LIKE 'holdfast%'"),
                     0);
    PQfinish(busy);
    restore_well(&backup, &around, config,
                 json_pack("{s:b, s:s}", "in_place", 1, "confirm", "moved"), NULL);
    assert_int_equal(server_count(&server, "moved", "SELECT count(*) FROM public.t"), 1);
    done(&backup, &around, config);
}

static void in_place_needs_the_name_and_keeps_what_was_there(void **state)
{
    Surroundings around;
    Recording backup = {0};
    json_t *config, *report = NULL;
    (void)state;
    server_sql(&server, "postgres", "CREATE DATABASE live");
    server_sql(&server, "live", "CREATE TABLE t AS SELECT 1 AS i");
    backup_of(&server, &backup, &around, &config, "[\"live\"]");
    server_sql(&server, "live", "INSERT INTO t VALUES (2)");
    restore_badly(&backup, &around, config, json_pack("{s:b}", "in_place", 0), "target.exists");
    restore_badly(&backup, &around, config,
                  json_pack("{s:b, s:s}", "in_place", 1, "confirm", "Live"), "target.confirm");
    PGconn *busy = server_connect(&server, "live"); /* a session that would hold the name */
    restore_well(&backup, &around, config,
                 json_pack("{s:b, s:s}", "in_place", 1, "confirm", "live"), &report);
    PQfinish(busy);
    assert_int_equal(server_count(&server, "live", "SELECT count(*) FROM t"), 1);
    const json_t *row = json_array_get(json_object_get(report, "databases"), 0);
    assert_int_equal(
        server_count(&server, json_text_or(row, "kept_as", TEXT("")).at, "SELECT count(*) FROM t"),
        2);
    json_decref(report);
    done(&backup, &around, config);
}

static json_t *to_other(const char *database, const char *key, json_t *value)
{
    json_t *request =
        json_pack("{s:{s:{s:s, s:i, s:s}, s:s}}", "target", "server", "host", other.folder, "port",
                  other.port, "user", "postgres", "database", database);
    json_object_set_new(json_object_get(request, "target"), key, value);
    return request;
}

static void another_server_gets_roles_only_when_asked(void **state)
{
    Surroundings around;
    Recording backup = {0};
    json_t *config;
    (void)state;
    backup_of(&server, &backup, &around, &config, "[\"shop\"]");
    restore_badly(&backup, &around, config, to_other("shop", "owners", json_string("keep")),
                  "target.roles");
    restore_well(&backup, &around, config, to_other("no_owners", "owners", json_string("ignore")),
                 NULL);
    assert_text(&other, "no_owners",
                "SELECT relowner::regrole FROM pg_class WHERE relname = 'ordered'", "postgres");
    server_sql(&other, "postgres", "CREATE ROLE clerk PASSWORD 'its own'");
    char *password =
        server_ask(&other, "postgres", "SELECT rolpassword FROM pg_authid WHERE rolname = 'clerk'");
    restore_well(&backup, &around, config, to_other("shop", "roles", json_true()), NULL);
    assert_text(&other, "shop", "SELECT relowner::regrole FROM pg_class WHERE relname = 'ordered'",
                "owner_of_shop");
    assert_text(&other, "postgres", "SELECT rolpassword FROM pg_authid WHERE rolname = 'clerk'",
                password);
    mem_free(password);
    assert_int_equal(server_count(&other, "postgres", nothing_left), 0);
    done(&backup, &around, config);
}

static void several_databases_come_back_under_new_names(void **state)
{
    Surroundings around;
    Recording backup = {0};
    json_t *config;
    (void)state;
    backup_of(&server, &backup, &around, &config, "[\"shop\", \"other/db\"]");
    restore_badly(&backup, &around, config,
                  json_pack("{s:{s:s}}", "target", "database", "one_name"), "target.databases");
    restore_well(&backup, &around, config,
                 json_pack("{s:{s:{s:s, s:s}}}", "target", "databases", "shop", "s\"x; '",
                           "other/db", "o/2"),
                 NULL);
    assert_int_equal(server_count(&server, "s\"x; '", "SELECT count(*) FROM public.ordered"), 1000);
    assert_int_equal(server_count(&server, "o/2", "SELECT seven FROM t"), 7);
    /* Only the one that is named. */
    restore_well(&backup, &around, config,
                 json_pack("{s:{s:{s:s}}}", "target", "databases", "other/db", "o/3"), NULL);
    assert_int_equal(server_count(&server, "o/3", "SELECT seven FROM t"), 7);
    done(&backup, &around, config);
}

static void a_backup_that_lost_rows_does_not_become_a_database(void **state)
{
    Surroundings around;
    Recording backup = {0};
    json_t *config;
    (void)state;
    backup_of(&server, &backup, &around, &config, "[\"shop\"]");
    for (size_t i = 0; i < backup.count; i++)
        if (strstr(backup.items[i].path, "tables/public/ordered") != NULL) {
            Buf *content = &backup.items[i].content;
            content->len -= 1;
            while (content->at[content->len - 1] != '\n') /* the last row is lost whole */
                content->len--;
        }
    restore_badly(&backup, &around, config, json_pack("{s:{s:s}}", "target", "database", "lost"),
                  "target.rows");
    assert_int_equal(server_count(&server, "postgres", nothing_left), 0);
    assert_int_equal(server_count(&server, "postgres",
                                  "SELECT count(*) FROM pg_database WHERE datname = 'lost'"),
                     0);
    done(&backup, &around, config);
}

static void damage_never_replaces_what_is_there(void **state)
{
    Surroundings around;
    Recording backup = {0};
    json_t *config;
    (void)state;
    backup_of(&server, &backup, &around, &config, "[\"shop\"]");
    backup.damaged = "databases/shop/tables/public/unrelated";
    restore_badly(&backup, &around, config, json_pack("{s:b, s:b}", "in_place", 1, "confirmed", 1),
                  "target.damaged");
    assert_int_equal(server_count(&server, "shop", "SELECT count(*) FROM unrelated"), 1);
    restore_well(&backup, &around, config, json_pack("{s:{s:s}}", "target", "database", "rest"),
                 NULL);
    assert_int_equal(server_count(&server, "rest", "SELECT count(*) FROM public.unrelated"), 0);
    assert_int_equal(server_count(&server, "rest", "SELECT count(*) FROM public.ordered"), 1000);
    done(&backup, &around, config);
}

static void a_plan_and_a_test_say_what_would_happen(void **state)
{
    Surroundings around;
    json_t *report = NULL, *config = server_config(&server, "[\"shop\"]");
    Err err = {0};
    (void)state;
    surroundings_open(&around);
    EngineParams params = {config, NULL, &around.host, 4};
    assert_true(postgresql_engine.test(&params, &report, &err));
    assert_true(json_bool_or(report, "ok", false));
    json_decref(report);
    params.request = json_pack("{s:{s:s}}", "target", "database", "shop");
    assert_true(postgresql_engine.plan(&params, &report, &err));
    assert_true(json_bool_or(report, "exists", false));
    assert_false(json_bool_or(report, "ok", true));
    json_decref(report);
    json_object_set_new(config, "databases", json_pack("[s]", "missing"));
    assert_true(postgresql_engine.test(&params, &report, &err));
    assert_false(json_bool_or(report, "ok", true));
    json_decref(report);
    assert_true(postgresql_engine.tools(&report, &err));
    assert_true(json_array_size(json_object_get(report, "pg_dump")) > 0);
    json_decref(report);
    json_t *request = NULL;
    memcpy(&request, &params.request, sizeof(json_t *));
    json_decref(request);
    json_decref(config);
    surroundings_close(&around);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_database_s_own_settings_come_back),
        cmocka_unit_test(one_table_comes_back_alone_with_what_hangs_on_it),
        cmocka_unit_test(a_table_that_no_entry_brings_is_missed),
        cmocka_unit_test(a_session_that_may_not_be_ended_leaves_all_as_it_was),
        cmocka_unit_test(in_place_needs_the_name_and_keeps_what_was_there),
        cmocka_unit_test(another_server_gets_roles_only_when_asked),
        cmocka_unit_test(several_databases_come_back_under_new_names),
        cmocka_unit_test(a_backup_that_lost_rows_does_not_become_a_database),
        cmocka_unit_test(damage_never_replaces_what_is_there),
        cmocka_unit_test(a_plan_and_a_test_say_what_would_happen),
    };
    return cmocka_run_group_tests(tests, start_servers, stop_servers);
}
