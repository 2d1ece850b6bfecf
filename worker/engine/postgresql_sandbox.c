/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/engine/postgresql_sandbox.h"

#include "common/base/json.h"
#include "common/base/mem.h"
#include "worker/engine/child.h"
#include "worker/engine/postgresql_adopt.h"
#include "worker/engine/postgresql_link.h"
#include "worker/engine/postgresql_name.h"
#include "worker/engine/postgresql_query.h"
#include "worker/engine/postgresql_server.h"
#include "worker/engine/postgresql_tally.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

struct Sandbox {
    PostgresqlServer *server;
    PostgresqlTools tools;
    const EngineHost *host;
    const json_t *details;
    PostgresqlLink *link;
    bool physical;
    PostgresqlAdopt adopt; /* of a physical one */
    char user[POSTGRESQL_ADOPT_USER];
};

enum { FIRST_MAJOR = 13, SAID_MOST = 1 << 20, LINE_MOST = 300 };

/* Indexes and what a server keeps for itself, on top of what was copied. */
static uint64_t room(uint64_t bytes, uint64_t entries)
{
    return bytes + bytes / 2 + entries * 16384 + (512U << 20);
}

static bool find_tools(const SandboxParams *params, PostgresqlTools *tools, Err *err)
{
    Text method = json_text_or(params->details, "method", TEXT("logical"));
    long major = strtol(json_text_or(params->details, "server_version", TEXT("0")).at, NULL, 10);
    if (!text_equal(method, TEXT("logical")) && !text_equal(method, TEXT("physical")))
        return err_set(err, ERR_MISSING, "sandbox.method",
                       "this worker tries logical and physical backups of PostgreSQL, not %.*s "
                       "ones: upgrade it",
                       TEXT_ARG(method));
    if (major < FIRST_MAJOR)
        return err_set(err, ERR_MISSING, "sandbox.version",
                       "the backup is of PostgreSQL %ld; throw-away servers are of %d and newer",
                       major, FIRST_MAJOR);
    return postgresql_tools_server((int)major, tools, err);
}

static bool look(const SandboxParams *params, Err *err)
{
    PostgresqlTools tools;
    return find_tools(params, &tools, err);
}

static void sandbox_close(Sandbox *sandbox)
{
    postgresql_link_close(sandbox->link);
    postgresql_server_close(sandbox->server);
    mem_free(sandbox);
}

static bool make_server(Sandbox *sandbox, const SandboxParams *params, Err *err)
{
    if (!sandbox->physical)
        return postgresql_server_make(&sandbox->server, params, &sandbox->tools, err);
    postgresql_adopt_user(sandbox->user);
    sandbox->adopt =
        (PostgresqlAdopt){.user = sandbox->user,
                          .checksums = json_bool_or(params->details, "page_checksums", false),
                          .log = params->log,
                          .segment = json_u64_or(params->details, "wal_segment_bytes", 16U << 20)};
    return postgresql_server_promise(&sandbox->server, params, &sandbox->tools, sandbox->user, err);
}

static bool sandbox_open(Sandbox **out, const SandboxParams *params, Err *err)
{
    Sandbox *sandbox = mem_new(Sandbox);
    sandbox->physical =
        text_equal(json_text_or(params->details, "method", TEXT("")), TEXT("physical"));
    sandbox->host = params->host;
    sandbox->details = params->details;
    *out = sandbox;
    if (find_tools(params, &sandbox->tools, err) && make_server(sandbox, params, err) &&
        postgresql_link_open(&sandbox->link, postgresql_server_config(sandbox->server),
                             params->host, "proof", err))
        return true;
    sandbox_close(sandbox);
    *out = NULL;
    return false;
}

/* In place: every server has a database "postgres" of its own. */
static json_t *request(const Sandbox *sandbox)
{
    if (sandbox->physical)
        return json_pack("{s:O, s:{s:s}}", "details", sandbox->details, "target", "path",
                         postgresql_server_data(sandbox->server));
    return json_pack("{s:b, s:b, s:{s:O, s:b}}", "in_place", 1, "confirmed", 1, "target", "server",
                     postgresql_server_config(sandbox->server), "roles", 1);
}

static bool settle(Sandbox *sandbox, Err *err)
{
    if (!sandbox->physical)
        return postgresql_server_restart(sandbox->server, err);
    return postgresql_adopt(sandbox->server, &sandbox->adopt, err);
}

/* --- counts --------------------------------------------------------------------------------- */

typedef struct Counts {
    uint64_t tables, rows;
} Counts;

static bool count_table(const Sandbox *sandbox, PGconn *conn, Text database, const json_t *table,
                        Counts *counts, Err *err)
{
    scoped(buf_free) Buf schema = {0};
    scoped(buf_free) Buf name = {0};
    scoped(buf_free) Buf quoted = {0};
    scoped(buf_free) Buf sql = {0};
    scoped(postgresql_link_clear) PGresult *result = NULL;
    uint64_t said = json_u64_or(table, "rows", 0);
    if (!json_unbytes(json_text_or(table, "schema", TEXT("")), &schema, err) ||
        !json_unbytes(json_text_or(table, "table", TEXT("")), &name, err))
        return false;
    postgresql_name_quote(&quoted, text_of_slice(buf_slice(&schema)));
    buf_add_byte(&quoted, '.');
    postgresql_name_quote(&quoted, text_of_slice(buf_slice(&name)));
    buf_printf(&sql,
               "SELECT pg_catalog.count(*), (SELECT pg_catalog.count(*) FROM pg_catalog.pg_depend "
               "d WHERE d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.objid = ");
    postgresql_name_literal(&sql, text_of_slice(buf_slice(&quoted)));
    buf_printf(&sql, "::pg_catalog.regclass AND d.deptype = 'e') FROM ONLY %s", buf_cstr(&quoted));
    if (!postgresql_link_query(sandbox->link, conn, "counting rows", buf_cstr(&sql), NULL, 0,
                               &result, err))
        return err_note(err, "table %s of %.*s", buf_cstr(&quoted), TEXT_ARG(database));
    uint64_t rows = strtoull(PQgetvalue(result, 0, 0), NULL, 10);
    bool extension = *PQgetvalue(result, 0, 1) != '0'; /* it may have made more by itself */
    counts->tables++;
    counts->rows += rows;
    if (rows == said || (extension && rows > said))
        return true;
    return err_set(err, ERR_CORRUPT, "proof.rows",
                   "table %s of %.*s has %" PRIu64 " rows when it is restored, the backup says "
                   "%" PRIu64 ": take a new backup, and restore an older one meanwhile",
                   buf_cstr(&quoted), TEXT_ARG(database), rows, said);
}

static bool count_database(const Sandbox *sandbox, const json_t *database, Counts *counts, Err *err)
{
    size_t i;
    const json_t *table;
    PGconn *conn = NULL;
    scoped(buf_free) Buf name = {0};
    if (!json_unbytes(json_text_or(database, "name", TEXT("")), &name, err))
        return false;
    Text called = text_of_slice(buf_slice(&name));
    bool fine = postgresql_link_connect(sandbox->link, called, &conn, err);
    json_array_foreach(json_object_get(database, "table_list"), i, table)
    {
        if (!fine || json_bool_or(table, "excluded", false))
            continue;
        if (sandbox->host->cancelled != NULL && sandbox->host->cancelled(sandbox->host->ctx))
            fine = err_set(err, ERR_CANCELLED, "job.cancelled", "the job was cancelled");
        fine = fine && count_table(sandbox, conn, called, table, counts, err);
    }
    postgresql_link_disconnect(&conn);
    return fine;
}

static bool count_all(const Sandbox *sandbox, json_t *report, Err *err)
{
    size_t i;
    const json_t *database;
    Counts counts = {0};
    bool fine = true;
    json_array_foreach(json_object_get(sandbox->details, "databases"), i, database)
    {
        fine = fine && count_database(sandbox, database, &counts, err);
    }
    json_object_set_new(report, "tables", json_integer((json_int_t)counts.tables));
    json_object_set_new(report, "rows", json_integer((json_int_t)counts.rows));
    return fine;
}

/* --- pg_amcheck ----------------------------------------------------------------------------- */

static bool tick(void *ctx, Err *err)
{
    const Sandbox *sandbox = ctx;
    return sandbox->host->cancelled == NULL || !sandbox->host->cancelled(sandbox->host->ctx) ||
           err_set(err, ERR_CANCELLED, "job.cancelled", "the job was cancelled");
}

static bool read_all(Child *child, Buf *said, Err *err)
{
    uint8_t some[4096];
    for (size_t got = 1; got > 0;) {
        if (!child_read(child, some, sizeof some, &got, err))
            return false;
        if (said->len < SAID_MOST)
            buf_add(said, some, got);
    }
    return true;
}

/* What it says of damage goes to its output, a line or two each. */
static void first_line(const Buf *said, char out[LINE_MOST])
{
    size_t n = 0;
    for (size_t i = 0; i < said->len && n + 1 < LINE_MOST; i++)
        out[n++] = said->at[i] < ' ' ? ' ' : (char)said->at[i];
    out[n] = 0;
}

static bool judge_amcheck(Child *child, const Buf *said, Err *err)
{
    Err ended = {0};
    char line[LINE_MOST];
    bool fine = child_finish(child, &ended);
    if (said->len == 0 && fine)
        return true;
    if (said->len == 0)
        return err_set(err, ERR_MISSING, "sandbox.amcheck", "pg_amcheck did not run: %.300s",
                       ended.text);
    first_line(said, line);
    return err_set(err, ERR_CORRUPT, "proof.amcheck",
                   "pg_amcheck finds damage in what was restored: %s; look at the disk and the "
                   "memory of this host, then verify the backup's content and try it again",
                   line);
}

static bool amcheck(const Sandbox *sandbox, json_t *report, Err *err)
{
    char program[300];
    scoped(buf_free) Buf said = {0};
    scoped(buf_free) Buf conninfo = {0};
    scoped(buf_free) Buf maintenance = {0};
    scoped(child_release) Child *child = NULL;
    const char *const *environment;
    postgresql_tools_path(&sandbox->tools, "pg_amcheck", program);
    if (access(program, X_OK) != 0) { /* there is none before version 14 */
        json_object_set_new(report, "amcheck", json_false());
        return true;
    }
    if (!postgresql_link_program(sandbox->link, TEXT("template1"), &conninfo, &environment, err))
        return false;
    buf_printf(&maintenance, "--maintenance-db=%s", buf_cstr(&conninfo));
    const char *const arguments[] = {"--all",
                                     "--install-missing",
                                     "--heapallindexed",
                                     "--jobs=2",
                                     "--no-dependent-toast",
                                     "--no-password",
                                     buf_cstr(&maintenance),
                                     NULL};
    ChildParams params = {.program = program,
                          .arguments = arguments,
                          .environment = environment,
                          .input = -1,
                          .cause = "proof.amcheck",
                          .tick = tick,
                          .ctx = (void *)(uintptr_t)sandbox};
    if (!child_start(&child, &params, err) || !read_all(child, &said, err) ||
        !tick(params.ctx, err))
        return false;
    json_object_set_new(report, "amcheck", json_true());
    return judge_amcheck(child, &said, err);
}

/* --- the whole ------------------------------------------------------------------------------ */

/* A physical backup's server is that of its source. */
static bool is_the_same(const Sandbox *sandbox, const char *identifier, Err *err)
{
    Text said = json_text_or(sandbox->details, "system", TEXT(""));
    return !sandbox->physical || text_equal(said, text_of(identifier)) ||
           err_set(err, ERR_CORRUPT, "proof.system",
                   "the restored cluster is system %s, the backup says %.*s: somebody else made it",
                   identifier, TEXT_ARG(said));
}

static bool describe(const Sandbox *sandbox, json_t *report, Err *err)
{
    PGconn *conn = NULL;
    scoped(postgresql_link_clear) PGresult *row = NULL;
    bool fine = postgresql_link_connect(sandbox->link, (Text){0}, &conn, err) &&
                postgresql_link_query(sandbox->link, conn, "asking who it is",
                                      "SELECT pg_catalog.current_setting('server_version'), "
                                      "system_identifier FROM pg_catalog.pg_control_system()",
                                      NULL, 0, &row, err);
    if (fine) {
        json_object_set_new(report, "server_version", json_string(PQgetvalue(row, 0, 0)));
        json_object_set_new(report, "system_identifier", json_string(PQgetvalue(row, 0, 1)));
        json_object_set_new(report, "server_pid",
                            json_integer(postgresql_server_pid(sandbox->server)));
        fine = is_the_same(sandbox, PQgetvalue(row, 0, 1), err) &&
               (sandbox->adopt.log == NULL ||
                postgresql_adopt_reached(sandbox->link, conn, &sandbox->adopt, report, err));
    }
    postgresql_link_disconnect(&conn);
    return fine;
}

/* What the tables hold; and which database is asked where a question names none. */
static bool count(const Sandbox *sandbox, json_t *report, Buf *asked, Err *err)
{
    const json_t *databases = json_object_get(sandbox->details, "databases");
    if (sandbox->physical)
        return postgresql_tally(sandbox->link, sandbox->host, report, asked, err);
    buf_add_text(asked, json_text_or(json_array_get(databases, 0), "name", TEXT("postgres")));
    return count_all(sandbox, report, err);
}

static bool check(Sandbox *sandbox, const json_t *queries, json_t *report, Err *err)
{
    scoped(buf_free) Buf asked = {0};
    return describe(sandbox, report, err) && count(sandbox, report, &asked, err) &&
           amcheck(sandbox, report, err) &&
           (queries == NULL ||
            postgresql_query_all(sandbox->link, buf_text(&asked), queries, report, err));
}

static void sandbox_kill(Sandbox *sandbox)
{
    postgresql_server_kill(sandbox->server);
}

const SandboxOps postgresql_sandbox = {
    .room = room,
    .look = look,
    .open = sandbox_open,
    .request = request,
    .settle = settle,
    .check = check,
    .kill = sandbox_kill,
    .close = sandbox_close,
};
