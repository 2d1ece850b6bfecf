/* SPDX-License-Identifier: Apache-2.0
 * postgresql_cluster.h — what the tests of physical backups share: a cluster with page checksums
 * and everything that is awkward in one, a restore of a recorded backup, and its judges: the
 * server's own pg_verifybackup, a server that starts on it, pg_amcheck and pg_dump. */
#ifndef TESTS_INTEGRATION_ENGINE_POSTGRESQL_CLUSTER_H
#define TESTS_INTEGRATION_ENGINE_POSTGRESQL_CLUSTER_H

#include "tests/integration/engine/postgresql_fixture.h"

static inline void shell(const char *format, ...) PRINTF_LIKE(1, 2);
static inline void shell(const char *format, ...)
{
    char command[1024];
    va_list args;
    va_start(args, format);
    vsnprintf(command, sizeof command, format, args);
    va_end(args);
    if (system(command) != 0)
        fail_msg("%s", command);
}

/* A shell prefix that makes root be the server's user. */
static inline const char *as_server(void)
{
    return geteuid() == 0 ? "setpriv --reuid=postgres --regid=postgres --init-groups " : "";
}

static inline void server_of(Server *server, Postgres *pg)
{
    *server = (Server){.pg = pg, .folder = postgres_socket(pg), .port = postgres_port(pg)};
    snprintf(server->tools, sizeof server->tools, "%.*s", (int)strlen(postgres_binaries(pg)) - 1,
             postgres_binaries(pg));
}

static inline void cluster_start(Server *server, const char *const *options)
{
    server_of(server, postgres_checked(options));
}

/* A large table, an unlogged one, a tablespace, names that need quotes. */
static inline void cluster_fill(const Server *server)
{
    char sql[300];
    shell("%smkdir -m 700 '%s/a space'", as_server(), server->folder);
    snprintf(sql, sizeof sql, "CREATE TABLESPACE other LOCATION '%s/a space'", server->folder);
    server_sql(server, "postgres", sql);
    server_sql(server, "postgres", "CREATE DATABASE bank");
    server_sql(server, "bank",
               "CREATE TABLE account (id integer PRIMARY KEY, cents bigint, pad text);"
               "INSERT INTO account SELECT i, 1000, repeat('x', 200) FROM generate_series(1, "
               "60000) i;"
               "CREATE TABLE \"odd \"\"name\" (a int) TABLESPACE other;"
               "INSERT INTO \"odd \"\"name\" SELECT generate_series(1, 5000);"
               "CREATE INDEX ON \"odd \"\"name\" (a) TABLESPACE other;"
               "CREATE UNLOGGED TABLE forgotten (a int); INSERT INTO forgotten SELECT 1;"
               "CREATE TABLE moves (id bigserial PRIMARY KEY, note text)");
}

static inline json_t *cluster_config(const Server *server)
{
    return json_pack("{s:s, s:i, s:s, s:s}", "host", server->folder, "port", server->port, "user",
                     "postgres", "method", "physical");
}

/* The request of a restore into this directory; the details are the recorded receipt's. */
static inline json_t *cluster_request(const Recording *r, const char *path)
{
    json_t *details = json_loads(r->details, 0, NULL);
    assert_non_null(details);
    return json_pack("{s:{s:s}, s:o, s:s}", "target", "path", path, "details", details, "mark",
                     "j-1");
}

/* Records a backup of a cluster; a failure ends the test. */
static inline void cluster_record(Recording *r, Surroundings *around, const Server *server)
{
    json_t *config = cluster_config(server);
    if (!record(r, around, config, 4))
        fail_msg("%s: %s", r->err.cause, r->err.text);
    json_decref(config);
}

/* Restores it by this request, which is freed, to where `pg` will run, and lets the server's own
 * program judge. The report is the caller's. */
static inline json_t *cluster_restore_by(Recording *r, Surroundings *around, Postgres *pg,
                                         json_t *request)
{
    json_t *config = json_object(), *report = NULL;
    if (!restore(r, around, config, request, &report))
        fail_msg("%s: %s", r->err.cause, r->err.text);
    json_decref(request);
    json_decref(config);
    shell("cd / && %s%spg_verifybackup -q %s", as_server(), postgres_binaries(pg),
          postgres_data(pg));
    return report;
}

static inline void cluster_restore(Recording *r, Surroundings *around, Postgres *pg)
{
    json_decref(cluster_restore_by(r, around, pg, cluster_request(r, postgres_data(pg))));
}

/* Starts a server on what was restored and lets it be checked. */
static inline void cluster_judge(Server *server, Postgres *pg)
{
    postgres_again(pg);
    server_of(server, pg);
    server_sql(server, "bank", "CREATE EXTENSION amcheck");
    shell("%spg_amcheck -h %s -p %d -U postgres --heapallindexed bank", postgres_binaries(pg),
          server->folder, server->port);
}

static inline void cluster_end(Server *server)
{
    shell("rm -rf %s.tablespace-*", postgres_data(server->pg));
    server_stop(server);
}

#endif
