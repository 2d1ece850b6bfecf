/* SPDX-License-Identifier: Apache-2.0
 * contract.h — what every engine must stand: somebody writes into the source, a backup is killed at
 * each crash point on its way, the next attempt completes it, what it holds is restored and judged
 * by programs that are not ours, and no process or session is left. HOLDFAST_FAULTS=whole takes
 * every point, else a few. */
#ifndef TESTS_CONTRACT_ENGINE_CONTRACT_H
#define TESTS_CONTRACT_ENGINE_CONTRACT_H

#include "tests/integration/engine/postgresql_cluster.h"

#include "common/base/json.h"
#include "common/catalog/catalog_policy.h"
#include "tests/harness/stage.h"

#include <dirent.h>
#include <stdatomic.h>

/* On a backup's way, in this order. */
typedef struct ContractPoint {
    const char *name;
    bool usual; /* also when it is not run whole */
    bool over;  /* the commit is done: there is no next attempt */
} ContractPoint;

static const ContractPoint contract_points[] = {
    {"backup.opened", false, false},         {"repo.pack_begun", true, false},
    {"repo.pack_written", false, false},     {"repo.pack_durable", false, false},
    {"repo.pack_staged", false, false},      {"backup.streamed", true, false},
    {"repo.packs_staged", false, false},     {"repo.index_begun", false, false},
    {"repo.index_durable", false, false},    {"repo.parents_durable", false, false},
    {"repo.manifest_durable", false, false}, {"backup.stored", false, false},
    {"commit.before", false, false},         {"commit.told", true, true},
    {"commit.after", false, true},           {"commit.marked", false, true},
};

typedef struct Contract {
    Stage *stage;
    void *ctx;
    void (*write)(void *ctx, unsigned turn); /* by a thread of its own, again and again */
    /* Restores the newest backup and judges it. still: nobody writes. */
    void (*judge)(Stage *stage, void *ctx, bool still);
    void (*clean)(void *ctx); /* nothing of ours is left on the source's server; NULL: none */
    pthread_t writer;
    atomic_bool stop;
    atomic_uint turns;
} Contract;

static inline void *contract_write(void *arg)
{
    Contract *c = arg;
    while (!atomic_load(&c->stop))
        c->write(c->ctx, atomic_fetch_add(&c->turns, 1));
    return NULL;
}

/* Is there a process that was started with this stage's worker.yaml? */
static inline bool contract_runs(const Stage *stage)
{
    DIR *proc = opendir("/proc");
    bool runs = false;
    assert_non_null(proc);
    for (struct dirent *entry; (entry = readdir(proc)) != NULL;) {
        char path[300], text[4096];
        snprintf(path, sizeof path, "/proc/%s/cmdline", entry->d_name);
        FILE *file = fopen(path, "r");
        size_t len = file == NULL ? 0 : fread(text, 1, sizeof text, file);
        runs = runs || memmem(text, len, stage->config, strlen(stage->config)) != NULL;
        if (file != NULL)
            fclose(file);
    }
    closedir(proc);
    return runs;
}

static inline void contract_completed(Stage *stage, const char *point)
{
    StageEnd end;
    stage_again(stage, &end);
    if (!end.committed || strcmp(end.outcome, "completed") != 0)
        fail_msg("killed at %s, the next attempt ended %s %s: %s", point, end.outcome, end.cause,
                 end.text);
    stage_end_free(&end);
}

static inline void contract_killed_at(Contract *c, const ContractPoint *point)
{
    Stage *stage = c->stage;
    int64_t before = stage_counted(stage, "backup");
    unsigned turn = atomic_load(&c->turns);
    stage_killed(stage, "backup", "", point->name);
    if (!point->over) {
        assert_int_equal(stage_counted(stage, "backup"), before);
        stage_reap(stage);
        contract_completed(stage, point->name);
    }
    assert_int_equal(stage_counted(stage, "backup"), before + 1);
    assert_true(atomic_load(&c->turns) > turn); /* somebody did write meanwhile */
    c->judge(stage, c->ctx, false);
    assert_false(contract_runs(stage));
    if (c->clean != NULL)
        c->clean(c->ctx);
}

static inline void contract_run(Contract *c)
{
    const char *faults = getenv("HOLDFAST_FAULTS");
    bool whole = faults != NULL && strcmp(faults, "whole") == 0;
    pthread_create(&c->writer, NULL, contract_write, c);
    for (size_t i = 0; i < sizeof contract_points / sizeof *contract_points; i++)
        if (whole || contract_points[i].usual)
            contract_killed_at(c, &contract_points[i]);
    atomic_store(&c->stop, true);
    pthread_join(c->writer, NULL);
    stage_back_up(c->stage);
    c->judge(c->stage, c->ctx, true);
    assert_int_equal(stage_counted(c->stage, "backup WHERE marker_at IS NULL"), 0);
    if (c->clean != NULL)
        c->clean(c->ctx);
}

/* A stage whose jobs may take longer than the harness' short leases: nobody beats here. allow: NULL
 * is the harness' own. */
static inline Stage *contract_stage(const char *allow)
{
    Stage *stage = stage_new("");
    Err err = {0};
    if (allow != NULL)
        stage_config(stage, allow, "");
    assert_true(catalog_setting_set(stage->fleet->scheduler, TEXT("liveness_s"), 600, &err));
    assert_true(catalog_setting_set(stage->fleet->scheduler, TEXT("lease_s"), 600, &err));
    return stage;
}

/* ---- the engines of PostgreSQL ---- */

enum { CONTRACT_ACCOUNTS = 20000 };

static inline void contract_bank(const Server *server)
{
    char sql[400];
    server_sql(server, "postgres", "CREATE DATABASE bank");
    snprintf(
        sql, sizeof sql,
        "CREATE TABLE account AS SELECT i AS id, 1000 AS cents, repeat(md5(i::text), 9) AS pad "
        "FROM generate_series(1, %d) i; ALTER TABLE account ADD PRIMARY KEY (id);"
        "CREATE TABLE moves (id bigserial PRIMARY KEY, note text)",
        CONTRACT_ACCOUNTS);
    server_sql(server, "bank", sql);
}

/* Money goes from one account to another: the sum is what a backup must hold. */
static inline void contract_move(const Server *server, unsigned turn)
{
    char sql[400];
    snprintf(
        sql, sizeof sql,
        "BEGIN; UPDATE account SET cents = cents - 1 WHERE id = %u; UPDATE account SET cents = "
        "cents + 1 WHERE id = %u; INSERT INTO moves (note) VALUES (repeat('m', %u)); COMMIT",
        1 + turn * 7919 % CONTRACT_ACCOUNTS, 1 + turn * 104729 % CONTRACT_ACCOUNTS, turn % 2000);
    PGconn *conn = server_connect(server, "bank");
    if (conn == NULL)
        return;
    PQclear(PQexec(conn, sql));
    PQfinish(conn);
}

static inline void contract_sum(const Server *server, const char *database)
{
    assert_int_equal(server_count(server, database, "SELECT sum(cents) FROM account"),
                     CONTRACT_ACCOUNTS * 1000);
    assert_int_equal(server_count(server, database, "SELECT count(*) FROM account"),
                     CONTRACT_ACCOUNTS);
}

/* Neither a session nor a slot but those named; the server needs a moment to see that we are gone.
 */
static inline void contract_no_session(const Server *server, int64_t slots)
{
    static const char sql[] = "SELECT (SELECT count(*) FROM pg_replication_slots) + (SELECT "
                              "count(*) FROM pg_stat_activity WHERE application_name = 'holdfast')";
    for (int i = 0; i < 200 && server_count(server, "postgres", sql) > slots; i++)
        usleep(50000);
    assert_int_equal(server_count(server, "postgres", sql), slots);
}

#endif
