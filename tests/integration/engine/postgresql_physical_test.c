/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/integration/engine/postgresql_cluster.h"

#include <stdatomic.h>
#include <sys/stat.h>

static Server server;

static int start_server(void **state)
{
    (void)state;
    cluster_start(&server, NULL);
    cluster_fill(&server);
    return 0;
}

static int stop_server(void **state)
{
    (void)state;
    server_stop(&server);
    return 0;
}

/* ---- somebody who writes meanwhile ---- */

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
        snprintf(sql, sizeof sql,
                 "BEGIN; UPDATE account SET cents = cents - 1 WHERE id = %u; UPDATE account SET "
                 "cents = cents + 1 WHERE id = %u; INSERT INTO moves (note) VALUES (repeat('m', "
                 "%u)); COMMIT",
                 1 + i * 7919 % 60000, 1 + i * 104729 % 60000, i % 2000);
        PQclear(PQexec(conn, sql));
        atomic_fetch_add(&writer->moves, 1);
    }
    PQfinish(conn);
    return NULL;
}

static void a_cluster_that_is_written_to_comes_back_whole(void **state)
{
    Surroundings around;
    Recording backup = {0};
    Writer writer = {0};
    Server copy;
    (void)state;
    surroundings_open(&around);
    int64_t before = server_count(&server, "bank", "SELECT count(*) FROM moves");
    pthread_create(&writer.thread, NULL, move_money, &writer);
    while (atomic_load(&writer.moves) < 20)
        usleep(1000);
    cluster_record(&backup, &around, &server);
    atomic_store(&writer.stop, true);
    pthread_join(writer.thread, NULL);
    assert_int_equal(around.issues, 0);
    assert_non_null(recording_find(&backup, "backup_manifest"));
    assert_non_null(recording_find(&backup, "backup_label"));
    assert_non_null(recording_find(&backup, "pg_wal"));
    assert_int_equal(recording_find(&backup, "global/pg_control")->entry.phase, 2);
    assert_int_equal(strncmp(backup.position, "LSN ", 4), 0);
    Postgres *pg = postgres_prepare(NULL);
    cluster_restore(&backup, &around, pg);
    cluster_judge(&copy, pg);
    assert_int_equal(server_count(&copy, "bank", "SELECT sum(cents) FROM account"), 60000 * 1000);
    assert_int_equal(server_count(&copy, "bank", "SELECT count(*) FROM account"), 60000);
    assert_int_equal(server_count(&copy, "bank", "SELECT count(*) FROM forgotten"), 0);
    assert_int_equal(server_count(&copy, "bank", "SELECT count(*) FROM \"odd \"\"name\""), 5000);
    assert_true(server_count(&copy, "bank", "SELECT count(*) FROM moves") >= before + 20);
    cluster_end(&copy);
    recording_free(&backup);
    surroundings_close(&around);
}

/* Nobody writes: the log's last file must be there all the same, and pg_dump is the judge. */
static void an_idle_cluster_comes_back_equal(void **state)
{
    Surroundings around;
    Recording backup = {0};
    Server copy;
    (void)state;
    surroundings_open(&around);
    cluster_record(&backup, &around, &server);
    Postgres *pg = postgres_prepare(NULL);
    cluster_restore(&backup, &around, pg);
    cluster_judge(&copy, pg);
    server_sql(&copy, "bank", "DROP EXTENSION amcheck; TRUNCATE forgotten");
    server_sql(&server, "bank", "TRUNCATE forgotten");
    char *here = server_dump(&server, "bank", ""), *there = server_dump(&copy, "bank", "");
    assert_true(strlen(here) > 100000);
    assert_string_equal(here, there);
    mem_free(here);
    mem_free(there);
    cluster_end(&copy);
    recording_free(&backup);
    surroundings_close(&around);
}

static void a_standby_is_backed_up_like_its_primary(void **state)
{
    Surroundings around;
    Recording backup = {0};
    Server second, copy;
    char moved[160];
    (void)state;
    /* pg_basebackup would put the tablespace where the primary has it. */
    snprintf(moved, sizeof moved, "%s/moved", server.folder);
    Postgres *standby = postgres_prepare(NULL);
    shell("cd / && %s%spg_basebackup -D %s -R -c fast -N -d '%s' -T '%s/a space=%s'", as_server(),
          postgres_binaries(standby), postgres_data(standby), postgres_url(server.pg),
          server.folder, moved);
    postgres_again(standby);
    server_of(&second, standby);
    surroundings_open(&around);
    cluster_record(&backup, &around, &second);
    assert_non_null(strstr(backup.details, "\"from\":\"standby\""));
    Postgres *pg = postgres_prepare(NULL);
    cluster_restore(&backup, &around, pg);
    /* It is a copy of a standby: what made it one came with it and must not be followed. */
    shell("rm %s/standby.signal", postgres_data(pg));
    cluster_judge(&copy, pg);
    assert_int_equal(server_count(&copy, "bank", "SELECT sum(cents) FROM account"), 60000 * 1000);
    cluster_end(&copy);
    postgres_stop(standby);
    shell("rm -rf %s", moved);
    recording_free(&backup);
    surroundings_close(&around);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_cluster_that_is_written_to_comes_back_whole),
        cmocka_unit_test(an_idle_cluster_comes_back_equal),
        cmocka_unit_test(a_standby_is_backed_up_like_its_primary),
    };
    return cmocka_run_group_tests(tests, start_server, stop_server);
}
