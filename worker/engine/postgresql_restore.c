/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/engine/postgresql_restore.h"

#include "common/base/json.h"
#include "common/base/mem.h"
#include "worker/engine/child.h"
#include "worker/engine/postgresql_dump.h"
#include "worker/engine/postgresql_name.h"
#include "worker/engine/postgresql_settings.h"
#include "worker/engine/postgresql_swap.h"
#include "worker/engine/postgresql_toc.h"

#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

enum { TELL_S = 60, LIST_MAX = 1 << 29, COUNT_LANES = 8, NAME_MAX_BYTES = 63 };

/* FNV-1a: the temporary name must follow from the final one, nothing more. */
static uint64_t hash_of(Text name)
{
    uint64_t hash = 0xcbf29ce484222325U;
    for (size_t i = 0; i < name.len; i++)
        hash = (hash ^ (uint8_t)name.at[i]) * 0x100000001b3U;
    return hash;
}

PostgresqlRestore *postgresql_restore_new(Text name, Text final)
{
    PostgresqlRestore *restore = mem_new(PostgresqlRestore);
    char temporary[64];
    snprintf(temporary, sizeof temporary, "holdfast_restore_%016" PRIx64, hash_of(final));
    restore->name = mem_text(name);
    restore->final = mem_text(final);
    restore->temporary = mem_string(temporary);
    return restore;
}

void postgresql_restore_free(PostgresqlRestore *restore)
{
    if (restore == NULL)
        return;
    for (size_t i = 0; i < restore->loaded_count; i++)
        mem_free(restore->loaded[i].quoted);
    mem_free(restore->loaded);
    mem_free(restore->name);
    mem_free(restore->final);
    mem_free(restore->temporary);
    mem_free(restore->set_aside);
    json_decref(restore->properties);
    buf_free(&restore->archive);
    buf_free(&restore->properties_text);
    buf_free(&restore->chosen);
    mem_free(restore);
}

static bool database_exists(const PostgresqlRules *rules, PGconn *conn, const char *name,
                            bool *exists, Err *err)
{
    scoped(postgresql_link_clear) PGresult *rows = NULL;
    const char *values[] = {name};
    if (!postgresql_link_query(rules->link, conn, "looking for the target database",
                               "SELECT 1 FROM pg_catalog.pg_database WHERE datname = $1::text",
                               values, 1, &rows, err))
        return false;
    *exists = PQntuples(rows) > 0;
    return true;
}

/* Whatever is made after initdb has a number from 16384 on, in every version. */
static bool is_empty(const PostgresqlRules *rules, const char *database, bool *empty, Err *err)
{
    scoped(postgresql_link_disconnect) PGconn *conn = NULL;
    scoped(postgresql_link_clear) PGresult *rows = NULL;
    if (!postgresql_link_connect(rules->link, text_of(database), &conn, err) ||
        !postgresql_link_query(
            rules->link, conn, "looking into the target database",
            "SELECT NOT EXISTS (SELECT FROM pg_catalog.pg_class WHERE oid >= 16384) AND NOT EXISTS "
            "(SELECT FROM pg_catalog.pg_namespace WHERE oid >= 16384) AND NOT EXISTS (SELECT FROM "
            "pg_catalog.pg_proc WHERE oid >= 16384) AND NOT EXISTS (SELECT FROM pg_catalog.pg_type "
            "WHERE oid >= 16384) AND NOT EXISTS (SELECT FROM pg_catalog.pg_extension WHERE oid >= "
            "16384) AND NOT EXISTS (SELECT FROM pg_catalog.pg_largeobject_metadata)",
            NULL, 0, &rows, err))
        return false;
    *empty = *PQgetvalue(rows, 0, 0) == 't';
    return true;
}

bool postgresql_restore_allowed(const PostgresqlRules *rules, PGconn *conn,
                                const PostgresqlRestore *restore, bool *exists, Err *err)
{
    size_t len = strlen(restore->final);
    bool empty = false;
    if (len == 0 || len > NAME_MAX_BYTES)
        return err_set(err, ERR_INVALID, "target.name",
                       "\"%s\" is no name for a database: 1 to 63 bytes; choose another",
                       restore->final);
    if (!database_exists(rules, conn, restore->final, exists, err))
        return false;
    if (!*exists)
        return true;
    if (rules->fills_empty && !rules->in_place && !is_empty(rules, restore->final, &empty, err))
        return false;
    if (empty)
        return true;
    if (!rules->in_place)
        return err_set(err, ERR_CONFLICT, "target.exists",
                       "database \"%s\" is already there%s; name a new one, or restore in place "
                       "and confirm with its name",
                       restore->final, rules->fills_empty ? " and is not empty" : "");
    if (!rules->confirmed &&
        (rules->confirm == NULL || strcmp(rules->confirm, restore->final) != 0))
        return err_set(err, ERR_CONFLICT, "target.confirm",
                       "restoring in place over \"%s\" needs that name as confirmation",
                       restore->final);
    return true;
}

static bool roles_are_there(const PostgresqlRestore *restore, const PostgresqlRules *rules,
                            PGconn *conn, Err *err)
{
    const json_t *roles = json_object_get(restore->properties, "roles");
    scoped(buf_free) Buf missing = {0};
    size_t i, count = 0;
    json_t *role;
    json_array_foreach(roles, i, role)
    {
        scoped(postgresql_link_clear) PGresult *rows = NULL;
        const char *values[] = {json_string_value(role)};
        if (!postgresql_link_query(rules->link, conn, "looking for roles",
                                   "SELECT 1 FROM pg_catalog.pg_roles WHERE rolname = $1::text",
                                   values, 1, &rows, err))
            return false;
        if (PQntuples(rows) == 0 && count++ < 5)
            buf_printf(&missing, "%s%s", missing.len == 0 ? "" : ", ", json_string_value(role));
    }
    if (count == 0 || rules->ignore_owners)
        return true;
    return err_set(err, ERR_CONFLICT, "target.roles",
                   "%zu roles of the backup are not on this server (%s); create them, restore with "
                   "roles, or restore with owners ignored",
                   count, buf_cstr(&missing));
}

static bool tablespaces_are_there(const PostgresqlRestore *restore, const PostgresqlRules *rules,
                                  PGconn *conn, bool *there, Err *err)
{
    size_t i;
    json_t *name;
    *there = true;
    json_array_foreach(json_object_get(restore->properties, "tablespaces"), i, name)
    {
        scoped(postgresql_link_clear) PGresult *rows = NULL;
        const char *values[] = {json_string_value(name)};
        if (!postgresql_link_query(
                rules->link, conn, "looking for tablespaces",
                "SELECT 1 FROM pg_catalog.pg_tablespace WHERE spcname = $1::text", values, 1, &rows,
                err))
            return false;
        *there = *there && PQntuples(rows) > 0;
    }
    return true;
}

bool postgresql_restore_make(PostgresqlRestore *restore, const PostgresqlRules *rules, PGconn *conn,
                             Err *err)
{
    scoped(buf_free) Buf drop = {0};
    scoped(buf_free) Buf create = {0};
    buf_printf(&drop, "DROP DATABASE IF EXISTS \"%s\"", restore->temporary);
    if (!postgresql_link_exec(rules->link, conn, "removing the remains of an earlier restore",
                              buf_cstr(&drop), err))
        return false;
    buf_printf(&create, "CREATE DATABASE \"%s\"", restore->temporary);
    postgresql_settings_create(restore->properties, rules->server_version, &create);
    restore->created =
        postgresql_link_exec(rules->link, conn, "creating the database", buf_cstr(&create), err);
    return restore->created;
}

/* The chosen lines go through a small file: pg_restore takes them by name only. */
static bool write_list(const PostgresqlRestore *restore, const PostgresqlRules *rules, Buf *path,
                       Err *err)
{
    buf_printf(path, "%s/toc-XXXXXX", rules->host->scratch);
    buf_cstr(path);
    int fd = mkostemp((char *)path->at, O_CLOEXEC);
    if (fd < 0)
        return err_set_sys(err, ERR_IO, "target.scratch", "cannot write into %s",
                           rules->host->scratch);
    path->len = strlen((char *)path->at);
    bool ok = write(fd, restore->chosen.at, restore->chosen.len) == (ssize_t)restore->chosen.len;
    if (!ok)
        err_set_sys(err, ERR_IO, "target.scratch", "cannot write into %s", rules->host->scratch);
    close(fd);
    return ok;
}

typedef struct Watch {
    PostgresqlRestore *restore;
    const PostgresqlRules *rules;
    PGconn *conn;
    time_t told;
} Watch;

/* What the server is busy with, as a line of the job's log: building an index of a large table
 * moves no byte of ours for hours, and whoever watches the job must not take that for a stall. */
static void tell_activity(const PostgresqlRules *rules, PGconn *conn, const char *database)
{
    const char *values[] = {database};
    PGresult *rows = PQexecParams(
        conn,
        "SELECT pg_catalog.left(pg_catalog.regexp_replace(query, '\\s+', ' ', 'g'), 200) "
        "FROM pg_catalog.pg_stat_activity WHERE datname = $1::text AND state = 'active' AND "
        "wait_event_type IS DISTINCT FROM 'Lock' ORDER BY query_start LIMIT 1",
        1, NULL, values, NULL, NULL, 0);
    if (PQresultStatus(rows) == PGRES_TUPLES_OK && PQntuples(rows) > 0 && rules->host->note != NULL)
        rules->host->note(rules->host->ctx, "target.busy", PQgetvalue(rows, 0, 0));
    PQclear(rows);
}

static bool watch_tick(void *ctx, Err *err)
{
    Watch *watch = ctx;
    const PostgresqlRules *rules = watch->rules;
    time_t now = time(NULL);
    Err ignored = {0};
    if (rules->host->cancelled != NULL && rules->host->cancelled(rules->host->ctx))
        return err_set(err, ERR_CANCELLED, "job.cancelled", "the job was cancelled");
    if (watch->told == 0)
        watch->told = now;
    if (now - watch->told < TELL_S)
        return true;
    watch->told = now;
    if (watch->conn != NULL ||
        postgresql_link_connect(rules->link, (Text){0}, &watch->conn, &ignored))
        tell_activity(rules, watch->conn, watch->restore->temporary);
    return true;
}

static bool run_pg_restore(PostgresqlRestore *restore, const PostgresqlRules *rules,
                           const char *section, unsigned jobs, bool tablespaces, Err *err)
{
    scoped(buf_free) Buf conninfo = {0};
    scoped(buf_free) Buf database = {0};
    scoped(buf_free) Buf list = {0};
    scoped(buf_free) Buf output = {0};
    const char *const *environment;
    char program[300], parallel[32];
    const char *arguments[16];
    size_t n = 0;
    postgresql_tools_path(&rules->tools, "pg_restore", program);
    if (!postgresql_link_program(rules->link, text_of(restore->temporary), &conninfo, &environment,
                                 err))
        return false;
    buf_printf(&database, "--dbname=%s", buf_cstr(&conninfo));
    snprintf(parallel, sizeof parallel, "--jobs=%u", jobs);
    arguments[n++] = "--exit-on-error";
    arguments[n++] = "--no-password";
    arguments[n++] = section;
    arguments[n++] = parallel;
    if (rules->ignore_owners) {
        arguments[n++] = "--no-owner";
        arguments[n++] = "--no-privileges";
    }
    if (!tablespaces)
        arguments[n++] = "--no-tablespaces";
    if (restore->partial) {
        scoped(buf_free) Buf path = {0};
        if (!write_list(restore, rules, &path, err))
            return false;
        buf_printf(&list, "--use-list=%s", buf_cstr(&path));
        arguments[n++] = buf_cstr(&list);
    }
    arguments[n++] = buf_cstr(&database);
    arguments[n++] = "/dev/stdin"; /* a file in memory: every job of pg_restore opens it anew */
    arguments[n] = NULL;
    int fd = postgresql_dump_memory(buf_slice(&restore->archive), err);
    Watch watch = {.restore = restore, .rules = rules};
    ChildParams params = {.program = program,
                          .arguments = arguments,
                          .environment = environment,
                          .input = fd,
                          .cause = "target.schema",
                          .tick = watch_tick,
                          .ctx = &watch};
    bool ok = fd >= 0 && child_output(&params, &output, LIST_MAX, err);
    if (fd >= 0)
        close(fd);
    postgresql_link_disconnect(&watch.conn);
    if (list.len > 0)
        unlink((char *)list.at + strlen("--use-list="));
    return ok || err_note(err, "definitions of %s (%s)", restore->name, section);
}

static bool choose(PostgresqlRestore *restore, const PostgresqlRules *rules, const Text *tables,
                   size_t table_count, Err *err)
{
    scoped(buf_free) Buf printed = {0};
    char program[300];
    const char *const arguments[] = {"--list", "--verbose", NULL};
    const char *const environment[] = {"PATH=/usr/bin:/bin", "LC_ALL=C", NULL};
    postgresql_tools_path(&rules->tools, "pg_restore", program);
    int fd = postgresql_dump_memory(buf_slice(&restore->archive), err);
    if (fd < 0)
        return false;
    ChildParams params = {.program = program,
                          .arguments = arguments,
                          .environment = environment,
                          .input = fd,
                          .cause = "target.schema"};
    bool ok = child_output(&params, &printed, LIST_MAX, err);
    close(fd);
    buf_cstr(&printed);
    return ok && postgresql_toc_choose(text_of_slice(buf_slice(&printed)), tables, table_count,
                                       &restore->chosen, &restore->left_out, err);
}

bool postgresql_restore_create(PostgresqlRestore *restore, const PostgresqlRules *rules,
                               PGconn *conn, const Text *tables, size_t table_count, Err *err)
{
    bool exists = false, tablespaces = true;
    if (!postgresql_restore_allowed(rules, conn, restore, &exists, err) ||
        !roles_are_there(restore, rules, conn, err) ||
        !tablespaces_are_there(restore, rules, conn, &tablespaces, err) ||
        (restore->partial && !choose(restore, rules, tables, table_count, err)) ||
        !postgresql_restore_make(restore, rules, conn, err))
        return false;
    if (!tablespaces && rules->host->note != NULL)
        rules->host->note(rules->host->ctx, "target.tablespaces",
                          "a tablespace of the backup is not on this server: everything goes into "
                          "the default one");
    return run_pg_restore(restore, rules, "--section=pre-data", 1, tablespaces, err);
}

bool postgresql_restore_complete(PostgresqlRestore *restore, const PostgresqlRules *rules, Err *err)
{
    /* Tablespaces of indexes: those that are missing were said above; keep what can be kept. */
    const json_t *tablespaces = json_object_get(restore->properties, "tablespaces");
    return run_pg_restore(restore, rules, "--section=post-data", rules->lanes,
                          json_array_size(tablespaces) == 0, err);
}

/* ---- counting ---- */

static bool counted(const PostgresqlRestore *restore, const PostgresqlRules *rules, PGconn *conn,
                    const PostgresqlLoaded *table, Err *err)
{
    char what[200];
    PGresult *result = PQgetResult(conn);
    snprintf(what, sizeof what, "counting %s", table->quoted);
    bool ok = PQresultStatus(result) == PGRES_TUPLES_OK ||
              postgresql_link_failed(rules->link, conn, result, what, err);
    uint64_t rows = ok ? strtoull(PQgetvalue(result, 0, 0), NULL, 10) : 0;
    PQclear(result);
    while ((result = PQgetResult(conn)) != NULL)
        PQclear(result);
    if (ok && (table->at_least ? rows < table->rows : rows != table->rows))
        ok = err_set(err, ERR_CORRUPT, "target.rows",
                     "table %s of %s has %" PRIu64 " rows after the restore, the backup says "
                     "%" PRIu64 "; the restored database was removed, see the server's log",
                     table->quoted, restore->name, rows, table->rows);
    return ok;
}

static bool send_count(const PostgresqlRules *rules, PGconn *conn, const PostgresqlLoaded *table,
                       Err *err)
{
    scoped(buf_free) Buf sql = {0};
    buf_printf(&sql, "SELECT count(*) FROM ONLY %s", table->quoted);
    return PQsendQuery(conn, buf_cstr(&sql)) == 1 ||
           postgresql_link_failed(rules->link, conn, NULL, "counting rows", err);
}

bool postgresql_restore_count(PostgresqlRestore *restore, const PostgresqlRules *rules, Err *err)
{
    PGconn *conns[COUNT_LANES] = {NULL};
    const PostgresqlLoaded *doing[COUNT_LANES] = {NULL};
    Watch watch = {.restore = restore, .rules = rules};
    unsigned lanes = rules->lanes < COUNT_LANES ? rules->lanes : COUNT_LANES;
    size_t next = 0, done = 0;
    bool ok = true;
    for (unsigned i = 0; ok && i < lanes && i < restore->loaded_count; i++)
        ok = postgresql_link_connect(rules->link, text_of(restore->temporary), &conns[i], err);
    while (ok && done < restore->loaded_count) {
        struct pollfd fds[COUNT_LANES];
        for (unsigned i = 0; ok && i < COUNT_LANES; i++) {
            fds[i] = (struct pollfd){.fd = -1, .events = POLLIN};
            if (conns[i] == NULL)
                continue;
            if (doing[i] == NULL && next < restore->loaded_count) {
                doing[i] = &restore->loaded[next++];
                ok = send_count(rules, conns[i], doing[i], err);
            }
            if (doing[i] != NULL)
                fds[i].fd = PQsocket(conns[i]);
        }
        if (ok && poll(fds, COUNT_LANES, 1000) == 0)
            ok = watch_tick(&watch, err);
        for (unsigned i = 0; ok && i < COUNT_LANES; i++) {
            if (fds[i].fd < 0 || fds[i].revents == 0)
                continue;
            (void)PQconsumeInput(conns[i]); /* a broken connection shows in the result */
            if (PQisBusy(conns[i]) != 0)
                continue;
            ok = counted(restore, rules, conns[i], doing[i], err);
            doing[i] = NULL;
            done++;
        }
    }
    for (unsigned i = 0; i < COUNT_LANES; i++)
        postgresql_link_disconnect(&conns[i]);
    postgresql_link_disconnect(&watch.conn);
    return ok;
}

/* ---- publishing ---- */

/* What the database that has the name now will be called. */
static void choose_aside(PostgresqlRestore *restore)
{
    scoped(buf_free) Buf old = {0};
    char stamp[32];
    time_t now = time(NULL);
    struct tm utc;
    gmtime_r(&now, &utc);
    strftime(stamp, sizeof stamp, "_before_%Y%m%d%H%M%S", &utc);
    size_t keep = strlen(restore->final);
    if (keep + strlen(stamp) > NAME_MAX_BYTES)
        keep = NAME_MAX_BYTES - strlen(stamp);
    while (keep > 0 && keep < strlen(restore->final) &&
           ((uint8_t)restore->final[keep] & 0xc0) == 0x80)
        keep--; /* never half a character */
    buf_add(&old, restore->final, keep);
    buf_add_text(&old, text_of(stamp));
    restore->set_aside = mem_string(buf_cstr(&old));
}

/* Of an empty database nothing is kept, unless it has got something meanwhile. */
static void drop_empty(PostgresqlRestore *restore, const PostgresqlRules *rules, PGconn *conn)
{
    scoped(buf_free) Buf sql = {0};
    Err ignored = {0};
    bool empty = false;
    buf_add_text(&sql, TEXT("DROP DATABASE "));
    postgresql_name_quote(&sql, text_of(restore->set_aside));
    if (!is_empty(rules, restore->set_aside, &empty, &ignored) || !empty ||
        !postgresql_link_exec(rules->link, conn, "removing the empty database", buf_cstr(&sql),
                              &ignored))
        return;
    mem_free(restore->set_aside);
    restore->set_aside = NULL;
}

bool postgresql_restore_publish(PostgresqlRestore *restore, const PostgresqlRules *rules,
                                PGconn *conn, Err *err)
{
    scoped(buf_free) Buf settings = {0};
    bool exists = false;
    postgresql_settings_alter(restore->properties, restore->temporary, rules->ignore_owners,
                              &settings);
    if ((settings.len > 0 &&
         !postgresql_link_exec(rules->link, conn, "setting the database's properties",
                               buf_cstr(&settings), err)) ||
        !postgresql_restore_allowed(rules, conn, restore, &exists, err))
        return false;
    if (exists)
        choose_aside(restore);
    bool ok = postgresql_swap(rules, conn, restore, &restore->ended, err);
    restore->created = !ok;
    if (ok && exists && !rules->in_place)
        drop_empty(restore, rules, conn);
    return ok;
}

void postgresql_restore_drop(PostgresqlRestore *restore, const PostgresqlRules *rules)
{
    PGconn *conn = NULL;
    Err ignored = {0};
    scoped(buf_free) Buf sql = {0};
    if (!restore->created)
        return;
    buf_printf(&sql, "DROP DATABASE IF EXISTS \"%s\" WITH (FORCE)", restore->temporary);
    if (postgresql_link_connect(rules->link, (Text){0}, &conn, &ignored) &&
        !postgresql_link_exec(rules->link, conn, "removing the unfinished database", buf_cstr(&sql),
                              &ignored) &&
        rules->host->note != NULL)
        rules->host->note(rules->host->ctx, "target.remains", ignored.text);
    restore->created = false;
    postgresql_link_disconnect(&conn);
}
