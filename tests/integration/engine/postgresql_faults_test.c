/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/integration/engine/postgresql_fixture.h"

#include "worker/engine/child.h"
#include "worker/engine/postgresql_dump.h"

#include <stdatomic.h>
#include <sys/stat.h>

static Server server;

static int start_server(void **state)
{
    (void)state;
    server_start(&server);
    server_sql(&server, "postgres", "CREATE DATABASE bank");
    server_sql(
        &server, "bank",
        "CREATE TABLE account (id integer PRIMARY KEY, cents bigint, pad text);"
        "INSERT INTO account SELECT i, 1000, repeat('x', 200) FROM generate_series(1, "
        "20000) i;"
        "CREATE TABLE savings AS SELECT id, cents, pad FROM account; ALTER TABLE savings ADD "
        "PRIMARY KEY (id);"
        "CREATE TABLE audit (id bigserial, note text);"
        "INSERT INTO audit (note) SELECT repeat('y', 300) FROM generate_series(1, 20000);"
        "CREATE TABLE small (id integer); INSERT INTO small SELECT 1;");
    return 0;
}

static int stop_server(void **state)
{
    (void)state;
    server_stop(&server);
    return 0;
}

/* ---- a writer beside the dump ---- */

typedef struct Writer {
    pthread_t thread;
    atomic_bool stop;
    atomic_uint moves;
} Writer;

static void *move_money(void *arg)
{
    Writer *writer = arg;
    PGconn *conn = server_connect(&server, "bank");
    for (unsigned i = 1; !atomic_load(&writer->stop); i++) {
        char sql[300];
        /* Back and forth between two tables, which different lanes read at different times. */
        snprintf(sql, sizeof sql,
                 "BEGIN; UPDATE %s SET cents = cents - %u WHERE id = %u; UPDATE %s SET cents = "
                 "cents + %u WHERE id = %u; INSERT INTO audit (note) VALUES ('m'); COMMIT",
                 i % 3 == 0 ? "savings" : "account", i % 7, 1 + i * 7919 % 20000,
                 i % 3 == 0 ? "account" : "savings", i % 7, 1 + i * 104729 % 20000);
        PQclear(PQexec(conn, sql));
        atomic_fetch_add(&writer->moves, 1);
    }
    PQfinish(conn);
    return NULL;
}

static void wait_for_moves(void *ctx, const Entry *entry, size_t so_far)
{
    Writer *writer = ctx;
    (void)entry;
    (void)so_far;
    for (unsigned from = atomic_load(&writer->moves);
         atomic_load(&writer->moves) < from + 2 && !atomic_load(&writer->stop);)
        usleep(200);
}

static void money_that_moves_during_a_dump_is_neither_lost_nor_doubled(void **state)
{
    Surroundings around;
    Recording backup = {0};
    Writer writer = {0};
    (void)state;
    surroundings_open(&around);
    json_t *config = server_config(&server, "[\"bank\"]");
    json_t *request = json_pack("{s:{s:s}}", "target", "database", "bank_copy");
    pthread_create(&writer.thread, NULL, move_money, &writer);
    backup.on_read = wait_for_moves;
    backup.on_read_ctx = &writer;
    bool ok = record(&backup, &around, config, 4);
    atomic_store(&writer.stop, true);
    pthread_join(writer.thread, NULL);
    if (!ok)
        fail_msg("%s: %s", backup.err.cause, backup.err.text);
    assert_true(atomic_load(&writer.moves) > 50);
    if (!restore(&backup, &around, config, request, NULL))
        fail_msg("%s: %s", backup.err.cause, backup.err.text);
    assert_int_equal(server_count(&server, "bank_copy",
                                  "SELECT (SELECT sum(cents) FROM account) + (SELECT sum(cents) "
                                  "FROM savings)"),
                     2 * 20000 * 1000);
    assert_int_equal(server_count(&server, "bank_copy", "SELECT count(*) FROM account"), 20000);
    /* The sequence is not behind the rows. */
    assert_true(server_count(&server, "bank_copy",
                             "SELECT nextval('audit_id_seq') - max(id) FROM audit") > 0);
    server_sql(&server, "postgres", "DROP DATABASE bank_copy");
    json_decref(request);
    json_decref(config);
    recording_free(&backup);
    surroundings_close(&around);
}

/* ---- what the server sees ---- */

typedef struct Watch {
    pthread_mutex_t lock;
    int64_t most;
    int64_t snapshots;
} Watch;

static void watch_copies(void *ctx, const Entry *entry, size_t so_far)
{
    Watch *watch = ctx;
    if (so_far == 0 || watch->most >= 2 ||
        memmem(entry->path.at, entry->path.len, "tables/", 7) == NULL)
        return;
    pthread_mutex_lock(&watch->lock);
    int64_t now = server_count(&server, "postgres",
                               "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'COPY%' "
                               "AND state = 'active' AND application_name = 'holdfast'");
    if (now > watch->most)
        watch->most = now;
    pthread_mutex_unlock(&watch->lock);
}

static void two_tables_are_copied_at_once_on_one_snapshot(void **state)
{
    Surroundings around;
    Recording backup = {0};
    Watch watch = {.lock = PTHREAD_MUTEX_INITIALIZER};
    (void)state;
    surroundings_open(&around);
    server_sql(&server, "postgres", "CREATE DATABASE two");
    server_sql(&server, "two",
               "CREATE TABLE a AS SELECT i, repeat('a', 900) t FROM generate_series(1, 30000) i;"
               "CREATE TABLE b AS SELECT i, repeat('b', 900) t FROM generate_series(1, 30000) i");
    json_t *config = server_config(&server, "[\"two\"]");
    backup.on_read = watch_copies;
    backup.on_read_ctx = &watch;
    if (!record(&backup, &around, config, 4))
        fail_msg("%s: %s", backup.err.cause, backup.err.text);
    assert_true(watch.most >= 2);
    json_decref(config);
    recording_free(&backup);
    surroundings_close(&around);
}

typedef struct Drop {
    pthread_mutex_t lock;
    PGconn *conn;
    bool sent;
} Drop;

static void drop_meanwhile(void *ctx, const Entry *entry, size_t so_far)
{
    Drop *drop = ctx;
    (void)so_far;
    if (memmem(entry->path.at, entry->path.len, "databases/", 10) == NULL)
        return;
    pthread_mutex_lock(&drop->lock);
    if (!drop->sent) {
        PQsendQuery(drop->conn, "DROP TABLE victim_first, victim");
        drop->sent = true;
        usleep(200000); /* until it waits for our locks */
    }
    pthread_mutex_unlock(&drop->lock);
}

static void a_drop_waits_for_the_dump_and_the_dump_does_not_wait_for_it(void **state)
{
    Surroundings around;
    Recording backup = {0};
    Drop drop = {.lock = PTHREAD_MUTEX_INITIALIZER};
    (void)state;
    surroundings_open(&around);
    server_sql(&server, "postgres", "CREATE DATABASE dropping");
    server_sql(&server, "dropping",
               "CREATE TABLE victim AS SELECT i FROM generate_series(1, 100) i;"
               "CREATE TABLE victim_first AS SELECT i FROM generate_series(1, 10000) i");
    drop.conn = server_connect(&server, "dropping");
    json_t *config = server_config(&server, "[\"dropping\"]");
    backup.on_read = drop_meanwhile;
    backup.on_read_ctx = &drop;
    json_object_set_new(config, "jobs", json_integer(2));
    bool ok = record(&backup, &around, config, 2);
    if (!ok)
        fail_msg("%s: %s", backup.err.cause, backup.err.text);
    assert_int_equal(recording_find(&backup, "databases/dropping/tables/public/victim")->entry.rows,
                     100);
    PGresult *result = PQgetResult(drop.conn);
    assert_int_equal(PQresultStatus(result), PGRES_COMMAND_OK);
    PQclear(result);
    PQfinish(drop.conn);
    json_decref(config);
    recording_free(&backup);
    surroundings_close(&around);
}

static void *commit_later(void *arg)
{
    usleep(700000);
    PQclear(PQexec(arg, "COMMIT"));
    return NULL;
}

static void a_table_emptied_while_we_waited_for_its_lock_is_not_taken_for_empty(void **state)
{
    Surroundings around;
    Recording backup = {0};
    pthread_t later;
    (void)state;
    surroundings_open(&around);
    server_sql(&server, "postgres", "CREATE DATABASE emptying");
    server_sql(&server, "emptying", "CREATE TABLE t AS SELECT i FROM generate_series(1, 100) i");
    PGconn *conn = server_connect(&server, "emptying");
    PQclear(PQexec(conn, "BEGIN; TRUNCATE t; INSERT INTO t VALUES (1), (2)"));
    json_t *config = server_config(&server, "[\"emptying\"]");
    pthread_create(&later, NULL, commit_later, conn);
    bool ok = record(&backup, &around, config, 2);
    pthread_join(later, NULL);
    if (!ok)
        fail_msg("%s: %s", backup.err.cause, backup.err.text);
    assert_int_equal(recording_find(&backup, "databases/emptying/tables/public/t")->entry.rows, 2);
    PQfinish(conn);
    json_decref(config);
    recording_free(&backup);
    surroundings_close(&around);
}

static void of_an_extension_s_table_only_what_its_condition_names_is_kept(void **state)
{
    Surroundings around;
    Recording backup = {0};
    (void)state;
    surroundings_open(&around);
    server_sql(&server, "postgres", "CREATE DATABASE extended");
    server_sql(&server, "extended",
               "CREATE EXTENSION hstore; CREATE TABLE settings (k integer, own boolean); INSERT "
               "INTO settings SELECT i, i > 7 FROM generate_series(1, 10) i; CREATE TABLE member "
               "(i integer); ALTER EXTENSION hstore ADD TABLE settings; ALTER EXTENSION hstore ADD "
               "TABLE member; UPDATE pg_extension SET extconfig = ARRAY['settings'::regclass::oid],"
               "extcondition = ARRAY['WHERE own'] WHERE extname = 'hstore'");
    json_t *config = server_config(&server, "[\"extended\"]");
    if (!record(&backup, &around, config, 2))
        fail_msg("%s: %s", backup.err.cause, backup.err.text);
    const Recorded *settings = recording_find(&backup, "databases/extended/tables/public/settings");
    assert_int_equal(settings->entry.rows, 3);
    assert_memory_equal(settings->content.at, "8\tt\n9\tt\n10\tt\n", 13);
    assert_non_null(strstr(settings->note, "extension"));
    assert_null(recording_find(&backup, "databases/extended/tables/public/member"));
    json_decref(config);
    recording_free(&backup);
    surroundings_close(&around);
}

static void kill_the_holder(void *ctx, const Entry *entry, size_t so_far)
{
    Drop *drop = ctx;
    (void)so_far;
    if (drop->sent || memmem(entry->path.at, entry->path.len, "victim_first", 12) == NULL)
        return;
    server_sql(&server, "postgres",
               "SELECT pg_terminate_backend(pid, 2000) FROM pg_stat_activity WHERE datname = "
               "'losing' AND application_name = 'holdfast' AND state = 'idle in transaction'");
    server_sql(&server, "losing", "DROP TABLE victim");
    drop->sent = true;
}

static void a_table_that_is_gone_ends_the_dump_with_a_named_error(void **state)
{
    Surroundings around;
    Recording backup = {0};
    Drop drop = {.lock = PTHREAD_MUTEX_INITIALIZER};
    (void)state;
    surroundings_open(&around);
    server_sql(&server, "postgres", "CREATE DATABASE losing");
    server_sql(&server, "losing",
               "CREATE TABLE victim AS SELECT 1 AS i;"
               "CREATE TABLE victim_first AS SELECT repeat('x', 500) FROM generate_series(1, "
               "40000)");
    json_t *config = server_config(&server, "[\"losing\"]");
    backup.on_read = kill_the_holder;
    backup.on_read_ctx = &drop;
    assert_false(record(&backup, &around, config, 1));
    assert_true(drop.sent);
    if (strcmp(backup.err.cause, "source.changed") != 0)
        fail_msg("%s: %s", backup.err.cause, backup.err.text);
    assert_non_null(strstr(backup.err.text, "victim"));
    assert_non_null(strstr(backup.err.text, "next:"));
    assert_true(err_retry(backup.err.code));
    json_decref(config);
    recording_free(&backup);
    surroundings_close(&around);
}

static void assert_refused(json_t *config, const char *password, ErrCode code, const char *cause)
{
    Surroundings around;
    Recording backup = {0};
    surroundings_open(&around);
    around.password = password;
    assert_false(record(&backup, &around, config, 2));
    if (backup.err.code != code || strcmp(backup.err.cause, cause) != 0)
        fail_msg("%s %s: %s", err_name(backup.err.code), backup.err.cause, backup.err.text);
    recording_free(&backup);
    surroundings_close(&around);
    json_decref(config);
}

static json_t *password_config(const char *user)
{
    json_t *config = server_config(&server, "[\"bank\"]");
    json_object_set_new(config, "host", json_string("127.0.0.1"));
    json_object_set_new(config, "user", json_string(user));
    json_object_set_new(config, "password", json_pack("{s:s}", "credential", "pg"));
    return config;
}

static void require_passwords(void)
{
    char path[128];
    snprintf(path, sizeof path, "%s/data/pg_hba.conf", server.folder);
    FILE *hba = fopen(path, "w");
    assert_non_null(hba);
    fputs("local all all trust\nhost all postgres 127.0.0.1/32 trust\n"
          "host all all 127.0.0.1/32 scram-sha-256\n",
          hba);
    fclose(hba);
    server_sql(&server, "postgres", "SELECT pg_reload_conf()");
    usleep(200000);
}

static void what_keeps_a_dump_from_starting_is_named(void **state)
{
    (void)state;
    server_sql(&server, "postgres",
               "CREATE ROLE dumper LOGIN PASSWORD 'right' IN ROLE pg_read_all_data;"
               "CREATE ROLE poor LOGIN PASSWORD 'right'");
    require_passwords();
    assert_refused(password_config("dumper"), "wrong", ERR_DENIED, "source.auth");
    assert_refused(password_config("nobody-of-that-name"), "right", ERR_DENIED, "source.auth");
    assert_refused(password_config("poor"), "right", ERR_DENIED, "source.denied");
    assert_refused(server_config(&server, "[\"no such database\"]"), NULL, ERR_MISSING,
                   "source.missing");
    json_t *config = server_config(&server, "[\"bank\"]");
    json_object_set_new(config, "port", json_integer(1));
    assert_refused(config, NULL, ERR_UNREACHABLE, "source.unreachable");
    config = password_config("dumper");
    json_object_del(config, "password");
    assert_refused(config, NULL, ERR_DENIED, "source.auth");
}

static void a_password_may_hold_quotes_and_is_nowhere_to_be_seen(void **state)
{
    static const char password[] = "it's \"a\" \\ $(pass):word* 'canary-7531'";
    Surroundings around;
    Recording backup = {0};
    (void)state;
    PGconn *conn = server_connect(&server, "postgres");
    char *literal = PQescapeLiteral(conn, password, strlen(password)), sql[300];
    snprintf(sql, sizeof sql, "CREATE ROLE quoted LOGIN PASSWORD %s IN ROLE pg_read_all_data",
             literal);
    PQfreemem(literal);
    PQfinish(conn);
    server_sql(&server, "postgres", sql);
    require_passwords();
    surroundings_open(&around);
    around.password = password;
    json_t *config = password_config("quoted");
    if (!record(&backup, &around, config, 2))
        fail_msg("%s: %s", backup.err.cause, backup.err.text);
    for (size_t i = 0; i < backup.count; i++)
        assert_null(memmem(backup.items[i].content.at, backup.items[i].content.len, "canary", 6));
    json_decref(config);
    recording_free(&backup);
    surroundings_close(&around);
}

/* ---- trust in the programs ---- */

static void write_program(const char *path, const char *text)
{
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
    assert_int_equal(chmod(path, 0755), 0);
}

static void a_child_is_judged_by_status_words_and_signal(void **state)
{
    static const struct {
        const char *text, *says;
    } rows[] = {
        {"#!/bin/sh\necho fine\n", NULL},
        {"#!/bin/sh\necho out; echo 'pg_dump: error: boom' >&2; exit 1\n", "boom"},
        {"#!/bin/sh\necho out; echo 'pg_dump: error: quiet boom' >&2; exit 0\n", "quiet boom"},
        {"#!/bin/sh\nkill -9 $$\n", "signal 9"},
        {"#!/bin/sh\nhead -c 300000 /dev/zero | tr '\\0' x >&2; echo 'error: late' >&2; exit 3\n",
         "late"},
    };
    char path[64] = "/tmp/holdfast-child.XXXXXX";
    (void)state;
    int fd = mkstemp(path);
    close(fd);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        Err err = {0};
        Buf out = {0};
        const char *const none[] = {NULL};
        const char *const environment[] = {"PATH=/usr/bin:/bin", NULL};
        ChildParams params = {.program = path,
                              .arguments = none,
                              .environment = environment,
                              .input = -1,
                              .cause = "source.dump"};
        write_program(path, rows[i].text);
        bool ok = child_output(&params, &out, 1 << 20, &err);
        assert_int_equal(ok, rows[i].says == NULL);
        if (rows[i].says != NULL && strstr(err.text, rows[i].says) == NULL)
            fail_msg("%s", err.text);
        buf_free(&out);
    }
    unlink(path);
}

static bool give_up(void *ctx, Err *err)
{
    ++*(unsigned *)ctx;
    return err_set(err, ERR_CANCELLED, "job.cancelled", "the job was cancelled");
}

static void a_child_that_works_in_silence_can_be_stopped(void **state)
{
    Err err = {0};
    Buf out = {0};
    unsigned ticks = 0;
    const char *const arguments[] = {"-c", "sleep 60", NULL};
    const char *const environment[] = {"PATH=/usr/bin:/bin", NULL};
    ChildParams params = {.program = "/bin/sh",
                          .arguments = arguments,
                          .environment = environment,
                          .input = -1,
                          .cause = "source.dump",
                          .tick = give_up,
                          .ctx = &ticks};
    (void)state;
    assert_false(child_output(&params, &out, 1 << 20, &err));
    assert_int_equal(err.code, ERR_CANCELLED);
    assert_int_equal(ticks, 1);
    buf_free(&out);
}

static void a_dump_without_its_end_mark_is_refused(void **state)
{
    Err err = {0};
    (void)state;
    assert_true(postgresql_dump_ended(TEXT("x\n-- PostgreSQL database dump complete\n--\n\n"),
                                      TEXT("-- PostgreSQL database dump complete"), "it", &err));
    assert_false(postgresql_dump_ended(TEXT("CREATE TABLE t ("),
                                       TEXT("-- PostgreSQL database dump complete"), "it", &err));
    assert_string_equal(err.cause, "source.dump");
    assert_false(postgresql_dump_ended(TEXT(""), TEXT("-- PostgreSQL"), "it", &err));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(money_that_moves_during_a_dump_is_neither_lost_nor_doubled),
        cmocka_unit_test(two_tables_are_copied_at_once_on_one_snapshot),
        cmocka_unit_test(a_drop_waits_for_the_dump_and_the_dump_does_not_wait_for_it),
        cmocka_unit_test(a_table_emptied_while_we_waited_for_its_lock_is_not_taken_for_empty),
        cmocka_unit_test(of_an_extension_s_table_only_what_its_condition_names_is_kept),
        cmocka_unit_test(a_table_that_is_gone_ends_the_dump_with_a_named_error),
        cmocka_unit_test(what_keeps_a_dump_from_starting_is_named),
        cmocka_unit_test(a_password_may_hold_quotes_and_is_nowhere_to_be_seen),
        cmocka_unit_test(a_child_is_judged_by_status_words_and_signal),
        cmocka_unit_test(a_child_that_works_in_silence_can_be_stopped),
        cmocka_unit_test(a_dump_without_its_end_mark_is_refused),
    };
    return cmocka_run_group_tests(tests, start_server, stop_server);
}
