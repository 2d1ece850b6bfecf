/* SPDX-License-Identifier: Apache-2.0
 * Databases whose text is not UTF-8, and tables whose rows are left out. */
#include "tests/integration/engine/postgresql_fixture.h"

#include "common/base/json.h"
#include "worker/engine/postgresql_export.h"
#include "worker/engine/postgresql_name.h"

#include <fcntl.h>

static Server server;

static int start_server(void **state)
{
    (void)state;
    server_start(&server);
    server_sql(&server, "postgres",
               "CREATE DATABASE latin TEMPLATE template0 ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE "
               "'C'");
    server_sql(&server, "postgres",
               "CREATE DATABASE ascii TEMPLATE template0 ENCODING 'SQL_ASCII' LC_COLLATE 'C' "
               "LC_CTYPE 'C'");
    server_sql(&server, "latin",
               "CREATE TABLE U&\"caf\\00E9\" (U&\"d\\00E9j\\00E0\" text); INSERT INTO "
               "U&\"caf\\00E9\" VALUES (U&'\\00FC'); COMMENT ON TABLE U&\"caf\\00E9\" IS "
               "U&'\\00F1'; CREATE SEQUENCE U&\"suit\\00E9\" START 9; CREATE DOMAIN "
               "U&\"\\00E0\" AS text");
    server_sql(&server, "ascii",
               "CREATE TABLE \"raw\xFF\xFE\" (\"c\xE9\" text); INSERT INTO \"raw\xFF\xFE\" VALUES "
               "('\xE9\xFF'), ('\xC3\xA9')");
    return 0;
}

static int stop_server(void **state)
{
    (void)state;
    server_stop(&server);
    return 0;
}

static void check_round_trip(const char *database, const char *copy, const char *path)
{
    Surroundings around;
    Recording backup = {0};
    char databases[100], command[1000], file[128];
    surroundings_open(&around);
    snprintf(databases, sizeof databases, "[\"%s\"]", database);
    json_t *config = server_config(&server, databases);
    json_t *request = json_pack("{s:{s:s}}", "target", "database", copy);
    if (!record(&backup, &around, config, 3))
        fail_msg("%s: %s", backup.err.cause, backup.err.text);
    assert_non_null(recording_find(&backup, path));
    json_t *details = json_loads(backup.details, 0, NULL);
    assert_non_null(details);
    json_decref(details);
    if (!restore(&backup, &around, config, request, NULL))
        fail_msg("%s: %s", backup.err.cause, backup.err.text);
    assert_same_dump(&server, database, copy);
    /* And by psql alone. */
    snprintf(file, sizeof file, "%s/x.sql.gz", around.scratch);
    int fd = open(file, O_WRONLY | O_CREAT, 0600);
    PostgresqlExportParams params = {.fd = fd};
    assert_true(postgresql_export_open(&backup.target, &params, &backup.err));
    if (!drive(&backup, NULL))
        fail_msg("%s: %s", backup.err.cause, backup.err.text);
    close(fd);
    snprintf(command, sizeof command, "DROP DATABASE %s; ", copy);
    server_sql(&server, "postgres", command);
    snprintf(command, sizeof command,
             "%s/createdb -h %s -p %d -U postgres -T template0 -E %s --locale=C %s && gunzip -c %s "
             "| %s/psql -X -q -v ON_ERROR_STOP=1 -h %s -p %d -U postgres -d %s >/dev/null",
             server.tools, server.folder, server.port,
             strcmp(database, "latin") == 0 ? "LATIN1" : "SQL_ASCII", copy, file, server.tools,
             server.folder, server.port, copy);
    assert_int_equal(system(command), 0);
    assert_same_dump(&server, database, copy);
    unlink(file);
    json_decref(request);
    json_decref(config);
    recording_free(&backup);
    surroundings_close(&around);
}

static void text_of_another_encoding_comes_back_byte_for_byte(void **state)
{
    (void)state;
    check_round_trip("latin", "latin_copy", "databases/latin/tables/public/caf\xE9");
}

static void bytes_of_no_encoding_come_back_too(void **state)
{
    (void)state;
    check_round_trip("ascii", "ascii_copy", "databases/ascii/tables/public/raw\xFF\xFE");
}

static void rows_that_are_excluded_leave_their_table(void **state)
{
    Surroundings around;
    Recording backup = {0};
    (void)state;
    surroundings_open(&around);
    server_sql(&server, "postgres", "CREATE DATABASE logs");
    server_sql(&server, "logs",
               "CREATE SCHEMA web; CREATE TABLE web.hits AS SELECT 1 AS i; CREATE TABLE web.users "
               "AS SELECT 2 AS i; CREATE TABLE hits AS SELECT 3 AS i");
    json_t *config = server_config(&server, "[\"logs\"]");
    json_object_set_new(config, "exclude_table_data",
                        json_pack("[s, s]", "web.h*", "logs.nothing.here"));
    json_t *request = json_pack("{s:{s:s}}", "target", "database", "logs_copy");
    if (!record(&backup, &around, config, 2))
        fail_msg("%s: %s", backup.err.cause, backup.err.text);
    assert_null(recording_find(&backup, "databases/logs/tables/web/hits"));
    assert_non_null(recording_find(&backup, "databases/logs/tables/web/users"));
    assert_non_null(recording_find(&backup, "databases/logs/tables/public/hits"));
    assert_non_null(strstr(around.last_note, "logs.nothing.here"));
    if (!restore(&backup, &around, config, request, NULL))
        fail_msg("%s: %s", backup.err.cause, backup.err.text);
    assert_int_equal(server_count(&server, "logs_copy", "SELECT count(*) FROM web.hits"), 0);
    assert_int_equal(server_count(&server, "logs_copy", "SELECT i FROM web.users"), 2);
    json_decref(request);
    json_decref(config);
    recording_free(&backup);
    surroundings_close(&around);
}

static void a_name_survives_as_a_part_of_a_path(void **state)
{
    static const char *const names[] = {"plain", ".",  "..",     "...",  "a/b",   "100%",
                                        "%2F",   "\n", "\x7f\"", "\xFF", "$(id)", "ü"};
    (void)state;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        Buf part = {0}, back = {0};
        postgresql_name_part(&part, text_of(names[i]));
        assert_null(memchr(part.at, '/', part.len));
        assert_false(text_equal(text_of_slice(buf_slice(&part)), TEXT(".")));
        assert_false(text_equal(text_of_slice(buf_slice(&part)), TEXT("..")));
        postgresql_name_unpart(text_of_slice(buf_slice(&part)), &back);
        assert_string_equal(buf_cstr(&back), names[i]);
        buf_free(&part);
        buf_free(&back);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(text_of_another_encoding_comes_back_byte_for_byte),
        cmocka_unit_test(bytes_of_no_encoding_come_back_too),
        cmocka_unit_test(rows_that_are_excluded_leave_their_table),
        cmocka_unit_test(a_name_survives_as_a_part_of_a_path),
    };
    return cmocka_run_group_tests(tests, start_server, stop_server);
}
