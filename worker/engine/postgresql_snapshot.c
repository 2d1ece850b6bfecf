/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/engine/postgresql_snapshot.h"

#include "common/base/json.h"
#include "common/base/mem.h"
#include "hf_engine_assets.h"
#include "worker/engine/postgresql_dump.h"
#include "worker/engine/postgresql_name.h"

#include <fnmatch.h>
#include <stdio.h>
#include <stdlib.h>

enum {
    TRIES = 5,               /* snapshots taken while tables keep changing under us */
    LOCK_STATEMENT = 100000, /* bytes of one LOCK TABLE: well below any limit of the server */
    DUMP_LOCK_WAIT_S = 3,    /* pg_dump's patience; a new attempt is cheap then */
    SEQUENCE_BATCH = 100,    /* branches of one UNION ALL */
};

static const char *sql(const Asset *asset)
{
    return (const char *)asset->bytes;
}

static bool excluded(const json_t *patterns, Text database, const PostgresqlTable *table,
                     bool *used)
{
    scoped(buf_free) Buf full = {0};
    bool match = false;
    size_t i;
    json_t *pattern;
    buf_add_text(&full, database);
    buf_add_byte(&full, '.');
    buf_add_text(&full, table->schema);
    buf_add_byte(&full, '.');
    buf_add_text(&full, table->name);
    const char *three = buf_cstr(&full), *two = three + database.len + 1;
    json_array_foreach(patterns, i, pattern)
    {
        const char *text = json_string_value(pattern);
        if (text == NULL)
            continue;
        bool hit = fnmatch(text, two, 0) == 0 || fnmatch(text, three, 0) == 0 ||
                   strcmp(text, two + table->schema.len + 1) == 0;
        used[i] |= hit;
        match |= hit;
    }
    return match;
}

PRINTF_LIKE(3, 4)
static void note(const PostgresqlSnapshotParams *params, const char *event, const char *format, ...)
{
    scoped(buf_free) Buf line = {0};
    va_list args;
    va_start(args, format);
    buf_vprintf(&line, format, args);
    va_end(args);
    if (params->host->note != NULL)
        params->host->note(params->host->ctx, event, buf_cstr(&line));
}

static void fill_tables(PostgresqlSnapshot *s, const PostgresqlSnapshotParams *params)
{
    const PGresult *rows = s->table_rows;
    size_t patterns = json_array_size(params->exclude);
    bool *used = mem_array(bool, patterns);
    s->table_count = (size_t)PQntuples(rows);
    s->tables = mem_array(PostgresqlTable, s->table_count);
    for (int i = 0; i < PQntuples(rows); i++) {
        PostgresqlTable *table = &s->tables[i];
        *table = (PostgresqlTable){
            .oid = postgresql_link_value(rows, i, 0),
            .schema = postgresql_link_value(rows, i, 1),
            .name = postgresql_link_value(rows, i, 2),
            .bytes = strtoull(PQgetvalue(rows, i, 3), NULL, 10),
            .columns = postgresql_link_value(rows, i, 4),
            .condition = postgresql_link_value(rows, i, 5),
            .quoted = postgresql_link_value(rows, i, 7),
            .extension = *PQgetvalue(rows, i, 8) == 't',
            .content = UINT64_MAX,
        };
        bool unlogged = *PQgetvalue(rows, i, 6) == 'u' && s->standby;
        table->excluded = excluded(params->exclude, params->database, table, used) || unlogged;
        if (unlogged)
            note(params, "source.unlogged",
                 "%.*s.%.*s is unlogged: a standby has no rows of it, only its definition is kept",
                 TEXT_ARG(table->schema), TEXT_ARG(table->name));
    }
    for (size_t i = 0; i < patterns; i++)
        if (!used[i])
            note(params, "source.exclude",
                 "exclude_table_data \"%s\" matches no table of database %.*s",
                 json_string_value(json_array_get(params->exclude, i)), TEXT_ARG(params->database));
    mem_free(used);
}

/* *again: a table went away before it was locked. */
static bool lock_tables(PostgresqlSnapshot *s, const PostgresqlLink *link, bool *again, Err *err)
{
    size_t i = 0;
    while (i < s->table_count) {
        scoped(buf_free) Buf statement = {0};
        bool any = false;
        buf_add_text(&statement, TEXT("LOCK TABLE "));
        for (; i < s->table_count && statement.len < LOCK_STATEMENT; i++) {
            if (s->tables[i].excluded)
                continue;
            buf_printf(&statement, "%sONLY ", any ? ", " : "");
            buf_add_text(&statement, s->tables[i].quoted);
            any = true;
        }
        buf_add_text(&statement, TEXT(" IN ACCESS SHARE MODE"));
        if (any &&
            !postgresql_link_exec(link, s->holder, "locking tables", buf_cstr(&statement), err)) {
            *again = strstr(err->cause, ".changed") != NULL;
            return false;
        }
    }
    return true;
}

static bool nothing_moved(PostgresqlSnapshot *s, const PostgresqlLink *link, bool *again, Err *err)
{
    scoped(buf_free) Buf oids = {0};
    scoped(postgresql_link_clear) PGresult *moved = NULL;
    buf_add_byte(&oids, '{');
    for (size_t i = 0; i < s->table_count; i++) {
        if (s->tables[i].excluded)
            continue;
        buf_printf(&oids, "%s%.*s", oids.len > 1 ? "," : "", TEXT_ARG(s->tables[i].oid));
    }
    buf_add_byte(&oids, '}');
    const char *values[] = {buf_cstr(&oids)};
    if (!postgresql_link_query(link, s->holder, "looking for tables that moved",
                               sql(&asset_engine_moved_sql), values, 1, &moved, err))
        return false;
    *again = PQntuples(moved) > 0;
    if (*again)
        return err_set(err, ERR_SOURCE, "source.changed",
                       "table %s was emptied or rewritten while the snapshot was taken; the next "
                       "attempt takes a new one",
                       PQgetvalue(moved, 0, 0));
    return true;
}

static bool take_snapshot(PostgresqlSnapshot *s, const PostgresqlLink *link, int lock_wait_s,
                          Err *err)
{
    scoped(postgresql_link_clear) PGresult *row = NULL;
    char wait[64];
    snprintf(wait, sizeof wait, "SET lock_timeout = '%ds'", lock_wait_s);
    if (!postgresql_link_exec(link, s->holder, "preparing the session", wait, err) ||
        !postgresql_link_exec(link, s->holder, "starting the snapshot",
                              "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY", err) ||
        !postgresql_link_query(link, s->holder, "taking the snapshot",
                               sql(&asset_engine_snapshot_sql), NULL, 0, &row, err))
        return false;
    snprintf(s->id, sizeof s->id, "%s", PQgetvalue(row, 0, 0));
    s->consistent_ns = strtoll(PQgetvalue(row, 0, 1), NULL, 10);
    snprintf(s->position, sizeof s->position, "%s", PQgetvalue(row, 0, 2));
    s->standby = *PQgetvalue(row, 0, 3) == 't';
    snprintf(s->encoding, sizeof s->encoding, "%s", PQgetvalue(row, 0, 4));
    return true;
}

static bool dump_definitions(PostgresqlSnapshot *s, PostgresqlLink *link,
                             const PostgresqlSnapshotParams *params, bool *again, Err *err)
{
    buf_clear(&s->archive);
    if (postgresql_dump_archive(link, params->tools, params->database, s->id, DUMP_LOCK_WAIT_S,
                                &s->archive, err))
        return true;
    *again = err->code == ERR_BUSY;
    return false;
}

static bool list_and_lock(PostgresqlSnapshot *s, PostgresqlLink *link,
                          const PostgresqlSnapshotParams *params, bool *again, Err *err)
{
    if (!take_snapshot(s, link, params->lock_wait_s, err) ||
        !postgresql_link_query(link, s->holder, "listing tables", sql(&asset_engine_tables_sql),
                               NULL, 0, &s->table_rows, err))
        return false;
    fill_tables(s, params);
    return lock_tables(s, link, again, err) && nothing_moved(s, link, again, err) &&
           dump_definitions(s, link, params, again, err);
}

static void forget_tables(PostgresqlSnapshot *s)
{
    PQclear(s->table_rows);
    s->table_rows = NULL;
    mem_free(s->tables);
    s->tables = NULL;
    s->table_count = 0;
}

/* One line a sequence: its value is not part of any snapshot, so it is read after the snapshot was
 * taken and is never behind the rows. */
static bool read_sequences(PostgresqlSnapshot *s, const PostgresqlLink *link, Err *err)
{
    scoped(postgresql_link_clear) PGresult *names = NULL;
    if (!postgresql_link_query(link, s->holder, "listing sequences",
                               sql(&asset_engine_sequences_sql), NULL, 0, &names, err))
        return false;
    s->sequence_count = (size_t)PQntuples(names);
    for (int from = 0; from < PQntuples(names); from += SEQUENCE_BATCH) {
        scoped(buf_free) Buf query = {0};
        scoped(postgresql_link_clear) PGresult *values = NULL;
        int count =
            PQntuples(names) - from < SEQUENCE_BATCH ? PQntuples(names) - from : SEQUENCE_BATCH;
        for (int i = 0; i < count; i++)
            buf_printf(&query, "%sSELECT %d, last_value, is_called FROM %s",
                       i == 0 ? "" : " UNION ALL ", i, PQgetvalue(names, from + i, 0));
        buf_add_text(&query, TEXT(" ORDER BY 1"));
        if (!postgresql_link_query(link, s->holder, "reading sequences", buf_cstr(&query), NULL, 0,
                                   &values, err))
            return false;
        for (int i = 0; i < count; i++) {
            buf_add_text(&s->sequences, TEXT("SELECT pg_catalog.setval("));
            postgresql_name_literal(&s->sequences, postgresql_link_value(names, from + i, 0));
            buf_printf(&s->sequences, ", %s, %s);\n", PQgetvalue(values, i, 1),
                       *PQgetvalue(values, i, 2) == 't' ? "true" : "false");
        }
    }
    return true;
}

/* UTF-8 whatever the database's encoding is: JSON knows no other. */
static bool read_properties(PostgresqlSnapshot *s, const PostgresqlLink *link, Err *err)
{
    scoped(postgresql_link_clear) PGresult *row = NULL;
    bool utf8 = strcmp(s->encoding, "SQL_ASCII") != 0;
    bool ok = (!utf8 || PQsetClientEncoding(s->holder, "UTF8") == 0) &&
              postgresql_link_query(link, s->holder, "reading the database's properties",
                                    sql(&asset_engine_properties_sql), NULL, 0, &row, err) &&
              (!utf8 || PQsetClientEncoding(s->holder, s->encoding) == 0);
    json_t *properties = ok ? json_loads(PQgetvalue(row, 0, 0), 0, NULL) : NULL;
    json_t *tables = json_array();
    if (properties == NULL) {
        json_decref(tables);
        return ok ? err_set(err, ERR_SOURCE, "source.properties",
                            "the names of roles or settings of database %s are no valid text",
                            s->name)
                  : false;
    }
    for (size_t i = 0; i < s->table_count; i++) {
        scoped(buf_free) Buf path = {0};
        const PostgresqlTable *t = &s->tables[i];
        postgresql_name_path(&path, t->schema, t->name);
        json_array_append_new(
            tables, json_pack("[s%, o]", t->oid.at, t->oid.len, json_bytes(buf_slice(&path))));
    }
    json_object_set_new(properties, "tables", tables);
    char *text = json_dumps(properties, JSON_COMPACT | JSON_SORT_KEYS);
    buf_add_text(&s->properties, text_of(text));
    free(text);
    json_decref(properties);
    return true;
}

static bool read_rest(PostgresqlSnapshot *s, const PostgresqlLink *link, Err *err)
{
    return read_properties(s, link, err) && read_sequences(s, link, err) &&
           postgresql_link_query(link, s->holder, "listing large objects",
                                 sql(&asset_engine_blobs_sql), NULL, 0, &s->blobs, err);
}

bool postgresql_snapshot_open(PostgresqlSnapshot **out, PostgresqlLink *link,
                              const PostgresqlSnapshotParams *params, Err *err)
{
    PostgresqlSnapshot *s = mem_new(PostgresqlSnapshot);
    bool again = true, ok = false;
    s->name = mem_text(params->database);
    pthread_mutex_init(&s->lock, NULL);
    if (postgresql_link_connect(link, params->database, &s->holder, err)) {
        s->server_version = PQserverVersion(s->holder);
        for (int i = 0; i < TRIES && again && !ok; i++) {
            again = false;
            if (i > 0) {
                *err = (Err){0};
                PQclear(PQexec(s->holder, "ROLLBACK"));
                forget_tables(s);
            }
            ok = list_and_lock(s, link, params, &again, err);
        }
        ok = ok && read_rest(s, link, err);
    }
    *out = s;
    if (!ok) {
        err_note(err, "database %s", s->name);
        postgresql_snapshot_close(s);
        *out = NULL;
    }
    return ok;
}

bool postgresql_snapshot_join(const PostgresqlSnapshot *snapshot, PostgresqlLink *link,
                              PGconn **out, Err *err)
{
    char import[128];
    snprintf(import, sizeof import, "SET TRANSACTION SNAPSHOT '%s'", snapshot->id);
    if (!postgresql_link_connect(link, text_of(snapshot->name), out, err))
        return false;
    if (postgresql_link_exec(link, *out, "starting a lane",
                             "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY", err) &&
        postgresql_link_exec(link, *out, "joining the snapshot", import, err))
        return true;
    if (err->code == ERR_SOURCE)
        err_set(err, ERR_SOURCE, "source.lost",
                "the session that held the snapshot of database %s was ended; next: find out by "
                "whom in the server's log, and run the backup again",
                snapshot->name);
    postgresql_link_disconnect(out);
    return false;
}

void postgresql_snapshot_let_go(PostgresqlSnapshot *snapshot)
{
    postgresql_link_disconnect(&snapshot->holder);
}

void postgresql_snapshot_close(PostgresqlSnapshot *snapshot)
{
    if (snapshot == NULL)
        return;
    postgresql_snapshot_let_go(snapshot);
    forget_tables(snapshot);
    PQclear(snapshot->blobs);
    buf_free(&snapshot->properties);
    buf_free(&snapshot->archive);
    buf_free(&snapshot->sequences);
    pthread_mutex_destroy(&snapshot->lock);
    mem_free(snapshot->name);
    mem_free(snapshot);
}
