/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/engine/postgresql_source.h"

#include "common/base/json.h"
#include "common/base/mem.h"
#include "worker/engine/postgresql_choose.h"
#include "worker/engine/postgresql_copy.h"
#include "worker/engine/postgresql_dump.h"
#include "worker/engine/postgresql_name.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

enum { LANES_MAX = 32, LANES_USUAL = 4, LOCK_WAIT_S = 60 };

typedef enum WorkKind {
    WORK_NONE,
    WORK_GLOBALS,
    WORK_PROPERTIES,
    WORK_ARCHIVE, /* the lane that takes it gives the two texts next, from the same archive */
    WORK_PRE,
    WORK_POST,
    WORK_SEQUENCES,
    WORK_TABLE,
    WORK_BLOB,
} WorkKind;

typedef struct Work {
    WorkKind kind;
    PostgresqlSnapshot *db;
    size_t index; /* of the table or the large object */
} Work;

typedef struct Lane {
    PGconn *conn;
    const PostgresqlSnapshot *joined; /* whose snapshot conn is on */
    Work work;
    bool started;
    PostgresqlCopy copy;
    Buf memory; /* content of every kind that is neither rows nor a large object */
    Buf archive;
    size_t memory_at;
    uint64_t blob_at;
    bool blob_ended;
    Buf path, note;
    uint64_t bytes;
} Lane;

typedef struct Db { /* a database of the list, opened when its turn comes */
    PostgresqlSnapshot *snapshot;
    size_t next_table, next_blob;
    WorkKind stage;
    unsigned running; /* pieces of work handed out and not ended */
    uint64_t blob_bytes;
} Db;

typedef struct PostgresqlSource {
    Source source;
    const EngineHost *host;
    const json_t *exclude;
    PostgresqlLink *link;
    PostgresqlTools tools;
    int server_version;
    bool passwords; /* the role may read them */
    int lock_wait_s;
    json_t *names; /* of the databases, as encoded JSON strings */
    Db *dbs;
    size_t db_count, current;
    bool globals_given;
    pthread_mutex_t lock; /* guards db list, stages and counters */
    Lane *lanes;
    unsigned lane_count;
    Buf position, details;
} PostgresqlSource;

static PostgresqlSource *self(const Source *source)
{
    return (PostgresqlSource *)(uintptr_t)source;
}

static unsigned source_lanes(const Source *source)
{
    return self(source)->lane_count;
}

static bool open_db(PostgresqlSource *s, Db *db, Err *err)
{
    scoped(buf_free) Buf name = {0};
    const json_t *encoded = json_array_get(s->names, s->current);
    if (!json_unbytes((Text){json_string_value(encoded), json_string_length(encoded)}, &name, err))
        return false;
    PostgresqlSnapshotParams params = {text_of_slice(buf_slice(&name)), s->exclude, s->host,
                                       &s->tools, s->lock_wait_s};
    db->stage = WORK_PROPERTIES;
    return postgresql_snapshot_open(&db->snapshot, s->link, &params, err);
}

/* The next piece of a database's work: its schema first, then tables from the biggest down. */
static bool take_from_db(Db *db, Work *work)
{
    PostgresqlSnapshot *snapshot = db->snapshot;
    *work = (Work){.db = snapshot, .kind = db->stage};
    switch (db->stage) {
    case WORK_PROPERTIES:
        db->stage = WORK_ARCHIVE;
        return true;
    case WORK_ARCHIVE:
        db->stage = WORK_SEQUENCES;
        return true;
    case WORK_SEQUENCES:
        db->stage = WORK_TABLE;
        return true;
    case WORK_TABLE:
        while (db->next_table < snapshot->table_count && snapshot->tables[db->next_table].excluded)
            db->next_table++;
        if (db->next_table < snapshot->table_count) {
            work->index = db->next_table++;
            return true;
        }
        db->stage = work->kind = WORK_BLOB;
        /* fall through */
    case WORK_BLOB:
        if (db->next_blob < (size_t)PQntuples(snapshot->blobs)) {
            work->index = db->next_blob++;
            return true;
        }
        db->stage = WORK_NONE;
        return false;
    default:
        return false;
    }
}

static bool take(PostgresqlSource *s, Work *work, Err *err)
{
    *work = (Work){0};
    if (!s->globals_given) {
        s->globals_given = true;
        work->kind = WORK_GLOBALS;
        return true;
    }
    for (; s->current < s->db_count; s->current++) {
        Db *db = &s->dbs[s->current];
        if (db->snapshot == NULL && !open_db(s, db, err))
            return false;
        if (take_from_db(db, work)) {
            db->running++;
            return true;
        }
        if (db->running == 0)
            postgresql_snapshot_let_go(db->snapshot);
    }
    *work = (Work){0};
    return true;
}

static void give_back(PostgresqlSource *s, const Work *work)
{
    pthread_mutex_lock(&s->lock);
    for (size_t i = 0; i < s->db_count; i++) {
        Db *db = &s->dbs[i];
        if (db->snapshot != work->db || work->db == NULL)
            continue;
        db->running--;
        if (db->running == 0 && db->stage == WORK_NONE)
            postgresql_snapshot_let_go(db->snapshot);
    }
    pthread_mutex_unlock(&s->lock);
}

static void table_note(Lane *lane, const PostgresqlTable *table)
{
    json_t *note = json_pack("{s:o, s:s%}", "columns", json_bytes(slice_of_text(table->columns)),
                             "oid", table->oid.at, table->oid.len);
    if (table->extension) /* its other rows come with the extension */
        json_object_set_new(note, "extension", json_true());
    char *text = json_dumps(note, JSON_COMPACT | JSON_SORT_KEYS);
    buf_clear(&lane->note);
    buf_add_text(&lane->note, text_of(text));
    free(text);
    json_decref(note);
}

static void blob_note(Lane *lane, Text statements)
{
    json_t *note = json_pack("{s:o}", "sql", json_bytes(slice_of_text(statements)));
    char *text = json_dumps(note, JSON_COMPACT);
    buf_clear(&lane->note);
    buf_add_text(&lane->note, text_of(text));
    free(text);
    json_decref(note);
}

static void describe(const PostgresqlSource *s, Lane *lane, Entry *entry)
{
    const Work *work = &lane->work;
    *entry = (Entry){.type = ENTRY_STREAM, .cut = CUT_DUMP, .mode = 0600};
    buf_clear(&lane->path);
    buf_clear(&lane->note);
    if (work->kind == WORK_GLOBALS) {
        buf_add_text(&lane->path, TEXT("globals.sql"));
    } else {
        buf_add_text(&lane->path, TEXT("databases/"));
        postgresql_name_part(&lane->path, text_of(work->db->name));
        buf_add_byte(&lane->path, '/');
    }
    if (work->kind == WORK_PROPERTIES) {
        buf_add_text(&lane->path, TEXT("properties.json"));
        entry->size = work->db->properties.len;
    } else if (work->kind == WORK_ARCHIVE) {
        buf_add_text(&lane->path, TEXT("schema.pgdump"));
        buf_printf(&lane->note, "{\"tool\":\"%s\"}", s->tools.version);
    } else if (work->kind == WORK_PRE) {
        buf_add_text(&lane->path, TEXT("schema.pre.sql"));
    } else if (work->kind == WORK_POST) {
        buf_add_text(&lane->path, TEXT("schema.post.sql"));
        entry->phase = 2;
    } else if (work->kind == WORK_SEQUENCES) {
        buf_add_text(&lane->path, TEXT("sequences.sql"));
        entry->phase = 1;
        entry->size = work->db->sequences.len;
    } else if (work->kind == WORK_TABLE) {
        const PostgresqlTable *table = &work->db->tables[work->index];
        postgresql_name_path(&lane->path, table->schema, table->name);
        entry->phase = 1;
        entry->size = table->bytes;
        table_note(lane, table);
    } else if (work->kind == WORK_BLOB) {
        buf_add_text(&lane->path, TEXT("blobs/"));
        buf_add_text(&lane->path, postgresql_link_value(work->db->blobs, (int)work->index, 0));
        entry->phase = 1;
        blob_note(lane, postgresql_link_value(work->db->blobs, (int)work->index, 1));
    }
    entry->path = text_of_slice(buf_slice(&lane->path));
    entry->note = text_of_slice(buf_slice(&lane->note));
}

static bool source_next(Source *source, unsigned index, Entry *entry, bool *more, Err *err)
{
    PostgresqlSource *s = self(source);
    Lane *lane = &s->lanes[index];
    WorkKind before = lane->work.kind;
    if (before == WORK_ARCHIVE) {
        lane->work.kind = WORK_PRE;
    } else if (before == WORK_PRE) {
        lane->work.kind = WORK_POST;
    } else {
        pthread_mutex_lock(&s->lock);
        bool ok = take(s, &lane->work, err);
        pthread_mutex_unlock(&s->lock);
        if (!ok)
            return false;
    }
    lane->started = lane->blob_ended = false;
    lane->memory_at = 0;
    lane->bytes = lane->blob_at = 0;
    *more = lane->work.kind != WORK_NONE;
    if (*more)
        describe(s, lane, entry);
    else
        postgresql_link_disconnect(&lane->conn); /* a lane without work holds no connection */
    return true;
}

static bool join(PostgresqlSource *s, Lane *lane, Err *err)
{
    if (lane->joined == lane->work.db && lane->conn != NULL)
        return true;
    postgresql_link_disconnect(&lane->conn);
    if (!postgresql_snapshot_join(lane->work.db, s->link, &lane->conn, err))
        return false;
    lane->joined = lane->work.db;
    return true;
}

static bool start(PostgresqlSource *s, Lane *lane, Err *err)
{
    const Work *work = &lane->work;
    buf_clear(&lane->memory);
    lane->started = true;
    switch (work->kind) {
    case WORK_GLOBALS:
        return postgresql_dump_globals(s->link, &s->tools, s->passwords, &lane->memory, err);
    case WORK_PROPERTIES:
        buf_add_slice(&lane->memory, buf_slice(&work->db->properties));
        return true;
    case WORK_ARCHIVE:
        buf_free(&lane->archive);
        lane->archive = work->db->archive; /* only this lane needs it */
        work->db->archive = (Buf){0};
        buf_add_slice(&lane->memory, buf_slice(&lane->archive));
        return true;
    case WORK_PRE:
        return postgresql_dump_text(&s->tools, buf_slice(&lane->archive), POSTGRESQL_PRE_DATA,
                                    &lane->memory, err);
    case WORK_POST:
        return postgresql_dump_text(&s->tools, buf_slice(&lane->archive), POSTGRESQL_POST_DATA,
                                    &lane->memory, err);
    case WORK_SEQUENCES:
        buf_add_slice(&lane->memory, buf_slice(&work->db->sequences));
        return true;
    case WORK_TABLE:
        return join(s, lane, err) &&
               postgresql_copy_start(&lane->copy, work->db, s->link, lane->conn,
                                     &work->db->tables[work->index], err);
    case WORK_BLOB:
        return join(s, lane, err);
    case WORK_NONE:
        break;
    }
    return err_set(err, ERR_BUG, "source.order", "read without an entry");
}

static bool read_blob(PostgresqlSource *s, Lane *lane, uint8_t *at, size_t room, size_t *got,
                      Err *err)
{
    if (lane->blob_ended)
        return true;
    Text oid = postgresql_link_value(lane->work.db->blobs, (int)lane->work.index, 0);
    if (!postgresql_copy_blob(s->link, lane->conn, oid, lane->blob_at, at, room, got, err))
        return false;
    lane->blob_at += *got;
    lane->blob_ended = *got == 0;
    return true;
}

static bool source_read(Source *source, unsigned index, uint8_t *at, size_t room, size_t *got,
                        uint64_t *zeros, Err *err)
{
    PostgresqlSource *s = self(source);
    Lane *lane = &s->lanes[index];
    *got = 0;
    *zeros = 0;
    if (s->host->cancelled != NULL && s->host->cancelled(s->host->ctx))
        return err_set(err, ERR_CANCELLED, "job.cancelled", "the job was cancelled");
    if (!lane->started && !start(s, lane, err))
        return false;
    bool ok = true;
    if (lane->work.kind == WORK_TABLE) {
        ok = postgresql_copy_read(&lane->copy, at, room, got, err);
    } else if (lane->work.kind == WORK_BLOB) {
        ok = read_blob(s, lane, at, room, got, err);
    } else {
        *got = lane->memory.len - lane->memory_at;
        if (*got > room)
            *got = room;
        if (*got > 0)
            memcpy(at, lane->memory.at + lane->memory_at, *got);
        lane->memory_at += *got;
    }
    lane->bytes += *got;
    return ok;
}

static bool source_end(Source *source, unsigned index, Entry *entry, bool *keep, Err *err)
{
    PostgresqlSource *s = self(source);
    Lane *lane = &s->lanes[index];
    const Work *work = &lane->work;
    bool ok = true;
    *keep = true;
    entry->size = lane->bytes;
    if (work->kind == WORK_TABLE) {
        PostgresqlTable *table = &work->db->tables[work->index];
        postgresql_copy_close(&lane->copy);
        if (!lane->started || !lane->copy.ended)
            ok = err_set(err, ERR_BUG, "source.order", "table %.*s was not read to its end",
                         TEXT_ARG(table->quoted));
        entry->rows = table->rows = lane->copy.rows;
        table->content = lane->bytes;
    } else if (work->kind != WORK_BLOB && lane->memory_at != lane->memory.len) {
        ok = err_set(err, ERR_BUG, "source.order", "%.*s was not read to its end",
                     TEXT_ARG(entry->path));
    }
    buf_free(&lane->memory);
    if (work->kind == WORK_POST)
        buf_free(&lane->archive);
    if (work->kind != WORK_ARCHIVE && work->kind != WORK_PRE)
        give_back(s, work);
    return ok;
}

static json_t *db_details(const Db *db, Err *err)
{
    const PostgresqlSnapshot *snapshot = db->snapshot;
    json_t *tables = json_array();
    uint64_t rows = 0, bytes = 0, count = 0;
    for (size_t i = 0; i < snapshot->table_count; i++) {
        const PostgresqlTable *t = &snapshot->tables[i];
        json_t *row = json_pack("{s:o, s:o}", "schema", json_bytes(slice_of_text(t->schema)),
                                "table", json_bytes(slice_of_text(t->name)));
        json_array_append_new(tables, row);
        if (t->excluded) {
            json_object_set_new(row, "excluded", json_true());
            continue;
        }
        if (t->content == UINT64_MAX) {
            err_set(err, ERR_SOURCE, "source.incomplete",
                    "table %.*s of database %s was listed and not copied; run the backup again",
                    TEXT_ARG(t->quoted), snapshot->name);
            json_decref(tables);
            return NULL;
        }
        json_object_set_new(row, "rows", json_integer((json_int_t)t->rows));
        json_object_set_new(row, "bytes", json_integer((json_int_t)t->content));
        rows += t->rows;
        bytes += t->content;
        count++;
    }
    return json_pack("{s:o, s:s, s:s, s:s, s:I, s:I, s:I, s:I, s:i, s:I, s:o}", "name",
                     json_bytes(slice_of_text(text_of(snapshot->name))), "encoding",
                     snapshot->encoding, "snapshot", snapshot->id, "lsn", snapshot->position,
                     "consistent_ns", (json_int_t)snapshot->consistent_ns, "tables",
                     (json_int_t)count, "rows", (json_int_t)rows, "bytes", (json_int_t)bytes,
                     "large_objects", PQntuples(snapshot->blobs), "sequences",
                     (json_int_t)snapshot->sequence_count, "table_list", tables);
}

/* The lines that the catalogue shows: the database, then each of its tables. */
static void add_items(json_t *items, const json_t *database)
{
    size_t i;
    const json_t *table;
    const char *name = json_string_value(json_object_get(database, "name"));
    json_array_append_new(items, json_pack("{s:s, s:s, s:O, s:O, s:O}", "kind", "database", "name",
                                           name, "entries", json_object_get(database, "tables"),
                                           "rows", json_object_get(database, "rows"), "bytes",
                                           json_object_get(database, "bytes")));
    json_array_foreach(json_object_get(database, "table_list"), i, table)
    {
        json_t *item =
            json_pack("{s:s, s:i, s:O*, s:O*}", "kind", "table", "entries", 1, "rows",
                      json_object_get(table, "rows"), "bytes", json_object_get(table, "bytes"));
        json_object_set_new(item, "name",
                            json_sprintf("%s.%s.%s", name,
                                         json_string_value(json_object_get(table, "schema")),
                                         json_string_value(json_object_get(table, "table"))));
        json_array_append_new(items, item);
    }
}

static bool source_finish(Source *source, Receipt *receipt, Err *err)
{
    PostgresqlSource *s = self(source);
    json_t *databases = json_array(), *items = json_array();
    *receipt = (Receipt){0};
    for (size_t i = 0; i < s->db_count; i++) {
        const Db *db = &s->dbs[i];
        json_t *row = NULL;
        if (db->snapshot == NULL || db->stage != WORK_NONE || db->running > 0)
            err_set(err, ERR_BUG, "source.order", "finish before the last entry ended");
        else
            row = db_details(db, err);
        if (row == NULL) {
            json_decref(databases);
            json_decref(items);
            return false;
        }
        json_array_append_new(databases, row);
        add_items(items, row);
        /* The oldest of the databases' instants: nothing in the backup is older. */
        if (receipt->consistent_ns == 0 || db->snapshot->consistent_ns < receipt->consistent_ns)
            receipt->consistent_ns = db->snapshot->consistent_ns;
        if (i == 0)
            buf_printf(&s->position, "LSN %s", db->snapshot->position);
    }
    char version[32];
    snprintf(version, sizeof version, "%d.%d", s->server_version / 10000,
             s->server_version % 10000);
    json_t *details =
        json_pack("{s:s, s:s, s:s, s:s, s:i, s:o, s:o}", "engine", "postgresql", "method",
                  "logical", "server_version", version, "tool_version", s->tools.version, "lanes",
                  (int)s->lane_count, "databases", databases, "items", items);
    char *text = json_dumps(details, JSON_COMPACT | JSON_SORT_KEYS);
    buf_add_text(&s->details, text_of(text));
    free(text);
    json_decref(details);
    receipt->position = text_of_slice(buf_slice(&s->position));
    receipt->details = text_of_slice(buf_slice(&s->details));
    return true;
}

static void source_close(Source *source)
{
    PostgresqlSource *s = self(source);
    for (unsigned i = 0; i < s->lane_count; i++) {
        Lane *lane = &s->lanes[i];
        if (lane->copy.snapshot != NULL)
            postgresql_copy_close(&lane->copy);
        postgresql_link_disconnect(&lane->conn);
        buf_free(&lane->memory);
        buf_free(&lane->archive);
        buf_free(&lane->path);
        buf_free(&lane->note);
    }
    for (size_t i = 0; i < s->db_count; i++)
        postgresql_snapshot_close(s->dbs[i].snapshot);
    postgresql_link_close(s->link);
    json_decref(s->names);
    buf_free(&s->position);
    buf_free(&s->details);
    pthread_mutex_destroy(&s->lock);
    mem_free(s->lanes);
    mem_free(s->dbs);
    mem_free(s);
}

static bool look_at_server(PostgresqlSource *s, const json_t *config, Err *err)
{
    PGconn *conn = NULL;
    scoped(postgresql_link_clear) PGresult *rights = NULL;
    if (!postgresql_choose_connect(s->link, config, &conn, err))
        return false;
    s->server_version = PQserverVersion(conn);
    bool ok = postgresql_choose_databases(s->link, conn, config, &s->names, err) &&
              postgresql_link_query(
                  s->link, conn, "looking at the role's rights",
                  "SELECT pg_catalog.has_table_privilege('pg_catalog.pg_authid', 'SELECT')", NULL,
                  0, &rights, err) &&
              postgresql_tools_find(s->server_version, "source.tools", &s->tools, err);
    if (ok) {
        s->db_count = json_array_size(s->names);
        s->dbs = mem_array(Db, s->db_count);
        s->passwords = *PQgetvalue(rights, 0, 0) == 't';
    }
    if (ok && !s->passwords && s->host->note != NULL)
        s->host->note(s->host->ctx, "source.globals",
                      "the role may not read pg_authid: roles are kept without their passwords");
    postgresql_link_disconnect(&conn);
    return ok;
}

/* Every database's snapshot, where otherwise each is taken when its turn comes. */
static bool source_fix(Source *source, Err *err)
{
    PostgresqlSource *s = self(source);
    bool fine = true;
    pthread_mutex_lock(&s->lock);
    for (s->current = 0; fine && s->current < s->db_count; s->current++)
        fine = s->dbs[s->current].snapshot != NULL || open_db(s, &s->dbs[s->current], err);
    s->current = 0;
    pthread_mutex_unlock(&s->lock);
    return fine;
}

static const SourceOps source_ops = {
    .lanes = source_lanes,
    .next = source_next,
    .read = source_read,
    .end = source_end,
    .finish = source_finish,
    .close = source_close,
    .fix = source_fix,
};

static unsigned choose_lanes(const EngineParams *params)
{
    const json_t *jobs = json_object_get(params->config, "jobs");
    unsigned lanes = json_is_integer(jobs) && json_integer_value(jobs) > 0
                         ? (unsigned)json_integer_value(jobs)
                         : LANES_USUAL;
    if (params->lanes > 0 && params->lanes < lanes)
        lanes = params->lanes;
    return lanes > LANES_MAX ? LANES_MAX : lanes;
}

bool postgresql_source_open(Source **out, const EngineParams *params, Err *err)
{
    PostgresqlSource *s = mem_new(PostgresqlSource);
    const json_t *wait = json_object_get(params->config, "lock_timeout");
    s->source.ops = &source_ops;
    s->host = params->host;
    s->exclude = json_object_get(params->config, "exclude_table_data");
    s->lock_wait_s = json_is_integer(wait) ? (int)json_integer_value(wait) : LOCK_WAIT_S;
    s->lane_count = choose_lanes(params);
    s->lanes = mem_array(Lane, s->lane_count);
    pthread_mutex_init(&s->lock, NULL);
    *out = &s->source;
    if (postgresql_link_open(&s->link, params->config, params->host, "source", err) &&
        look_at_server(s, params->config, err))
        return true;
    source_close(&s->source);
    *out = NULL;
    return false;
}
