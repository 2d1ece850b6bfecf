/* SPDX-License-Identifier: Apache-2.0
 * A database through the job: catalogue, repository, worker process and both servers are real. */
#include "tests/integration/engine/postgresql_fixture.h"

#include "common/base/json.h"
#include "common/catalog/catalog_policy.h"
#include "tests/harness/stage.h"

#include <dirent.h>
#include <sys/stat.h>

static Server server;
static const char password[] = "canary-48151623'\\ \"x:";

static int start_server(void **state)
{
    (void)state;
    server_start(&server);
    server_sql(&server, "postgres", "CREATE DATABASE bank");
    server_sql(&server, "bank",
               "CREATE TABLE account AS SELECT i AS id, i * 7 AS cents, md5(i::text) AS pad FROM "
               "generate_series(1, 120000) i; ALTER TABLE account ADD PRIMARY KEY (id);"
               "CREATE TABLE account_2 AS SELECT * FROM account;"
               "CREATE TABLE branch (id serial PRIMARY KEY, name text); INSERT INTO branch (name) "
               "SELECT 'b' || i FROM generate_series(1, 100) i; SELECT lo_from_bytea(77, "
               "convert_to(repeat('large', 100000), 'UTF8'))");
    PGconn *conn = server_connect(&server, "postgres");
    char *literal = PQescapeLiteral(conn, password, strlen(password)), sql[300];
    snprintf(sql, sizeof sql, "CREATE ROLE backup SUPERUSER LOGIN PASSWORD %s", literal);
    PQfreemem(literal);
    PQfinish(conn);
    server_sql(&server, "postgres", sql);
    char path[128];
    snprintf(path, sizeof path, "%s/data/pg_hba.conf", server.folder);
    FILE *hba = fopen(path, "w");
    assert_non_null(hba);
    fputs("local all all trust\nhost all all 127.0.0.1/32 scram-sha-256\n", hba);
    fclose(hba);
    server_sql(&server, "postgres", "SELECT pg_reload_conf()");
    return 0;
}

static int stop_server(void **state)
{
    (void)state;
    server_stop(&server);
    return 0;
}

static void write_credential(const Stage *stage, const char *text)
{
    char path[200];
    snprintf(path, sizeof path, "%s/credentials", stage->tree->top);
    mkdir(path, 0700);
    snprintf(path, sizeof path, "%s/credentials/pg", stage->tree->top);
    unlink(path);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
    chmod(path, 0400);
}

static void use_database(Stage *stage, const char *databases)
{
    char config[400];
    snprintf(config, sizeof config,
             "{\"host\":\"127.0.0.1\",\"port\":%d,\"user\":\"backup\",\"password\":{\"credential\":"
             "\"pg\"},\"databases\":%s,\"jobs\":4}",
             server.port, databases);
    stage_policy(stage, "postgresql", config, "");
}

static int set_up(void **state)
{
    Stage *stage = stage_new("");
    stage_config(stage, "{read: {servers: [127.0.0.1]}, restore: {servers: [127.0.0.1]}}", "");
    write_credential(stage, password);
    use_database(stage, "[\"bank\"]");
    /* Nobody beats here, and these jobs take longer than the harness' short leases. */
    Err err = {0};
    assert_true(catalog_setting_set(stage->fleet->scheduler, TEXT("liveness_s"), 60, &err));
    assert_true(catalog_setting_set(stage->fleet->scheduler, TEXT("lease_s"), 60, &err));
    *state = stage;
    return 0;
}

static int tear_down(void **state)
{
    stage_free(*state);
    server_sql(&server, "postgres", "DROP DATABASE IF EXISTS bank_copy WITH (FORCE)");
    return 0;
}

static void restore_params(Stage *stage, const char *more, char out[600])
{
    char id[UUID_TEXT];
    stage_backup(stage, id);
    snprintf(out, 600, "{\"backup\":\"%s\"%s}", id, more);
}

static void a_database_is_backed_up_and_restored_by_jobs(void **state)
{
    Stage *stage = *state;
    StageEnd end;
    char params[600];
    stage_back_up(stage);
    stage_back_up(stage);
    /* The second one finds every table again. */
    assert_true(fleet_count(stage->fleet,
                            "SELECT stored_bytes FROM backup ORDER BY id DESC LIMIT 1") < 60000);
    assert_true(fleet_count(stage->fleet, "SELECT bytes FROM backup ORDER BY id DESC LIMIT 1") >
                8000000);
    restore_params(stage, ",\"target\":{\"database\":\"bank_copy\"}", params);
    stage_run(stage, "restore", params, &end);
    if (strcmp(end.outcome, "completed") != 0)
        fail_msg("%s %s: %s", end.outcome, end.cause, end.text);
    stage_end_free(&end);
    assert_same_dump(&server, "bank", "bank_copy");
    stage_must(stage, "verify", params, "completed");
}

static void one_table_is_restored_by_its_path(void **state)
{
    Stage *stage = *state;
    char params[600];
    stage_back_up(stage);
    restore_params(stage,
                   ",\"target\":{\"database\":\"bank_copy\"},\"select\":{\"paths\":[\"databases/"
                   "bank/tables/public/branch\"]}",
                   params);
    stage_must(stage, "restore", params, "completed");
    assert_int_equal(server_count(&server, "bank_copy", "SELECT count(*) FROM branch"), 100);
    assert_int_equal(server_count(&server, "bank_copy",
                                  "SELECT count(*) FROM pg_class WHERE relname = 'account'"),
                     0);
}

static void a_wrong_password_and_a_missing_database_are_named(void **state)
{
    Stage *stage = *state;
    StageEnd end;
    write_credential(stage, "wrong");
    stage_run(stage, "backup", "", &end);
    assert_string_equal(end.outcome, "failed");
    assert_string_equal(end.cause, "source.auth");
    assert_null(strstr(end.text, "wrong"));
    stage_end_free(&end);
    write_credential(stage, password);
    use_database(stage, "[\"bank\", \"not there\"]");
    stage_run(stage, "backup", "", &end);
    assert_string_equal(end.outcome, "failed");
    assert_string_equal(end.cause, "source.missing");
    stage_end_free(&end);
    stage_run(stage, "probe", "{\"probe\":\"source_test\"}", &end);
    assert_string_equal(end.outcome, "completed");
    assert_false(json_bool_or(end.answer, "ok", true));
    stage_end_free(&end);
}

static void a_restore_that_is_killed_leaves_no_database_and_the_next_one_works(void **state)
{
    Stage *stage = *state;
    StageEnd end;
    char params[600];
    stage_back_up(stage);
    restore_params(stage, ",\"target\":{\"database\":\"bank_copy\"}", params);
    stage_killed(stage, "restore", params, "restore.fed");
    assert_int_equal(server_count(&server, "postgres",
                                  "SELECT count(*) FROM pg_database WHERE datname = 'bank_copy'"),
                     0);
    stage_reap(stage);
    stage_again(stage, &end);
    if (strcmp(end.outcome, "completed") != 0)
        fail_msg("%s %s: %s", end.outcome, end.cause, end.text);
    stage_end_free(&end);
    assert_same_dump(&server, "bank", "bank_copy");
    assert_int_equal(
        server_count(&server, "postgres",
                     "SELECT count(*) FROM pg_database WHERE datname LIKE 'holdfast%'"),
        0);
}

/* Looks for the password in the arguments and environment of every process, but our own. */
static bool is_shown(void)
{
    DIR *proc = opendir("/proc");
    bool shown = false;
    assert_non_null(proc);
    for (struct dirent *entry; (entry = readdir(proc)) != NULL;) {
        static const char *const files[] = {"cmdline", "environ"};
        for (size_t i = 0; i < 2 && entry->d_name[0] >= '1' && entry->d_name[0] <= '9'; i++) {
            char path[300], text[65536];
            snprintf(path, sizeof path, "/proc/%s/%s", entry->d_name, files[i]);
            FILE *file = fopen(path, "r");
            size_t len = file == NULL ? 0 : fread(text, 1, sizeof text, file);
            shown = shown || (len > 0 && memmem(text, len, "canary-48151623", 15) != NULL);
            if (file != NULL)
                fclose(file);
        }
    }
    closedir(proc);
    return shown;
}

static void the_password_is_in_no_argument_and_no_environment(void **state)
{
    Stage *stage = *state;
    StageEnd end = {0};
    stage_start(stage, "backup", "");
    bool more = true;
    for (int looks = 0; more; looks++) {
        if (looks < 40)
            assert_false(is_shown());
        more = stage_listen(stage, &end);
    }
    stage_finish(stage, &end);
    assert_string_equal(end.outcome, "completed");
    assert_true(end.committed);
    stage_end_free(&end);
}

static void an_export_needs_the_store_and_a_key_alone(void **state)
{
    Stage *stage = *state;
    char command[900];
    stage_back_up(stage);
    server_sql(&server, "postgres", "CREATE DATABASE bank_copy TEMPLATE template0");
    snprintf(command, sizeof command,
             "\"$(dirname \"$(readlink /proc/%d/exe)\")\"/../holdfast-worker once export latest "
             "--store %s --key-set test --keys %s/keys 2>%s/export.log | gunzip | %s/psql -X -q -v "
             "ON_ERROR_STOP=1 -h %s -p %d -U postgres -d bank_copy >/dev/null",
             (int)getpid(), stage->repository->dir, stage->repository->dir, stage->tree->top,
             server.tools, server.folder, server.port);
    assert_int_equal(system(command), 0);
    assert_same_dump(&server, "bank", "bank_copy");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_database_is_backed_up_and_restored_by_jobs, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(one_table_is_restored_by_its_path, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_wrong_password_and_a_missing_database_are_named, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(
            a_restore_that_is_killed_leaves_no_database_and_the_next_one_works, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_password_is_in_no_argument_and_no_environment, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(an_export_needs_the_store_and_a_key_alone, set_up,
                                        tear_down),
    };
    return cmocka_run_group_tests(tests, start_server, stop_server);
}
