/* SPDX-License-Identifier: Apache-2.0
 * The log of a server through jobs: catalogue, repository, worker process and servers are real.
 * What is stored is held against the files of pg_wal, byte for byte. */
#include "tests/integration/engine/postgresql_fixture.h"

#include "common/base/hash.h"
#include "common/base/json.h"
#include "common/catalog/catalog_policy.h"
#include "tests/harness/stage.h"

static Server server;

static int start_server(void **state)
{
    (void)state;
    server_start(&server);
    server_sql(&server, "postgres", "CREATE TABLE note (id serial, at timestamptz, text text)");
    return 0;
}

static int stop_server(void **state)
{
    (void)state;
    server_stop(&server);
    return 0;
}

static void use_log(Stage *stage, const char *slot)
{
    char config[300];
    snprintf(config, sizeof config,
             "{\"host\":\"127.0.0.1\",\"port\":%d,\"user\":\"postgres\",\"method\":\"wal\","
             "\"slot\":\"%s\"}",
             server.port, slot);
    stage_policy(stage, "postgresql", config, ",\"log_of\":\"base\"");
}

static int set_up(void **state)
{
    Stage *stage = stage_new("");
    Err err = {0};
    stage_config(stage, "{read: {servers: [127.0.0.1]}, restore: {servers: [127.0.0.1]}}", "");
    use_log(stage, "holdfast_test");
    /* Nobody beats here, and these jobs take longer than the harness' short leases. */
    assert_true(catalog_setting_set(stage->fleet->scheduler, TEXT("liveness_s"), 60, &err));
    assert_true(catalog_setting_set(stage->fleet->scheduler, TEXT("lease_s"), 60, &err));
    *state = stage;
    return 0;
}

static int tear_down(void **state)
{
    stage_free(*state);
    server_sql(&server, "postgres",
               "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots");
    return 0;
}

/* About two segments of log, and the rest of one. */
static void write_log(unsigned rows)
{
    char sql[200];
    snprintf(sql, sizeof sql,
             "INSERT INTO note (at, text) SELECT clock_timestamp(), repeat(md5(i::text), 30) FROM "
             "generate_series(1, %u) i",
             rows);
    server_sql(&server, "postgres", sql);
}

/* The sha256 of a file of pg_wal up to the end that the catalogue knows. */
static void file_sha256(const char *name, int64_t bytes, char out[65])
{
    char path[300];
    Sha256 sha256;
    scoped(buf_free) Buf content = {0};
    snprintf(path, sizeof path, "%s/data/pg_wal/%.24s", server.folder, name);
    FILE *file = fopen(path, "r");
    if (file == NULL)
        fail_msg("%s is not there", path);
    uint8_t *at = buf_extend(&content, (size_t)bytes);
    assert_int_equal(fread(at, 1, (size_t)bytes, file), bytes);
    fclose(file);
    hash_sha256(buf_slice(&content), &sha256);
    ids_hex(sha256.bytes, sizeof sha256.bytes, out);
}

/* What the newest batch holds is what lies in pg_wal; how many segments. */
static int64_t assert_as_in_pg_wal(const Stage *stage)
{
    int64_t count =
        fleet_count(stage->fleet, "SELECT count(*) FROM log_segment WHERE backup = "
                                  "(SELECT id FROM backup ORDER BY sequence DESC LIMIT 1)");
    for (int64_t i = 0; i < count; i++) {
        char sql[400], row[512], name[64], sha256[65], found[65];
        long long bytes;
        snprintf(
            sql, sizeof sql,
            "SELECT name || ' ' || (end_lsn - start_lsn) || ' ' || encode(sha256, 'hex') FROM "
            "log_segment WHERE backup = (SELECT id FROM backup ORDER BY sequence DESC LIMIT 1) "
            "ORDER BY start_lsn OFFSET %lld LIMIT 1",
            (long long)i);
        fleet_ask(stage->fleet, sql, row);
        assert_int_equal(sscanf(row, "%63s %lld %64s", name, &bytes, sha256), 3);
        file_sha256(name, bytes, found);
        assert_string_equal(found, sha256);
    }
    return count;
}

static int64_t ranges(const Stage *stage)
{
    return fleet_count(stage->fleet, "SELECT count(*) FROM log_range");
}

static void the_log_is_stored_as_it_lies_in_pg_wal(void **state)
{
    Stage *stage = *state;
    stage_back_up(stage);
    int64_t before = fleet_count(stage->fleet, "SELECT max(end_lsn) - '0/0' FROM log_batch");
    write_log(40000);
    stage_back_up(stage);
    assert_true(assert_as_in_pg_wal(stage) >= 3);
    assert_true(fleet_count(stage->fleet, "SELECT max(end_lsn) - '0/0' FROM log_batch") >
                before + (2 << 24));
    /* What was stored twice, as a part and as a whole, is one row; and there is no hole. */
    assert_int_equal(ranges(stage), 1);
    assert_int_equal(
        fleet_count(stage->fleet, "SELECT count(*) FROM log_segment WHERE name LIKE '%.partial'"),
        1);
    /* The server may forget what is committed, when the next batch begins, and nothing else. */
    write_log(10);
    stage_back_up(stage);
    assert_true(server_count(&server, "postgres",
                             "SELECT restart_lsn - '0/0' FROM pg_replication_slots") > before);
    assert_int_equal(ranges(stage), 1);
    assert_int_equal(stage_counted(stage, "event WHERE data ->> 'code' = 'log.gap'"), 0);
}

static void a_batch_that_dies_anywhere_leaves_no_hole(void **state)
{
    static const char *const points[] = {"backup.opened", "backup.streamed", "backup.stored"};
    Stage *stage = *state;
    StageEnd end;
    stage_back_up(stage);
    for (size_t i = 0; i < sizeof points / sizeof *points; i++) {
        write_log(20000);
        stage_killed(stage, "backup", "", points[i]);
        stage_reap(stage);
        write_log(100);
        /* The server throws away what it may. */
        server_sql(&server, "postgres", "CHECKPOINT");
        stage_again(stage, &end);
        if (strcmp(end.outcome, "completed") != 0)
            fail_msg("%s %s: %s", end.outcome, end.cause, end.text);
        stage_end_free(&end);
        assert_true(assert_as_in_pg_wal(stage) >= 1);
        assert_int_equal(ranges(stage), 1);
    }
}

static void a_slot_that_was_dropped_is_made_again_and_a_hole_is_named(void **state)
{
    Stage *stage = *state;
    stage_back_up(stage);
    /* Nothing is gone yet: no hole. */
    server_sql(&server, "postgres", "SELECT pg_drop_replication_slot('holdfast_test')");
    write_log(100);
    stage_back_up(stage);
    assert_int_equal(ranges(stage), 1);
    assert_int_equal(stage_counted(stage, "event WHERE data ->> 'code' = 'log.gap'"), 0);
    server_sql(&server, "postgres", "SELECT pg_drop_replication_slot('holdfast_test')");
    for (int i = 0; i < 3; i++) {
        write_log(40000);
        server_sql(&server, "postgres", "CHECKPOINT");
    }
    write_log(100);
    server_sql(&server, "postgres", "CHECKPOINT");
    stage_back_up(stage);
    assert_int_equal(ranges(stage), 2);
    assert_int_equal(stage_counted(stage, "log_batch WHERE gap_to > gap_from"), 1);
    assert_int_equal(stage_counted(stage, "event WHERE data ->> 'code' = 'log.gap'"), 1);
    /* After it the log goes on. */
    write_log(100);
    stage_back_up(stage);
    assert_int_equal(ranges(stage), 2);
}

static void an_idle_server_makes_no_batch_of_nothing_but_a_mark(void **state)
{
    Stage *stage = *state;
    stage_back_up(stage);
    for (int i = 0; i < 2; i++) {
        stage_must(stage, "backup", "", "completed");
        assert_int_equal(stage_counted(stage, "backup"), 1);
    }
    assert_int_equal(stage_counted(stage, "job WHERE cause = 'log.idle'"), 2);
    /* A commit of which nothing was known when the last batch was made. */
    write_log(1);
    stage_back_up(stage);
    assert_int_equal(stage_counted(stage, "backup"), 2);
    /* An idle server too gets a batch before its log counts as standing still. */
    fleet_do(stage->fleet, "UPDATE log_batch SET at = at - interval '6 minutes'");
    stage_back_up(stage);
    assert_int_equal(stage_counted(stage, "backup"), 3);
    assert_int_equal(ranges(stage), 1);
}

static void retention_lets_go_only_of_what_no_base_backup_needs(void **state)
{
    Stage *stage = *state;
    StageEnd end;
    stage_back_up(stage);
    write_log(20000);
    stage_back_up(stage);
    write_log(20000);
    stage_back_up(stage);
    /* The first batch has only the beginning of what the second one has whole. */
    stage_run(stage, "retention", "b.sequence <= 2", &end);
    assert_string_equal(end.outcome, "completed");
    stage_end_free(&end);
    assert_int_equal(stage_counted(stage, "backup WHERE deleted_at IS NOT NULL AND sequence = 1"),
                     1);
    assert_int_equal(stage_counted(stage, "backup WHERE deleted_at IS NULL"), 2);
    assert_int_equal(ranges(stage), 1);
    /* A day later nothing of its log is left but what is stored, and the log goes on from there. */
    fleet_do(stage->fleet, "UPDATE backup SET deleted_at = deleted_at - interval '2 days'");
    fleet_do(stage->fleet, "SELECT holdfast.housekeep()");
    assert_int_equal(stage_counted(stage, "log_batch"), 2);
    assert_int_equal(stage_counted(stage, "log_segment g JOIN backup b ON b.id = g.backup WHERE "
                                          "b.deleted_at IS NOT NULL"),
                     0);
    stage_back_up(stage);
    assert_int_equal(ranges(stage), 1);
}

static void another_cluster_at_the_address_is_refused(void **state)
{
    Stage *stage = *state;
    StageEnd end;
    stage_back_up(stage);
    fleet_do(stage->fleet, "UPDATE log_batch SET system = '7000000000000000001'");
    stage_run(stage, "backup", "", &end);
    assert_string_equal(end.outcome, "failed");
    assert_string_equal(end.cause, "source.other_system");
    assert_non_null(strstr(end.text, "7000000000000000001"));
    stage_end_free(&end);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(the_log_is_stored_as_it_lies_in_pg_wal, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_batch_that_dies_anywhere_leaves_no_hole, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_slot_that_was_dropped_is_made_again_and_a_hole_is_named,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(an_idle_server_makes_no_batch_of_nothing_but_a_mark, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(retention_lets_go_only_of_what_no_base_backup_needs, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(another_cluster_at_the_address_is_refused, set_up,
                                        tear_down),
    };
    return cmocka_run_group_tests(tests, start_server, stop_server);
}
