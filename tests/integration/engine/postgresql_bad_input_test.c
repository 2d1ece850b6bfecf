/* SPDX-License-Identifier: Apache-2.0
 * What keeps a dump from beginning or ends it in its middle, by real servers: roles that lack or
 * lost their rights, a server that stops, one that takes another's place, tables that are changed
 * meanwhile, a version that nothing here was written for. The version alone is not a real server's:
 * a relay in front of one changes the number that it tells. */
#include "tests/integration/engine/postgresql_fixture.h"

#include <errno.h>
#include <poll.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <sys/un.h>

static Server server;

static void fill(const Server *on)
{
    server_sql(on, "postgres", "CREATE DATABASE bank");
    server_sql(on, "bank",
               "CREATE TABLE account AS SELECT i AS id, 1000 AS cents, repeat(md5(i::text), 20) AS "
               "pad FROM generate_series(1, 30000) i; ALTER TABLE account ADD PRIMARY KEY (id);"
               "CREATE TABLE savings AS SELECT * FROM account;"
               "CREATE SCHEMA inner_ring; CREATE TABLE inner_ring.secret AS SELECT 1 AS i");
}

static int start_server(void **state)
{
    (void)state;
    server_start(&server);
    fill(&server);
    return 0;
}

static int stop_server(void **state)
{
    (void)state;
    server_stop(&server);
    return 0;
}

static void assert_ended(const Recording *backup, ErrCode code, const char *cause)
{
    if (backup->err.code != code || strcmp(backup->err.cause, cause) != 0)
        fail_msg("%s %s: %s", err_name(backup->err.code), backup->err.cause, backup->err.text);
}

/* The dump of "bank" by this config must end so; the text is shown to hold these words. */
static void refused(const json_t *config, const char *password, ErrCode code, const char *cause,
                    const char *words)
{
    Surroundings around;
    Recording backup = {0};
    surroundings_open(&around);
    around.password = password;
    assert_false(record(&backup, &around, config, 2));
    assert_ended(&backup, code, cause);
    if (strstr(backup.err.text, words) == NULL)
        fail_msg("'%s' does not say '%s'", backup.err.text, words);
    recording_free(&backup);
    surroundings_close(&around);
}

static void whole(const json_t *config, const char *password)
{
    Surroundings around;
    Recording backup = {0};
    surroundings_open(&around);
    around.password = password;
    if (!record(&backup, &around, config, 2))
        fail_msg("%s: %s", backup.err.cause, backup.err.text);
    assert_int_equal(recording_find(&backup, "databases/bank/tables/public/account")->entry.rows,
                     30000);
    recording_free(&backup);
    surroundings_close(&around);
}

/* ---- rights ---- */

static json_t *role_config(const char *role)
{
    json_t *config = server_config(&server, "[\"bank\"]");
    json_object_set_new(config, "user", json_string(role));
    return config;
}

static void a_role_that_may_not_read_a_table_is_told_what_to_grant(void **state)
{
    (void)state;
    server_sql(&server, "bank",
               "CREATE ROLE \"plain One\" LOGIN; GRANT USAGE ON SCHEMA inner_ring TO \"plain One\";"
               "GRANT SELECT ON account, savings TO \"plain One\"");
    json_t *config = role_config("plain One");
    refused(config, NULL, ERR_DENIED, "source.denied", "permission denied for table secret");
    refused(config, NULL, ERR_DENIED, "source.denied",
            "next: GRANT pg_read_all_data TO \"plain One\"");
    /* The cure works, and nothing more is needed. */
    server_sql(&server, "bank", "GRANT pg_read_all_data TO \"plain One\"");
    whole(config, NULL);
    json_decref(config);
}

static void wait_for_passwords(const json_t *config)
{
    for (int i = 0; i < 200; i++) { /* the postmaster takes it up when it comes to it */
        Surroundings around;
        Recording backup = {0};
        surroundings_open(&around);
        around.password = "wrong";
        bool ok = record(&backup, &around, config, 2);
        recording_free(&backup);
        surroundings_close(&around);
        if (!ok)
            return;
    }
}

static void a_password_that_expired_is_told_to_look_at(void **state)
{
    char hba[160];
    (void)state;
    server_sql(&server, "postgres",
               "CREATE ROLE dumper LOGIN PASSWORD 'right' IN ROLE pg_read_all_data");
    snprintf(hba, sizeof hba, "%s/pg_hba.conf", postgres_data(server.pg));
    FILE *file = fopen(hba, "w");
    assert_non_null(file);
    fputs("host all dumper 127.0.0.1/32 scram-sha-256\nlocal all all trust\n"
          "local replication all trust\n",
          file);
    fclose(file);
    server_sql(&server, "postgres", "SELECT pg_reload_conf()");
    json_t *config = role_config("dumper");
    json_object_set_new(config, "host", json_string("127.0.0.1"));
    json_object_set_new(config, "password", json_pack("{s:s}", "credential", "pg"));
    wait_for_passwords(config);
    whole(config, "right");
    refused(config, "wrong", ERR_DENIED, "source.auth", "next: check user, password");
    server_sql(&server, "postgres", "ALTER ROLE dumper VALID UNTIL '2001-01-01'");
    refused(config, "right", ERR_DENIED, "source.auth", "VALID UNTIL");
    server_sql(&server, "postgres", "ALTER ROLE dumper VALID UNTIL 'infinity'");
    whole(config, "right");
    json_decref(config);
}

/* ---- in the middle ---- */

typedef struct Blow {
    atomic_bool struck;
    void (*strike)(void);
} Blow;

static void strike_once(void *ctx, const Entry *entry, size_t so_far)
{
    Blow *blow = ctx;
    if (so_far > 0 && memmem(entry->path.at, entry->path.len, "tables/public/", 14) != NULL &&
        !atomic_exchange(&blow->struck, true))
        blow->strike();
}

static bool record_struck(Recording *backup, Surroundings *around, const json_t *config,
                          void (*strike)(void))
{
    Blow blow = {.strike = strike};
    backup->on_read = strike_once;
    backup->on_read_ctx = &blow;
    bool ok = record(backup, around, config, 2);
    assert_true(atomic_load(&blow.struck));
    return ok;
}

/* A lane that was reading lost the server, one that was just connecting did not find it. */
static void assert_lost(const Recording *backup)
{
    if (strcmp(backup->err.cause, "source.lost") != 0 &&
        strcmp(backup->err.cause, "source.unreachable") != 0)
        fail_msg("%s %s: %s", err_name(backup->err.code), backup->err.cause, backup->err.text);
    assert_true(err_retry(backup->err.code));
    assert_non_null(strstr(backup->err.text, "next: "));
}

static void stop_at_once(void)
{
    postgres_kill(server.pg);
}

static void a_server_that_stops_in_mid_dump_costs_one_attempt(void **state)
{
    Surroundings around;
    Recording backup = {0};
    json_t *config = server_config(&server, "[\"bank\"]");
    (void)state;
    surroundings_open(&around);
    assert_false(record_struck(&backup, &around, config, stop_at_once));
    assert_lost(&backup);
    recording_free(&backup);
    surroundings_close(&around);
    refused(config, NULL, ERR_UNREACHABLE, "source.unreachable", "next: check host");
    postgres_again(server.pg);
    whole(config, NULL);
    json_decref(config);
}

static PGconn *changer;

static void change_tables(void)
{
    PQsendQuery(changer, "ALTER TABLE savings ADD COLUMN late int; UPDATE savings SET cents = 0; "
                         "TRUNCATE inner_ring.secret; DROP TABLE account");
    usleep(200000); /* until it waits for our locks */
}

/* What changes tables waits for the dump, which waits for nobody and holds what was. */
static void tables_that_are_changed_meanwhile_are_dumped_as_they_were(void **state)
{
    Surroundings around;
    Recording backup = {0};
    json_t *config = server_config(&server, "[\"changed\"]");
    (void)state;
    server_sql(&server, "postgres", "CREATE DATABASE changed TEMPLATE bank");
    changer = server_connect(&server, "changed");
    surroundings_open(&around);
    if (!record_struck(&backup, &around, config, change_tables))
        fail_msg("%s: %s", backup.err.cause, backup.err.text);
    assert_int_equal(recording_find(&backup, "databases/changed/tables/public/account")->entry.rows,
                     30000);
    const Recorded *savings = recording_find(&backup, "databases/changed/tables/public/savings");
    assert_int_equal(savings->entry.rows, 30000);
    assert_memory_equal(savings->content.at, "1\t1000\t", 7);
    assert_int_equal(
        recording_find(&backup, "databases/changed/tables/inner_ring/secret")->entry.rows, 1);
    for (PGresult *result; (result = PQgetResult(changer)) != NULL; PQclear(result))
        assert_int_equal(PQresultStatus(result), PGRES_COMMAND_OK);
    PQfinish(changer);
    json_decref(config);
    recording_free(&backup);
    surroundings_close(&around);
}

/* ---- another server takes its place ---- */

static Server first, second;
static char place[64];

/* The address that clients know leads to this server: a link to its socket. */
static void lead_to(const Server *to)
{
    char from[200], link[200], fresh[220];
    snprintf(from, sizeof from, "%s/.s.PGSQL.%d", to->folder, to->port);
    snprintf(link, sizeof link, "%s/.s.PGSQL.5432", place);
    snprintf(fresh, sizeof fresh, "%s.new", link);
    assert_int_equal(symlink(from, fresh), 0);
    assert_int_equal(rename(fresh, link), 0);
}

static void fail_over(void)
{
    postgres_kill(first.pg);
    server_sql(&second, "postgres", "SELECT pg_promote()");
    server_sql(&second, "bank", "UPDATE savings SET cents = 2000");
    lead_to(&second);
}

/* The promoted server lost the file that says where its timeline began. */
static void its_log_is_refused_without_its_history(void)
{
    char history[300];
    json_t *config = json_pack("{s:s, s:i, s:s, s:s, s:s}", "host", second.folder, "port",
                               second.port, "user", "postgres", "method", "wal", "slot", "own");
    snprintf(history, sizeof history, "%s/pg_wal/00000002.history", postgres_data(second.pg));
    assert_int_equal(unlink(history), 0);
    refused(config, NULL, ERR_SOURCE, "source.history_missing", "00000002.history");
    json_decref(config);
}

static void a_dump_is_of_one_server_though_another_takes_its_place(void **state)
{
    Surroundings around;
    Recording backup = {0};
    char link[200];
    (void)state;
    server_start(&first);
    fill(&first);
    second.pg = postgres_standby(first.pg, NULL);
    second.folder = postgres_socket(second.pg);
    second.port = postgres_port(second.pg);
    snprintf(place, sizeof place, "/tmp/holdfast-place.XXXXXX");
    assert_non_null(mkdtemp(place));
    lead_to(&first);
    json_t *config = json_pack("{s:s, s:i, s:s, s:[s], s:i}", "host", place, "port", 5432, "user",
                               "postgres", "databases", "bank", "jobs", 2);
    surroundings_open(&around);
    assert_false(record_struck(&backup, &around, config, fail_over));
    assert_lost(&backup);
    recording_free(&backup);
    /* The next attempt is the new server's, whole. */
    backup = (Recording){0};
    if (!record(&backup, &around, config, 2))
        fail_msg("%s: %s", backup.err.cause, backup.err.text);
    const Recorded *savings = recording_find(&backup, "databases/bank/tables/public/savings");
    assert_int_equal(savings->entry.rows, 30000);
    assert_memory_equal(savings->content.at, "1\t2000\t", 7);
    recording_free(&backup);
    surroundings_close(&around);
    json_decref(config);
    its_log_is_refused_without_its_history();
    snprintf(link, sizeof link, "%s/.s.PGSQL.5432", place);
    unlink(link);
    rmdir(place);
    postgres_stop(first.pg);
    postgres_stop(second.pg);
}

/* ---- a version that nothing here was written for ---- */

typedef struct Relay {
    pthread_t thread;
    int listening;
    char folder[64], path[108];
    char major[3]; /* two digits */
} Relay;

static int socket_to(const char *path, bool listens)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    snprintf(address.sun_path, sizeof address.sun_path, "%s", path);
    const struct sockaddr *at = (const struct sockaddr *)&address;
    int failed =
        listens ? bind(fd, at, sizeof address) || listen(fd, 8) : connect(fd, at, sizeof address);
    return failed != 0 ? -1 : fd;
}

/* False: one side is closed. The number follows its name and a NUL. */
static bool pass_on(const Relay *relay, int from, int to, bool answer)
{
    static const char name[] = "server_version";
    char bytes[65536];
    ssize_t got = read(from, bytes, sizeof bytes);
    char *said = got <= 0 || !answer ? NULL : memmem(bytes, (size_t)got, name, sizeof name);
    if (said != NULL)
        memcpy(said + sizeof name, relay->major, 2);
    return got > 0 && write(to, bytes, (size_t)got) == got;
}

/* One connection after the other, until the listening socket is shut. */
static void *relay_run(void *arg)
{
    Relay *relay = arg;
    char path[108];
    snprintf(path, sizeof path, "%s/.s.PGSQL.%d", server.folder, server.port);
    for (int client; (client = accept(relay->listening, NULL, NULL)) >= 0; close(client)) {
        int up = socket_to(path, false);
        struct pollfd fds[2] = {{.fd = client, .events = POLLIN}, {.fd = up, .events = POLLIN}};
        bool open = up >= 0;
        while (open && poll(fds, 2, -1) > 0)
            open = (fds[0].revents == 0 || pass_on(relay, client, up, false)) &&
                   (fds[1].revents == 0 || pass_on(relay, up, client, true));
        close(up);
    }
    return NULL;
}

static json_t *relay_open(Relay *relay, const char *major)
{
    snprintf(relay->folder, sizeof relay->folder, "/tmp/holdfast-relay.XXXXXX");
    assert_non_null(mkdtemp(relay->folder));
    snprintf(relay->path, sizeof relay->path, "%s/.s.PGSQL.5432", relay->folder);
    snprintf(relay->major, sizeof relay->major, "%s", major);
    relay->listening = socket_to(relay->path, true);
    assert_true(relay->listening >= 0);
    pthread_create(&relay->thread, NULL, relay_run, relay);
    return json_pack("{s:s, s:i, s:s, s:[s]}", "host", relay->folder, "port", 5432, "user",
                     "postgres", "databases", "bank");
}

static void relay_close(Relay *relay)
{
    shutdown(relay->listening, SHUT_RDWR);
    pthread_join(relay->thread, NULL);
    close(relay->listening);
    unlink(relay->path);
    rmdir(relay->folder);
}

static void a_server_too_old_or_too_new_is_refused_by_its_version(void **state)
{
    static const char *const methods[] = {"logical", "physical", "wal"};
    (void)state;
    for (size_t i = 0; i < 3; i++) {
        Relay relay;
        json_t *config = relay_open(&relay, "12");
        json_object_set_new(config, "method", json_string(methods[i]));
        refused(config, NULL, ERR_SOURCE, "source.version", "the server is PostgreSQL 12.");
        json_decref(config);
        relay_close(&relay);
    }
    Relay relay;
    json_t *config = relay_open(&relay, "98");
    refused(config, NULL, ERR_MISSING, "source.tools", "install postgresql-client-98");
    /* What a cluster of it looks like nobody knows yet. */
    json_object_set_new(config, "method", json_string("physical"));
    refused(config, NULL, ERR_SOURCE, "source.version", "clusters are copied from 13 to 18");
    json_decref(config);
    relay_close(&relay);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_role_that_may_not_read_a_table_is_told_what_to_grant),
        cmocka_unit_test(a_password_that_expired_is_told_to_look_at),
        cmocka_unit_test(a_server_that_stops_in_mid_dump_costs_one_attempt),
        cmocka_unit_test(tables_that_are_changed_meanwhile_are_dumped_as_they_were),
        cmocka_unit_test(a_dump_is_of_one_server_though_another_takes_its_place),
        cmocka_unit_test(a_server_too_old_or_too_new_is_refused_by_its_version),
    };
    return cmocka_run_group_tests(tests, start_server, stop_server);
}
