/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/integration/engine/postgresql_fixture.h"
#include "worker/engine/postgresql_replication.h"

static Server server;

static int start_server(void **state)
{
    (void)state;
    server_start(&server);
    return 0;
}

static int stop_server(void **state)
{
    (void)state;
    server_stop(&server);
    return 0;
}

typedef struct Session {
    Surroundings around;
    PostgresqlLink *link;
    PGconn *conn;
    Err err;
} Session;

static bool session_open(Session *s, const Server *at, const char *host, const char *role)
{
    json_t *config = json_pack("{s:s, s:i, s:s}", "host", host, "port", at->port, "user", role);
    *s = (Session){0};
    surroundings_open(&s->around);
    bool ok = postgresql_link_open(&s->link, config, &s->around.host, "source", &s->err) &&
              postgresql_link_replication(s->link, &s->conn, &s->err);
    json_decref(config);
    return ok;
}

static void session_close(Session *s)
{
    postgresql_link_disconnect(&s->conn);
    postgresql_link_close(s->link);
    surroundings_close(&s->around);
}

static void the_server_says_who_it_is(void **state)
{
    Session s;
    PostgresqlSystem system;
    char setting[POSTGRESQL_SETTING];
    (void)state;
    assert_true(session_open(&s, &server, server.folder, "postgres"));
    assert_true(postgresql_replication_identify(s.link, s.conn, &system, &s.err));
    char *identifier =
        server_ask(&server, "postgres", "SELECT system_identifier FROM pg_control_system()");
    assert_string_equal(system.identifier, identifier);
    mem_free(identifier);
    assert_int_equal(system.timeline, 1);
    assert_int_equal(system.segment, 16 * 1024 * 1024);
    assert_int_equal(system.version, PQserverVersion(s.conn));
    assert_false(system.checksums);
    assert_false(system.standby);
    assert_true(postgresql_replication_show(s.link, s.conn, "wal_level", setting, &s.err));
    assert_string_equal(setting, "replica");
    assert_false(postgresql_replication_show(s.link, s.conn, "no_such_setting", setting, &s.err));
    session_close(&s);
}

static void a_promoted_standby_has_a_history(void **state)
{
    Session s;
    PostgresqlSystem system;
    Buf name = {0}, content = {0};
    (void)state;
    Postgres *standby = postgres_standby(server.pg, NULL);
    Server other = {standby, postgres_socket(standby), "", postgres_port(standby)};
    assert_true(session_open(&s, &other, other.folder, "postgres"));
    assert_true(postgresql_replication_identify(s.link, s.conn, &system, &s.err));
    assert_true(system.standby);
    session_close(&s);
    server_sql(&other, "postgres", "SELECT pg_promote()");
    assert_true(session_open(&s, &other, other.folder, "postgres"));
    assert_true(postgresql_replication_identify(s.link, s.conn, &system, &s.err));
    assert_int_equal(system.timeline, 2);
    assert_false(system.standby);
    assert_true(postgresql_replication_history(s.link, s.conn, 2, &name, &content, &s.err));
    assert_string_equal(buf_cstr(&name), "00000002.history");
    assert_memory_equal(content.at, "1\t0/", 4);
    assert_false(postgresql_replication_history(s.link, s.conn, 7, &name, &content, &s.err));
    session_close(&s);
    buf_free(&name);
    buf_free(&content);
    postgres_stop(standby);
}

static void what_a_role_lacks_is_named_with_the_cure(void **state)
{
    Session s;
    char hba[128];
    (void)state;
    server_sql(&server, "postgres",
               "CREATE ROLE \"plain One\" LOGIN; CREATE ROLE rep LOGIN "
               "REPLICATION");
    assert_false(session_open(&s, &server, server.folder, "plain One"));
    assert_int_equal(s.err.code, ERR_DENIED);
    assert_string_equal(s.err.cause, "source.denied");
    assert_non_null(strstr(s.err.text, "next: ALTER ROLE \"plain One\" REPLICATION"));
    session_close(&s);
    /* The cure works, and nothing more is needed. */
    server_sql(&server, "postgres", "ALTER ROLE \"plain One\" REPLICATION");
    assert_true(session_open(&s, &server, server.folder, "plain One"));
    session_close(&s);
    snprintf(hba, sizeof hba, "%s/pg_hba.conf", postgres_data(server.pg));
    FILE *file = fopen(hba, "w");
    assert_non_null(file);
    fputs("local all all trust\nhost all all 127.0.0.1/32 trust\n", file);
    fclose(file);
    server_sql(&server, "postgres", "SELECT pg_reload_conf()");
    for (int i = 0; i < 100; i++) { /* the postmaster takes it up when it comes to it */
        bool refused = !session_open(&s, &server, "127.0.0.1", "rep");
        if (refused)
            break;
        session_close(&s);
        usleep(20000);
    }
    assert_int_equal(s.err.code, ERR_DENIED);
    assert_string_equal(s.err.cause, "source.auth");
    assert_non_null(strstr(s.err.text, "host replication \"rep\" ADDRESS"));
    assert_non_null(strstr(s.err.text, "pg_reload_conf()"));
    session_close(&s);
    file = fopen(hba, "a");
    fputs("local replication all trust\nhost replication all 127.0.0.1/32 trust\n", file);
    fclose(file);
    server_sql(&server, "postgres", "SELECT pg_reload_conf()");
}

static void a_server_that_is_full_says_what_to_raise(void **state)
{
    static const char *const few[] = {"-c", "max_wal_senders=1", "-c", "max_replication_slots=1",
                                      NULL};
    Session first, second;
    (void)state;
    Postgres *pg = postgres_start(few);
    Server small = {pg, postgres_socket(pg), "", postgres_port(pg)};
    assert_true(session_open(&first, &small, small.folder, "postgres"));
    assert_true(postgresql_replication_slot(first.link, first.conn, "one", true, &first.err));
    assert_false(postgresql_replication_slot(first.link, first.conn, "two", true, &first.err));
    assert_int_equal(first.err.code, ERR_BUSY);
    assert_non_null(strstr(first.err.text, "max_replication_slots"));
    assert_false(postgresql_replication_slot(first.link, first.conn, "No; DROP", true, &first.err));
    assert_string_equal(first.err.cause, "source.slot");
    assert_false(session_open(&second, &small, small.folder, "postgres"));
    assert_int_equal(second.err.code, ERR_BUSY);
    assert_non_null(strstr(second.err.text, "raise max_wal_senders"));
    session_close(&second);
    session_close(&first);
    /* A temporary slot ends with its session. */
    for (int i = 0; i < 100 && server_count(&small, "postgres",
                                            "SELECT count(*) FROM pg_replication_slots") > 0;
         i++)
        usleep(20000);
    assert_int_equal(server_count(&small, "postgres", "SELECT count(*) FROM pg_replication_slots"),
                     0);
    postgres_stop(pg);
}

/* ---- source test ---- */

static json_t *tested(const Server *at, const char *host, const char *role, const char *method)
{
    json_t *report = NULL, *config = json_pack("{s:s, s:i, s:s, s:s}", "host", host, "port",
                                               at->port, "user", role, "method", method);
    Surroundings around;
    Err err = {0};
    surroundings_open(&around);
    EngineParams params = {config, NULL, &around.host, 1};
    if (!postgresql_engine.test(&params, &report, &err))
        fail_msg("%s", err.text);
    surroundings_close(&around);
    json_decref(config);
    return report;
}

static const json_t *check_named(const json_t *report, const char *name)
{
    size_t i;
    const json_t *check;
    json_array_foreach(json_object_get(report, "checks"), i, check)
    {
        if (strcmp(json_string_value(json_object_get(check, "name")), name) == 0)
            return check;
    }
    return NULL;
}

static const char *next_of(const json_t *report, const char *name)
{
    const json_t *check = check_named(report, name);
    if (check == NULL || json_is_true(json_object_get(check, "ok")) ||
        json_is_true(json_object_get(report, "ok")))
        fail_msg("%s is not told to fail: %s", name, json_dumps(report, 0));
    return json_string_value(json_object_get(check, "next"));
}

static void a_cluster_is_tested_as_it_is_read(void **state)
{
    static const char *const methods[] = {"physical", "wal"};
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        json_t *report = tested(&server, server.folder, "postgres", methods[i]);
        if (!json_is_true(json_object_get(report, "ok")))
            fail_msg("%s", json_dumps(report, 0));
        assert_null(check_named(report, "tools")); /* nothing of the server's own is needed */
        assert_non_null(check_named(report, "slot"));
        assert_non_null(check_named(report, "page checksums"));
        assert_true((check_named(report, "log slot") != NULL) == (i == 1));
        assert_non_null(json_object_get(report, "system"));
        json_decref(report);
    }
    for (int i = 0; i < 100 && server_count(&server, "postgres",
                                            "SELECT count(*) FROM pg_replication_slots") > 0;
         i++)
        usleep(20000);
    assert_int_equal(server_count(&server, "postgres", "SELECT count(*) FROM pg_replication_slots"),
                     0);
}

static void what_a_cluster_lacks_is_told_with_the_cure(void **state)
{
    static const char *const few[] = {"-c", "max_wal_senders=2", "-c", "max_replication_slots=1",
                                      NULL};
    Session taken;
    (void)state;
    Postgres *pg = postgres_start(few);
    Server small = {pg, postgres_socket(pg), "", postgres_port(pg)};
    server_sql(&small, "postgres", "CREATE ROLE \"plain One\" LOGIN");
    json_t *report = tested(&small, small.folder, "plain One", "physical");
    assert_string_equal(next_of(report, "login"), "ALTER ROLE \"plain One\" REPLICATION");
    json_decref(report);
    server_sql(&small, "postgres", "SELECT pg_create_physical_replication_slot('theirs', true)");
    report = tested(&small, small.folder, "postgres", "physical");
    assert_non_null(strstr(next_of(report, "slot"), "raise max_replication_slots"));
    json_decref(report);
    assert_true(session_open(&taken, &small, small.folder, "postgres"));
    report = tested(&small, small.folder, "postgres", "physical");
    assert_non_null(strstr(next_of(report, "sessions"), "raise max_wal_senders"));
    json_decref(report);
    session_close(&taken);
    postgres_stop(pg);
}

static void places_in_the_log_are_read_and_written(void **state)
{
    uint64_t lsn = 0;
    char text[POSTGRESQL_LSN_TEXT], name[POSTGRESQL_WAL_NAME];
    (void)state;
    assert_true(postgresql_lsn_parse(TEXT("1A/2000028"), &lsn));
    assert_int_equal(lsn, UINT64_C(0x1A02000028));
    postgresql_lsn_text(lsn, text);
    assert_string_equal(text, "1A/2000028");
    postgresql_wal_name(3, lsn, 16 << 20, name);
    assert_string_equal(name, "000000030000001A00000002");
    postgresql_wal_name(1, lsn, 1 << 20, name);
    assert_string_equal(name, "000000010000001A00000020");
    static const char *const wrong[] = {"", "/", "1/", "/1", "1/2/3", "g/1", "123456789/1", "1 /2"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        assert_false(postgresql_lsn_parse(text_of(wrong[i]), &lsn));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_server_says_who_it_is),
        cmocka_unit_test(a_promoted_standby_has_a_history),
        cmocka_unit_test(what_a_role_lacks_is_named_with_the_cure),
        cmocka_unit_test(a_server_that_is_full_says_what_to_raise),
        cmocka_unit_test(a_cluster_is_tested_as_it_is_read),
        cmocka_unit_test(what_a_cluster_lacks_is_told_with_the_cure),
        cmocka_unit_test(places_in_the_log_are_read_and_written),
    };
    return cmocka_run_group_tests(tests, start_server, stop_server);
}
