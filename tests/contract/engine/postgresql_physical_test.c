/* SPDX-License-Identifier: Apache-2.0
 * The contract of the engine postgresql, method physical: pg_verifybackup judges what was restored,
 * a server starts on it, pg_amcheck reads it all, and pg_dump compares when nobody writes. */
#include "tests/contract/engine/contract.h"

static void move(void *ctx, unsigned turn)
{
    contract_move(ctx, turn);
}

static void compare(const Server *server, const Server *copy)
{
    char *here = server_dump(server, "bank", ""), *there = server_dump(copy, "bank", "");
    assert_true(strlen(here) > 100000);
    assert_string_equal(here, there);
    mem_free(here);
    mem_free(there);
}

static void judge(Stage *stage, void *ctx, bool still)
{
    Server copy;
    char params[300], id[UUID_TEXT];
    Postgres *pg = postgres_prepare(NULL);
    stage_backup(stage, id);
    snprintf(params, sizeof params, "{\"backup\":\"%s\",\"target\":{\"path\":\"%s\"}}", id,
             postgres_data(pg));
    stage_must(stage, "restore", params, "completed");
    shell("cd / && %s%spg_verifybackup -q %s", as_server(), postgres_binaries(pg),
          postgres_data(pg));
    postgres_again(pg);
    server_of(&copy, pg);
    contract_sum(&copy, "bank");
    if (still)
        compare(ctx, &copy);
    server_sql(&copy, "bank", "CREATE EXTENSION amcheck");
    shell("%spg_amcheck -h %s -p %d -U postgres --heapallindexed bank", postgres_binaries(pg),
          copy.folder, copy.port);
    postgres_stop(pg);
}

static void clean(void *ctx)
{
    contract_no_session(ctx, 0);
}

static void a_cluster_that_is_written_to_survives_every_kill(void **state)
{
    Server server;
    char config[300], allow[300];
    (void)state;
    cluster_start(&server, NULL);
    contract_bank(&server);
    snprintf(allow, sizeof allow, "{read: {servers: [\"%s\"]}, restore: {paths: [\"%s\"]}}",
             server.folder, getenv("TMPDIR") == NULL ? "/tmp" : getenv("TMPDIR"));
    Stage *stage = contract_stage(allow);
    snprintf(config, sizeof config,
             "{\"host\":\"%s\",\"port\":%d,\"user\":\"postgres\",\"method\":\"physical\"}",
             server.folder, server.port);
    stage_policy(stage, "postgresql", config, "");
    Contract contract = {
        .stage = stage, .ctx = &server, .write = move, .judge = judge, .clean = clean};
    contract_run(&contract);
    stage_free(stage);
    server_stop(&server);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_cluster_that_is_written_to_survives_every_kill),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
