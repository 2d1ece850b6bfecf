/* SPDX-License-Identifier: Apache-2.0
 * The contract of the engine postgresql, method wal: whatever batch dies, the log has no hole, each
 * segment is in the repository as it lies in pg_wal by sha256sum. */
#include "tests/contract/engine/contract.h"

static void move(void *ctx, unsigned turn)
{
    contract_move(ctx, turn);
    contract_move(ctx, turn + 7);
}

/* Of the newest batch; what was stored is read back by the verify job. */
static void judge(Stage *stage, void *ctx, bool still)
{
    const Server *server = ctx;
    char params[100], id[UUID_TEXT], row[512], name[64], sum[80], end[40], start[40];
    long long bytes;
    (void)still;
    stage_backup(stage, id);
    snprintf(params, sizeof params, "{\"backup\":\"%s\"}", id);
    stage_must(stage, "verify", params, "completed");
    assert_int_equal(fleet_count(stage->fleet, "SELECT count(*) FROM log_range"), 1);
    int64_t count = fleet_count(stage->fleet, "SELECT count(*) FROM log_segment WHERE backup = "
                                              "(SELECT id FROM backup ORDER BY sequence DESC LIMIT "
                                              "1)");
    assert_true(count > 0);
    for (int64_t i = 0; i < count; i++) {
        char sql[400];
        snprintf(
            sql, sizeof sql,
            "SELECT name || ' ' || (end_lsn - start_lsn) || ' ' || encode(sha256, 'hex') || ' '"
            " || start_lsn || ' ' || end_lsn FROM log_segment WHERE backup = (SELECT id FROM "
            "backup ORDER BY sequence DESC LIMIT 1) ORDER BY start_lsn OFFSET %lld LIMIT 1",
            (long long)i);
        fleet_ask(stage->fleet, sql, row);
        assert_int_equal(sscanf(row, "%63s %lld %79s %39s %39s", name, &bytes, sum, start, end), 5);
        shell("head -c %lld %s/pg_wal/%.24s | sha256sum | grep -q ^%s", bytes,
              postgres_data(server->pg), name, sum);
    }
}

static void clean(void *ctx)
{
    contract_no_session(ctx, 1); /* the slot that keeps what is not stored yet */
}

static void a_log_that_grows_survives_every_kill(void **state)
{
    Server server;
    char config[300];
    (void)state;
    server_start(&server);
    contract_bank(&server);
    Stage *stage = contract_stage("{read: {servers: [127.0.0.1]}}");
    snprintf(config, sizeof config,
             "{\"host\":\"127.0.0.1\",\"port\":%d,\"user\":\"postgres\",\"method\":\"wal\","
             "\"slot\":\"holdfast_contract\"}",
             server.port);
    stage_policy(stage, "postgresql", config, ",\"log_of\":\"base\"");
    Contract contract = {
        .stage = stage, .ctx = &server, .write = move, .judge = judge, .clean = clean};
    contract_run(&contract);
    stage_free(stage);
    server_stop(&server);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_log_that_grows_survives_every_kill),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
