/* SPDX-License-Identifier: Apache-2.0
 * A cluster of two tablespaces, restored on the host on which its own server goes on: where each
 * tablespace comes to lie, that the original's are left alone, and what is refused. */
#include "tests/integration/engine/postgresql_cluster.h"

#include <sys/stat.h>

static Server server;
static Surroundings around;
static Recording backup;
static char fast[200], slow[200], elsewhere[220];

static int set_up(void **state)
{
    char sql[300];
    (void)state;
    cluster_start(&server, NULL);
    cluster_fill(&server); /* one of them */
    snprintf(slow, sizeof slow, "%s/a space", server.folder);
    snprintf(fast, sizeof fast, "%s/fast=1", server.folder);
    snprintf(elsewhere, sizeof elsewhere, "%s/elsewhere", server.folder);
    shell("%smkdir -m 700 '%s'", as_server(), fast);
    snprintf(sql, sizeof sql, "CREATE TABLESPACE fast LOCATION '%s'", fast);
    server_sql(&server, "postgres", sql);
    server_sql(&server, "bank",
               "CREATE TABLE quick (a int PRIMARY KEY USING INDEX TABLESPACE other, t text) "
               "TABLESPACE fast; INSERT INTO quick SELECT i, md5(i::text) FROM "
               "generate_series(1, 30000) i; TRUNCATE forgotten");
    surroundings_open(&around);
    cluster_record(&backup, &around, &server);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    recording_free(&backup);
    surroundings_close(&around);
    server_stop(&server);
    return 0;
}

static json_t *mapped(const char *path, const char *old, const char *new)
{
    json_t *request = cluster_request(&backup, path);
    json_object_set_new(json_object_get(request, "target"), "tablespaces",
                        json_pack("{s:s}", old, new));
    return request;
}

/* The servers' own words: where each tablespace lies, in the order of its name. */
static void lies(const Server *which, const char *first, const char *second)
{
    char sql[700];
    snprintf(sql, sizeof sql,
             "SELECT count(*) FROM pg_tablespace WHERE (spcname, pg_tablespace_location(oid)) IN "
             "(('fast', '%s'), ('other', '%s'))",
             first, second);
    assert_int_equal(server_count(which, "postgres", sql), 2);
}

static void a_copy_beside_its_original_shares_no_directory_with_it(void **state)
{
    Server copy;
    char beside[300], other[24];
    (void)state;
    Postgres *pg = postgres_prepare(NULL);
    json_t *report =
        cluster_restore_by(&backup, &around, pg, mapped(postgres_data(pg), fast, elsewhere));
    assert_int_equal(json_array_size(json_object_get(report, "tablespaces")), 2);
    json_decref(report);
    cluster_judge(&copy, pg);
    snprintf(other, sizeof other, "%lld",
             (long long)server_count(&server, "postgres",
                                     "SELECT oid FROM pg_tablespace WHERE spcname = 'other'"));
    snprintf(beside, sizeof beside, "%s.tablespace-%s", postgres_data(pg), other);
    lies(&copy, elsewhere, beside);
    lies(&server, fast, slow);
    server_sql(&copy, "bank", "DROP EXTENSION amcheck");
    char *here = server_dump(&server, "bank", ""), *there = server_dump(&copy, "bank", "");
    assert_true(strlen(here) > 100000);
    assert_string_equal(here, there);
    mem_free(here);
    mem_free(there);
    /* What the copy does to its tablespaces is not done to the original's. */
    server_sql(&copy, "bank", "DROP TABLE quick, \"odd \"\"name\"; CHECKPOINT");
    assert_int_equal(server_count(&server, "bank", "SELECT count(*) FROM quick"), 30000);
    assert_int_equal(server_count(&server, "bank", "SELECT count(*) FROM \"odd \"\"name\""), 5000);
    cluster_end(&copy);
    shell("rm -rf '%s'", elsewhere);
}

static void refused(const char *path, const char *old, const char *new, const char *cause)
{
    json_t *config = json_object(), *request = mapped(path, old, new);
    assert_false(restore(&backup, &around, config, request, NULL));
    assert_string_equal(backup.err.cause, cause);
    json_decref(request);
    json_decref(config);
}

static void a_place_that_is_taken_is_refused_and_left_alone(void **state)
{
    char path[300];
    struct stat about;
    (void)state;
    snprintf(path, sizeof path, "%s/never", server.folder);
    /* The original's own directory is the likeliest slip. */
    refused(path, fast, fast, "files.target_not_empty");
    assert_non_null(strstr(backup.err.text, "--tablespace"));
    refused(path, fast, slow, "files.target_not_empty");
    refused(path, "/no/such", elsewhere, "target.tablespaces");
    refused(path, fast, path, "target.tablespaces_meet");
    assert_int_equal(server_count(&server, "bank", "SELECT count(*) FROM quick"), 30000);
    assert_int_equal(stat(elsewhere, &about), -1);
    snprintf(path, sizeof path, "%s/never/PG_VERSION", server.folder);
    assert_int_equal(stat(path, &about), -1);
    shell("rm -rf %s/never*", server.folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_copy_beside_its_original_shares_no_directory_with_it),
        cmocka_unit_test(a_place_that_is_taken_is_refused_and_left_alone),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
