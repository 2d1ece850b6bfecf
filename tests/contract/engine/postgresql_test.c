/* SPDX-License-Identifier: Apache-2.0
 * The contract of the engine postgresql, method logical: a bank whose money moves all the time; its
 * sum is right in every backup, and pg_dump judges when it stands still. */
#include "tests/contract/engine/contract.h"

static void move(void *ctx, unsigned turn)
{
    contract_move(ctx, turn);
}

static void judge(Stage *stage, void *ctx, bool still)
{
    const Server *server = ctx;
    char params[200], id[UUID_TEXT];
    stage_backup(stage, id);
    snprintf(params, sizeof params, "{\"backup\":\"%s\",\"target\":{\"database\":\"copy\"}}", id);
    stage_must(stage, "restore", params, "completed");
    contract_sum(server, "copy");
    if (still)
        assert_same_dump(server, "bank", "copy");
    server_sql(server, "postgres", "DROP DATABASE copy WITH (FORCE)");
}

static void clean(void *ctx)
{
    contract_no_session(ctx, 0);
}

static void a_database_that_is_written_to_survives_every_kill(void **state)
{
    Server server;
    char config[300], allow[200];
    (void)state;
    server_start(&server);
    contract_bank(&server);
    snprintf(allow, sizeof allow, "{read: {servers: [\"%s\"]}, restore: {servers: [\"%s\"]}}",
             server.folder, server.folder);
    Stage *stage = contract_stage(allow);
    snprintf(config, sizeof config,
             "{\"host\":\"%s\",\"port\":%d,\"user\":\"postgres\",\"databases\":[\"bank\"],"
             "\"jobs\":2}",
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
        cmocka_unit_test(a_database_that_is_written_to_survives_every_kill),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
