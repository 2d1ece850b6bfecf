/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/integration/engine/postgresql_fixture.h"

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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_dump_holds_every_table_with_its_rows),
        cmocka_unit_test(a_restore_makes_an_equal_database),
    };
    return cmocka_run_group_tests(tests, start_server, stop_server);
}
