/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/engine/postgresql_probe.h"

#include "common/base/json.h"
#include "common/base/mem.h"
#include "hf_engine_assets.h"
#include "worker/engine/postgresql_check.h"
#include "worker/engine/postgresql_choose.h"
#include "worker/engine/postgresql_file.h"
#include "worker/engine/postgresql_probe_replication.h"
#include "worker/engine/postgresql_restore.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/statvfs.h>

typedef struct Probe {
    PostgresqlLink *link;
    PGconn *conn;
    PostgresqlChecks checks;
} Probe;

static bool probe_server(Probe *p, const EngineParams *params, json_t *report)
{
    Err err = {0};
    PostgresqlTools tools;
    char text[200];
    scoped(postgresql_link_clear) PGresult *row = NULL;
    uint64_t jobs = json_u64_or(params->config, "jobs", 4);
    if (!postgresql_link_query(p->link, p->conn, "looking at the server",
                               (const char *)asset_engine_server_sql.bytes, NULL, 0, &row, &err)) {
        postgresql_check_err(&p->checks, "server", &err);
        return false;
    }
    json_object_set_new(report, "server_version", json_string(PQgetvalue(row, 0, 5)));
    postgresql_check(&p->checks, "login", true, "",
                     *PQgetvalue(row, 0, 2) == 't' ? "signed in to a standby" : "signed in");
    if (postgresql_tools_find(PQserverVersion(p->conn), "source.tools", &tools, &err)) {
        snprintf(text, sizeof text, "pg_dump %s for server %s", tools.version,
                 PQgetvalue(row, 0, 5));
        json_object_set_new(report, "tool_version", json_string(tools.version));
        postgresql_check(&p->checks, "tools", true, "", text);
    } else {
        postgresql_check_err(&p->checks, "tools", &err);
    }
    snprintf(text, sizeof text, "%s connections are free, a backup takes %llu",
             PQgetvalue(row, 0, 3), (unsigned long long)jobs + 2);
    postgresql_check(&p->checks, "connections",
                     strtoll(PQgetvalue(row, 0, 3), NULL, 10) >= (long long)jobs + 2,
                     "lower `jobs` or raise max_connections", text);
    bool passwords = *PQgetvalue(row, 0, 1) == 't';
    postgresql_check(
        &p->checks, "globals", true, "",
        passwords ? "roles are kept with their passwords"
                  : "roles are kept without their passwords: only a superuser may read those");
    return true;
}

static void probe_database(Probe *p, Text name, json_t *databases)
{
    Err err = {0};
    PGconn *conn = NULL;
    char text[300], label[80];
    scoped(postgresql_link_clear) PGresult *row = NULL;
    snprintf(label, sizeof label, "database %.*s", (int)(name.len > 63 ? 63 : name.len), name.at);
    if (!postgresql_link_connect(p->link, name, &conn, &err) ||
        !postgresql_link_query(p->link, conn, "looking at rights",
                               (const char *)asset_engine_rights_sql.bytes, NULL, 0, &row, &err)) {
        postgresql_check_err(&p->checks, label, &err);
        postgresql_link_disconnect(&conn);
        return;
    }
    json_array_append_new(
        databases, json_pack("{s:o, s:I, s:I, s:I}", "name", json_bytes(slice_of_text(name)),
                             "tables", (json_int_t)strtoll(PQgetvalue(row, 0, 0), NULL, 10),
                             "large_objects", (json_int_t)strtoll(PQgetvalue(row, 0, 5), NULL, 10),
                             "bytes", (json_int_t)strtoll(PQgetvalue(row, 0, 6), NULL, 10)));
    if (strcmp(PQgetvalue(row, 0, 1), "0") != 0) {
        snprintf(text, sizeof text, "%s of %s tables may not be read, for example %.100s",
                 PQgetvalue(row, 0, 1), PQgetvalue(row, 0, 0), PQgetvalue(row, 0, 2));
        postgresql_check(&p->checks, label, false, "grant pg_read_all_data to the role", text);
    } else if (strcmp(PQgetvalue(row, 0, 3), "0") != 0) {
        snprintf(text, sizeof text, "row security would hide rows of %s tables, for example %.100s",
                 PQgetvalue(row, 0, 3), PQgetvalue(row, 0, 4));
        postgresql_check(&p->checks, label, false, "give the role BYPASSRLS", text);
    } else {
        snprintf(text, sizeof text, "%s tables, %s bytes, all of them readable",
                 PQgetvalue(row, 0, 0), PQgetvalue(row, 0, 6));
        postgresql_check(&p->checks, label, true, "", text);
    }
    postgresql_link_disconnect(&conn);
}

static void probe_source(Probe *p, const EngineParams *params, json_t *report)
{
    Err err = {0};
    json_t *names = NULL, *databases = json_array();
    size_t i;
    json_t *name;
    json_object_set_new(report, "databases", databases);
    if (!postgresql_choose_connect(p->link, params->config, &p->conn, &err)) {
        postgresql_check_err(&p->checks, "login", &err);
        return;
    }
    if (!probe_server(p, params, report))
        return;
    if (!postgresql_choose_databases(p->link, p->conn, params->config, &names, &err)) {
        postgresql_check_err(&p->checks, "databases", &err);
        return;
    }
    json_array_foreach(names, i, name)
    {
        scoped(buf_free) Buf plain = {0};
        if (json_unbytes((Text){json_string_value(name), json_string_length(name)}, &plain, &err))
            probe_database(p, text_of_slice(buf_slice(&plain)), databases);
    }
    json_decref(names);
}

bool postgresql_probe_test(const EngineParams *params, json_t **report, Err *err)
{
    Probe p = {.checks = {.list = json_array(), .ok = true}};
    *report = json_pack("{s:s, s:o}", "engine", "postgresql", "checks", p.checks.list);
    if (!postgresql_link_open(&p.link, params->config, params->host, "source", err)) {
        postgresql_check_err(&p.checks, "credential", err);
        *err = (Err){0};
    } else if (postgresql_probe_replicates(params)) {
        postgresql_probe_replication(p.link, params, *report, &p.checks);
    } else {
        probe_source(&p, params, *report);
    }
    json_object_set_new(*report, "ok", json_boolean(p.checks.ok));
    postgresql_link_disconnect(&p.conn);
    postgresql_link_close(p.link);
    return true;
}

/* ---- what a restore would do ---- */

static json_t *free_bytes(const char *directory)
{
    struct statvfs disk;
    /* Only where the server's disk is ours to see: the same host, and a role that may know. */
    if (*directory == 0 || statvfs(directory, &disk) != 0)
        return json_null();
    return json_integer((json_int_t)disk.f_bavail * (json_int_t)disk.f_frsize);
}

static bool plan_one(const PostgresqlRules *rules, PGconn *conn, Text from, Text to,
                     json_t *databases, bool *allowed, Err *err)
{
    bool exists = false;
    Err refusal = {0};
    PostgresqlRestore *restore = postgresql_restore_new(from, to);
    bool fine = postgresql_restore_allowed(rules, conn, restore, &exists, &refusal);
    postgresql_restore_free(restore);
    if (!fine && refusal.code != ERR_CONFLICT && refusal.code != ERR_INVALID) {
        *err = refusal;
        return false;
    }
    *allowed = *allowed && fine;
    json_array_append_new(databases,
                          json_pack("{s:o, s:o, s:b, s:s, s:s}", "name",
                                    json_bytes(slice_of_text(from)), "database",
                                    json_bytes(slice_of_text(to)), "exists", (int)exists, "action",
                                    !fine    ? "refused"
                                    : exists ? "set aside and replace"
                                             : "create",
                                    "refused", fine ? "" : refusal.text));
    return true;
}

static bool plan_all(const PostgresqlRules *rules, PGconn *conn, const EngineParams *params,
                     json_t *databases, bool *allowed, Err *err)
{
    const json_t *wanted = json_object_get(params->request, "target");
    json_t *map = json_object_get(wanted, "databases"), *to;
    const json_t *names = json_object_get(params->config, "databases");
    const char *from;
    size_t i;
    json_t *name;
    Text one = json_text_or(wanted, "database", (Text){0});
    if (rules->fills_empty && !postgresql_file_target(params, &one, err))
        return false;
    if (json_is_object(map)) {
        json_object_foreach(map, from,
                            to) if (!plan_one(rules, conn, text_of(from),
                                              (Text){json_string_value(to), json_string_length(to)},
                                              databases, allowed, err)) return false;
        return true;
    }
    if (one.at != NULL)
        return plan_one(rules, conn, TEXT(""), one, databases, allowed, err);
    json_array_foreach(names, i, name)
    {
        Text text = {json_string_value(name), json_string_length(name)};
        if (text.at == NULL || text_equal(text, TEXT("all")))
            continue;
        if (!plan_one(rules, conn, text, text, databases, allowed, err))
            return false;
    }
    return true;
}

/* Words for people beside the list for programs. */
static json_t *plan_report(PGconn *conn, const PGresult *row, json_t *databases, bool allowed)
{
    scoped(buf_free) Buf creates = {0};
    scoped(buf_free) Buf replaces = {0};
    scoped(buf_free) Buf target = {0};
    const char *warning = "";
    bool exists = false;
    size_t i;
    json_t *database;
    json_array_foreach(databases, i, database)
    {
        bool there = json_is_true(json_object_get(database, "exists"));
        Text refused = json_text_or(database, "refused", TEXT(""));
        Buf *list = there ? &replaces : &creates;
        exists = exists || there;
        if (refused.len > 0)
            warning = refused.at;
        buf_add_text(list, list->len > 0 ? TEXT(", ") : TEXT(""));
        buf_add_text(list, json_text_or(database, "database", TEXT("")));
    }
    buf_printf(&target, "%s:%s PostgreSQL %s", PQhost(conn) == NULL ? "" : PQhost(conn),
               PQport(conn) == NULL ? "" : PQport(conn), PQgetvalue(row, 0, 5));
    bool may = *PQgetvalue(row, 0, 6) == 't' || *PQgetvalue(row, 0, 0) == 't';
    if (!may)
        warning = "the role may not create databases: grant it CREATEDB";
    return json_pack("{s:s, s:s, s:b, s:b, s:s, s:s, s:s, s:O, s:o}", "target", buf_cstr(&target),
                     "server_version", PQgetvalue(row, 0, 5), "ok", (int)(allowed && may), "exists",
                     (int)exists, "creates", buf_cstr(&creates), "replaces", buf_cstr(&replaces),
                     "warning", warning, "databases", databases, "free_bytes",
                     free_bytes(PQgetvalue(row, 0, 4)));
}

bool postgresql_probe_plan(const EngineParams *params, json_t **report, Err *err)
{
    const json_t *server = json_object_get(json_object_get(params->request, "target"), "server");
    const json_t *config = json_is_object(server) ? server : params->config;
    PostgresqlRules rules = {
        .host = params->host,
        .in_place = json_bool_or(params->request, "in_place", false),
        .confirmed = json_bool_or(params->request, "confirmed", false),
        .confirm = json_text_or(params->request, "confirm", (Text){0}).at,
        .fills_empty = json_object_get(params->request, "file") != NULL,
    };
    PGconn *conn = NULL;
    scoped(postgresql_link_release) PostgresqlLink *link = NULL;
    scoped(postgresql_link_clear) PGresult *row = NULL;
    scoped(json_release) json_t *databases = json_array();
    bool allowed = true;
    if (!postgresql_link_open(&link, config, params->host, "target", err) ||
        !postgresql_link_connect(link, (Text){0}, &conn, err))
        return false;
    rules.link = link;
    bool ok =
        postgresql_link_query(link, conn, "looking at the server",
                              (const char *)asset_engine_server_sql.bytes, NULL, 0, &row, err) &&
        plan_all(&rules, conn, params, databases, &allowed, err);
    if (ok)
        *report = plan_report(conn, row, databases, allowed);
    postgresql_link_disconnect(&conn);
    return ok;
}
