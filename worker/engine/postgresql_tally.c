/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/engine/postgresql_tally.h"

#include "worker/engine/postgresql_name.h"

#include <stdlib.h>

typedef struct Tally {
    PostgresqlLink *link;
    const EngineHost *host;
    uint64_t tables, rows;
} Tally;

static bool go_on(const Tally *tally, Err *err)
{
    return tally->host->cancelled == NULL || !tally->host->cancelled(tally->host->ctx) ||
           err_set(err, ERR_CANCELLED, "job.cancelled", "the job was cancelled");
}

static bool tally_table(Tally *tally, PGconn *conn, Text schema, Text name, Err *err)
{
    scoped(buf_free) Buf sql = {0};
    scoped(postgresql_link_clear) PGresult *result = NULL;
    buf_add_text(&sql, TEXT("SELECT pg_catalog.count(*) FROM ONLY "));
    postgresql_name_quote(&sql, schema);
    buf_add_byte(&sql, '.');
    postgresql_name_quote(&sql, name);
    if (!go_on(tally, err))
        return false;
    if (!postgresql_link_query(tally->link, conn, "reading a table to its end", buf_cstr(&sql),
                               NULL, 0, &result, err))
        return err_note(err, "table %.*s.%.*s", TEXT_ARG(schema), TEXT_ARG(name));
    tally->tables++;
    tally->rows += strtoull(PQgetvalue(result, 0, 0), NULL, 10);
    return true;
}

static const char tables_sql[] =
    "SELECT n.nspname, c.relname FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n "
    "ON n.oid = c.relnamespace WHERE c.relkind = ANY ('{r,m}') AND c.relpersistence = 'p' "
    "AND n.nspname <> 'pg_catalog' AND n.nspname <> 'information_schema' "
    "AND (c.relkind = 'r' OR c.relispopulated) ORDER BY 1, 2";

static bool tally_database(Tally *tally, Text name, Err *err)
{
    PGconn *conn = NULL;
    scoped(postgresql_link_clear) PGresult *tables = NULL;
    bool fine = go_on(tally, err) && postgresql_link_connect(tally->link, name, &conn, err) &&
                postgresql_link_query(tally->link, conn, "listing tables", tables_sql, NULL, 0,
                                      &tables, err);
    for (int i = 0; fine && i < PQntuples(tables); i++)
        fine = tally_table(tally, conn, postgresql_link_value(tables, i, 0),
                           postgresql_link_value(tables, i, 1), err);
    postgresql_link_disconnect(&conn);
    return fine || err_note(err, "database %.*s", TEXT_ARG(name));
}

/* From version 15 on a server knows by which version of a library a database is ordered. */
static bool same_order(PostgresqlLink *link, PGconn *conn, Err *err)
{
    scoped(postgresql_link_clear) PGresult *other = NULL;
    if (PQserverVersion(conn) < 150000)
        return true;
    if (!postgresql_link_query(
            link, conn, "comparing collations",
            "SELECT datname, datcollversion, pg_catalog.pg_database_collation_actual_version(oid) "
            "FROM pg_catalog.pg_database WHERE datallowconn AND datcollversion <> "
            "pg_catalog.pg_database_collation_actual_version(oid) ORDER BY 1",
            NULL, 0, &other, err))
        return false;
    return PQntuples(other) == 0 ||
           err_set(err, ERR_MISSING, "sandbox.collation",
                   "text of the database %s is ordered by version %s of its collation, this host "
                   "has %s: its indexes cannot be judged here; name a pool whose worker has the "
                   "operating system of the source",
                   PQgetvalue(other, 0, 0), PQgetvalue(other, 0, 1), PQgetvalue(other, 0, 2));
}

bool postgresql_tally(PostgresqlLink *link, const EngineHost *host, json_t *report, Buf *alone,
                      Err *err)
{
    Tally tally = {.link = link, .host = host};
    PGconn *conn = NULL;
    int own = 0;
    scoped(postgresql_link_clear) PGresult *names = NULL;
    bool fine = postgresql_link_connect(link, (Text){0}, &conn, err) &&
                same_order(link, conn, err) &&
                postgresql_link_query(link, conn, "listing databases",
                                      "SELECT datname, datname <> 'postgres' AND NOT datistemplate "
                                      "FROM pg_catalog.pg_database WHERE datallowconn ORDER BY 1",
                                      NULL, 0, &names, err);
    postgresql_link_disconnect(&conn);
    for (int i = 0; fine && i < PQntuples(names); i++) {
        Text name = postgresql_link_value(names, i, 0);
        bool theirs = *PQgetvalue(names, i, 1) == 't';
        if (theirs && own++ == 0)
            buf_add_text(alone, name);
        fine = tally_database(&tally, name, err);
    }
    if (own != 1) {
        buf_clear(alone);
        buf_add_text(alone, TEXT("postgres"));
    }
    json_object_set_new(report, "databases", json_integer(fine ? PQntuples(names) : 0));
    json_object_set_new(report, "tables", json_integer((json_int_t)tally.tables));
    json_object_set_new(report, "rows", json_integer((json_int_t)tally.rows));
    return fine;
}
