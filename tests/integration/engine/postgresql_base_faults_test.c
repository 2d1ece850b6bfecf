/* SPDX-License-Identifier: Apache-2.0
 * What goes wrong while a whole cluster is read: a page that is corrupt on the server's disk, a
 * walsender that is killed, a server that stops, a standby that is promoted. Each ends with a name
 * and leaves nothing on the server, and what comes after it is judged by the server's programs. */
#include "tests/integration/engine/postgresql_cluster.h"

#include <fcntl.h>
#include <stdatomic.h>

enum { PAGE = 8192 };

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
    shell("rm -rf '%s/a space'", server.folder);
    server_stop(&server);
    return 0;
}

/* ---- corrupt pages ---- */

/* The file of a relation below the data directory; a tablespace's too. */
static char *file_of(const char *relation)
{
    char sql[120];
    snprintf(sql, sizeof sql, "SELECT pg_relation_filepath('%s')", relation);
    return server_ask(&server, "bank", sql);
}

/* Flips one byte on the disk, behind the server's back; again: as it was. */
static void flip(const char *path, unsigned block, unsigned at)
{
    char full[400];
    uint8_t byte;
    snprintf(full, sizeof full, "%s/%s", postgres_data(server.pg), path);
    int fd = open(full, O_RDWR);
    off_t where = (off_t)block * PAGE + at;
    assert_true(fd >= 0);
    assert_int_equal(pread(fd, &byte, 1, where), 1);
    byte ^= 0x10;
    assert_int_equal(pwrite(fd, &byte, 1, where), 1);
    close(fd);
}

static void a_corrupt_page_is_told_with_file_and_block(void **state)
{
    static const struct {
        const char *relation;
        unsigned block;
    } rows[] = {{"account", 7}, {"account_pkey", 3}, {"\"odd \"\"name\"", 1}};
    (void)state;
    server_sql(&server, "bank", "CHECKPOINT");
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        Surroundings around;
        Recording backup = {0};
        char words[500];
        char *path = file_of(rows[i].relation);
        surroundings_open(&around);
        flip(path, rows[i].block, 4000);
        cluster_record(&backup, &around, &server);
        flip(path, rows[i].block, 4000);
        /* One issue, which makes the backup a partial one, and what to do. */
        assert_int_equal(around.issues, 1);
        snprintf(words, sizeof words, "%s: 1 corrupt page: the checksum of block %u is wrong", path,
                 rows[i].block);
        if (strncmp(around.last_issue, words, strlen(words)) != 0)
            fail_msg("%s\n%s", around.last_issue, words);
        assert_non_null(strstr(around.last_issue, "next: "));
        assert_non_null(strstr(around.last_issue, "pg_filenode_relation("));
        assert_non_null(strstr(backup.details, "\"corrupt_pages\":1"));
        mem_free(path);
        recording_free(&backup);
        surroundings_close(&around);
    }
}

static void many_corrupt_pages_are_counted_and_some_named(void **state)
{
    Surroundings around;
    Recording backup = {0};
    (void)state;
    surroundings_open(&around);
    server_sql(&server, "bank", "CHECKPOINT");
    char *path = file_of("account");
    for (unsigned block = 20; block < 32; block++)
        flip(path, block, 100 + block);
    cluster_record(&backup, &around, &server);
    for (unsigned block = 20; block < 32; block++)
        flip(path, block, 100 + block);
    assert_int_equal(around.issues, 1);
    assert_non_null(
        strstr(around.last_issue, "12 corrupt pages: the checksum of block 20, 21, 22"));
    assert_non_null(strstr(around.last_issue, "and others"));
    assert_non_null(strstr(backup.details, "\"corrupt_pages\":12"));
    mem_free(path);
    recording_free(&backup);
    surroundings_close(&around);
}

/* ---- what ends a base backup in its middle ---- */

typedef struct Blow {
    atomic_bool struck;
    const Server *server;
    void (*strike)(const Server *server);
} Blow;

/* Once, when some of the cluster's relations were read: the server still has most to send. */
static void strike_once(void *ctx, const Entry *entry, size_t so_far)
{
    Blow *blow = ctx;
    if (so_far > 0 && entry->path.len > 5 && memcmp(entry->path.at, "base/", 5) == 0 &&
        !atomic_exchange(&blow->struck, true))
        blow->strike(blow->server);
}

static bool record_struck(Recording *backup, Surroundings *around, Blow *blow)
{
    json_t *config = cluster_config(blow->server);
    backup->on_read = strike_once;
    backup->on_read_ctx = blow;
    bool ok = record(backup, around, config, 4);
    json_decref(config);
    assert_true(atomic_load(&blow->struck));
    return ok;
}

static void assert_ended(const Recording *backup, ErrCode code, const char *cause)
{
    if (backup->err.code != code || strcmp(backup->err.cause, cause) != 0)
        fail_msg("%s %s: %s", err_name(backup->err.code), backup->err.cause, backup->err.text);
    if (!err_retry(backup->err.code))
        fail_msg("is not tried again: %s", backup->err.text);
}

/* Neither a slot nor a session of ours; the server needs a moment to see that we are gone. */
static void assert_nothing_is_left(const Server *on)
{
    static const char sql[] = "SELECT (SELECT count(*) FROM pg_replication_slots) + (SELECT "
                              "count(*) FROM pg_stat_replication) + (SELECT count(*) FROM "
                              "pg_stat_activity WHERE application_name = 'holdfast')";
    for (int i = 0; i < 200 && server_count(on, "postgres", sql) > 0; i++)
        usleep(50000);
    assert_int_equal(server_count(on, "postgres", sql), 0);
}

/* The next attempt is whole, and comes back. */
static void assert_next_is_whole(const Server *on)
{
    Surroundings around;
    Recording backup = {0};
    Server copy;
    surroundings_open(&around);
    cluster_record(&backup, &around, on);
    assert_int_equal(around.issues, 0);
    Postgres *pg = postgres_prepare(NULL);
    cluster_restore(&backup, &around, pg);
    cluster_judge(&copy, pg);
    assert_int_equal(server_count(&copy, "bank", "SELECT sum(cents) FROM account"), 60000 * 1000);
    cluster_end(&copy);
    recording_free(&backup);
    surroundings_close(&around);
}

static void kill_what_sends_files(const Server *on)
{
    assert_int_equal(server_count(on, "postgres",
                                  "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_replication"
                                  " WHERE application_name = 'holdfast' AND state = 'backup'"),
                     1);
}

static void kill_what_sends_the_log(const Server *on)
{
    assert_int_equal(server_count(on, "postgres",
                                  "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_replication"
                                  " WHERE application_name = 'holdfast' AND state <> 'backup'"),
                     1);
}

static void a_walsender_that_is_killed_ends_it_by_name_and_leaves_no_slot(void **state)
{
    static void (*const strikes[])(const Server *) = {kill_what_sends_files,
                                                      kill_what_sends_the_log};
    (void)state;
    for (size_t i = 0; i < sizeof strikes / sizeof *strikes; i++) {
        Surroundings around;
        Recording backup = {0};
        Blow blow = {.server = &server, .strike = strikes[i]};
        surroundings_open(&around);
        assert_false(record_struck(&backup, &around, &blow));
        assert_ended(&backup, ERR_UNREACHABLE, "source.lost");
        assert_non_null(strstr(backup.err.text, "next: "));
        assert_nothing_is_left(&server);
        recording_free(&backup);
        surroundings_close(&around);
    }
    assert_next_is_whole(&server);
}

static void stop_at_once(const Server *on)
{
    postgres_kill(on->pg);
}

static void a_server_that_stops_in_the_middle_costs_one_attempt(void **state)
{
    Surroundings around;
    Recording backup = {0};
    Blow blow = {.server = &server, .strike = stop_at_once};
    json_t *config = cluster_config(&server);
    (void)state;
    surroundings_open(&around);
    assert_false(record_struck(&backup, &around, &blow));
    assert_ended(&backup, ERR_UNREACHABLE, "source.lost");
    recording_free(&backup);
    /* While it is away: another name, and tried again too. */
    backup = (Recording){0};
    assert_false(record(&backup, &around, config, 4));
    assert_ended(&backup, ERR_UNREACHABLE, "source.unreachable");
    recording_free(&backup);
    json_decref(config);
    surroundings_close(&around);
    postgres_again(server.pg);
    assert_nothing_is_left(&server);
    assert_next_is_whole(&server);
}

static void promote(const Server *on)
{
    server_sql(on, "postgres", "SELECT pg_promote()");
}

static void a_standby_that_is_promoted_meanwhile_is_read_again(void **state)
{
    Surroundings around;
    Recording backup = {0};
    Server second;
    char moved[160];
    (void)state;
    snprintf(moved, sizeof moved, "%s/moved", server.folder);
    Postgres *standby = postgres_prepare(NULL);
    shell("cd / && %s%spg_basebackup -D %s -R -c fast -N -d '%s' -T '%s/a space=%s'", as_server(),
          postgres_binaries(standby), postgres_data(standby), postgres_url(server.pg),
          server.folder, moved);
    postgres_again(standby);
    server_of(&second, standby);
    Blow blow = {.server = &second, .strike = promote};
    surroundings_open(&around);
    assert_false(record_struck(&backup, &around, &blow));
    /* Whichever of the two connections hears of it first. */
    const char *cause =
        strcmp(backup.err.cause, "source.timeline") == 0 ? "source.timeline" : "source.state";
    assert_ended(&backup, ERR_SOURCE, cause);
    assert_non_null(strstr(backup.err.text, "promoted"));
    recording_free(&backup);
    surroundings_close(&around);
    assert_nothing_is_left(&second);
    assert_next_is_whole(&second);
    postgres_stop(standby);
    shell("rm -rf %s", moved);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_corrupt_page_is_told_with_file_and_block),
        cmocka_unit_test(many_corrupt_pages_are_counted_and_some_named),
        cmocka_unit_test(a_walsender_that_is_killed_ends_it_by_name_and_leaves_no_slot),
        cmocka_unit_test(a_server_that_stops_in_the_middle_costs_one_attempt),
        cmocka_unit_test(a_standby_that_is_promoted_meanwhile_is_read_again),
    };
    return cmocka_run_group_tests(tests, start_server, stop_server);
}
