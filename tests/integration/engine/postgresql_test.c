/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/integration/engine/postgresql_fixture.h"

#include "worker/engine/postgresql_export.h"

static Server server;

static char *read_file(const char *path)
{
    FILE *file = fopen(path, "r");
    Buf text = {0};
    assert_non_null(file);
    for (int c; (c = getc(file)) != EOF;)
        buf_add_byte(&text, (uint8_t)c);
    fclose(file);
    buf_cstr(&text);
    return (char *)buf_take(&text, &(size_t){0});
}

static int start_server(void **state)
{
    (void)state;
    server_start(&server);
    server_sql(&server, "postgres", "CREATE DATABASE nasty");
    char *sql = read_file("tests/integration/engine/postgresql_nasty.sql");
    server_sql(&server, "nasty", sql);
    mem_free(sql);
    return 0;
}

static int stop_server(void **state)
{
    (void)state;
    server_stop(&server);
    return 0;
}

static void a_dump_holds_every_table_with_its_rows(void **state)
{
    Surroundings around;
    Recording backup = {0};
    (void)state;
    surroundings_open(&around);
    json_t *config = server_config(&server, "[\"nasty\"]");
    if (!record(&backup, &around, config, 4))
        fail_msg("%s: %s", backup.err.cause, backup.err.text);
    const Recorded *plain = recording_find(&backup, "databases/nasty/tables/public/plain");
    assert_non_null(plain);
    assert_int_equal(plain->entry.rows, 5000);
    assert_int_equal(
        recording_find(&backup, "databases/nasty/tables/public/no_columns")->entry.rows, 2);
    assert_int_equal(recording_find(&backup, "databases/nasty/tables/public/parent")->entry.rows,
                     10);
    assert_null(recording_find(&backup, "databases/nasty/tables/public/measure"));
    assert_non_null(recording_find(&backup, "globals.sql"));
    assert_int_equal(recording_find(&backup, "databases/nasty/blobs/4713")->content.len, 3200000);
    assert_non_null(strstr(backup.position, "LSN 0/"));
    recording_free(&backup);
    json_decref(config);
    surroundings_close(&around);
}

static void a_restore_makes_an_equal_database(void **state)
{
    Surroundings around;
    Recording backup = {0};
    json_t *report = NULL;
    (void)state;
    surroundings_open(&around);
    json_t *config = server_config(&server, "[\"nasty\"]");
    json_t *request = json_pack("{s:{s:s}}", "target", "database", "nasty_copy");
    if (!record(&backup, &around, config, 4))
        fail_msg("%s: %s", backup.err.cause, backup.err.text);
    if (!restore(&backup, &around, config, request, &report))
        fail_msg("%s: %s", backup.err.cause, backup.err.text);
    assert_same_dump(&server, "nasty", "nasty_copy");
    assert_int_equal(server_count(&server, "postgres",
                                  "SELECT count(*) FROM pg_database WHERE datname ~ 'holdfast'"),
                     0);
    /* It is there now: a second restore to the same name is refused. */
    assert_false(restore(&backup, &around, config, request, NULL));
    assert_string_equal(backup.err.cause, "target.exists");
    json_decref(report);
    json_decref(request);
    json_decref(config);
    recording_free(&backup);
    surroundings_close(&around);
}

static int run_psql(const char *file, const char *database)
{
    char command[600];
    snprintf(command, sizeof command,
             "gunzip -c %s | %s/psql -X -q -v ON_ERROR_STOP=1 -h %s -p %d -U postgres -d %s "
             ">/dev/null",
             file, server.tools, server.folder, server.port, database);
    return system(command);
}

static void export_to(Recording *backup, const char *path, Text database, bool all)
{
    FILE *file = fopen(path, "w");
    PostgresqlExportParams params = {.fd = fileno(file), .database = database, .all = all};
    backup->err = (Err){0};
    assert_true(postgresql_export_open(&backup->target, &params, &backup->err));
    if (!drive(backup, NULL))
        fail_msg("%s: %s", backup->err.cause, backup->err.text);
    fclose(file);
}

static void an_export_is_one_file_that_psql_restores(void **state)
{
    Surroundings around;
    Recording backup = {0};
    char path[128];
    (void)state;
    surroundings_open(&around);
    server_sql(&server, "postgres", "CREATE DATABASE \"sec'ond\\ d\"\"b\"");
    server_sql(&server, "sec'ond\\ d\"b", "CREATE TABLE t AS SELECT 'ü' AS u");
    json_t *config = server_config(&server, "[\"nasty\", \"sec'ond\\\\ d\\\"b\"]");
    if (!record(&backup, &around, config, 4))
        fail_msg("%s: %s", backup.err.cause, backup.err.text);
    snprintf(path, sizeof path, "%s/x.sql.gz", around.scratch);
    export_to(&backup, path, TEXT("nasty"), false);
    server_sql(&server, "postgres", "CREATE DATABASE by_psql TEMPLATE template0");
    assert_int_equal(run_psql(path, "by_psql"), 0);
    assert_same_dump(&server, "nasty", "by_psql");
    /* All of them, from nothing. */
    server_sql(&server, "postgres", "ALTER DATABASE nasty RENAME TO nasty_0");
    server_sql(&server, "postgres", "DROP DATABASE \"sec'ond\\ d\"\"b\"");
    export_to(&backup, path, (Text){0}, true);
    assert_int_equal(run_psql(path, "postgres"), 0);
    assert_same_dump(&server, "nasty_0", "nasty");
    char *u = server_ask(&server, "sec'ond\\ d\"b", "SELECT u FROM t");
    assert_string_equal(u, "ü");
    mem_free(u);
    unlink(path);
    json_decref(config);
    recording_free(&backup);
    surroundings_close(&around);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_dump_holds_every_table_with_its_rows),
        cmocka_unit_test(a_restore_makes_an_equal_database),
        cmocka_unit_test(an_export_is_one_file_that_psql_restores),
    };
    return cmocka_run_group_tests(tests, start_server, stop_server);
}
