/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/engine/postgresql_target.h"

#include "common/base/json.h"
#include "common/base/mem.h"
#include "worker/engine/postgresql_load.h"
#include "worker/engine/postgresql_name.h"
#include "worker/engine/postgresql_restore.h"
#include "worker/engine/postgresql_roles.h"
#include "worker/engine/postgresql_select.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

enum { LANES_MAX = 32, LANES_USUAL = 4, PHASE_DATA = 1, PHASE_COMPLETE = 2, PHASE_COUNT = 3 };

typedef enum Kind {
    KIND_PASS,
    KIND_GLOBALS,
    KIND_MEMORY,
    KIND_SEQUENCES,
    KIND_TABLE,
    KIND_BLOB
} Kind;

typedef struct Lane {
    Kind kind;
    PostgresqlRestore *restore;
    PostgresqlLoad load;
    Buf memory, oid;
    Buf *into; /* KIND_MEMORY: where the content goes at the end */
} Lane;

typedef struct PostgresqlTarget {
    Target target;
    PostgresqlRules rules;
    const json_t *request;
    const json_t *wanted; /* request.target */
    PGconn *conn;         /* maintenance */
    PostgresqlSelect *select;
    pthread_mutex_t lock; /* guards the list and each restore's counters */
    PostgresqlRestore **restores;
    size_t count;
    Buf globals;
    unsigned broken; /* entries that were begun and never ended: their content is damaged */
    uint8_t phase;
    bool finished;
    Lane *lanes;
    unsigned lane_count;
} PostgresqlTarget;

static PostgresqlTarget *self(const Target *target)
{
    return (PostgresqlTarget *)(uintptr_t)target;
}

static unsigned target_lanes(const Target *target)
{
    return self(target)->lane_count;
}

/* The final name of a database; *wanted false when the request names others only. */
static Text final_name(const PostgresqlTarget *t, Text name, bool *wanted)
{
    const json_t *map = json_object_get(t->wanted, "databases");
    const json_t *one = json_object_get(t->wanted, "database");
    scoped(mem_release) char *key = mem_text(name);
    const json_t *mapped = json_object_get(map, key);
    *wanted = !json_is_object(map) || mapped != NULL;
    if (json_is_string(mapped))
        return (Text){json_string_value(mapped), json_string_length(mapped)};
    if (json_is_string(one))
        return (Text){json_string_value(one), json_string_length(one)};
    return name;
}

/* NULL: nothing of that database is wanted. */
static PostgresqlRestore *find_restore(PostgresqlTarget *t, Text part)
{
    scoped(buf_free) Buf name = {0};
    bool wanted = false;
    postgresql_name_unpart(part, &name);
    Text final = final_name(t, text_of_slice(buf_slice(&name)), &wanted);
    if (!wanted || !postgresql_select_database(t->select, part))
        return NULL;
    for (size_t i = 0; i < t->count; i++)
        if (strcmp(t->restores[i]->name, buf_cstr(&name)) == 0)
            return t->restores[i];
    PostgresqlRestore *restore = postgresql_restore_new(text_of_slice(buf_slice(&name)), final);
    restore->partial = !postgresql_select_whole(t->select, part);
    t->restores = mem_resize(t->restores, (t->count + 1) * sizeof(PostgresqlRestore *));
    t->restores[t->count++] = restore;
    return restore;
}

static bool begin_table(PostgresqlTarget *t, Lane *lane, Text schema, Text table,
                        const Entry *entry, Err *err)
{
    scoped(buf_free) Buf plain_schema = {0};
    scoped(buf_free) Buf plain_table = {0};
    postgresql_name_unpart(schema, &plain_schema);
    postgresql_name_unpart(table, &plain_table);
    return postgresql_load_join(&lane->load, lane->restore, &t->rules, err) &&
           postgresql_load_table(&lane->load, &t->rules, text_of_slice(buf_slice(&plain_schema)),
                                 text_of_slice(buf_slice(&plain_table)), entry, err);
}

static bool begin_blob(PostgresqlTarget *t, Lane *lane, Text oid, Err *err)
{
    buf_clear(&lane->oid);
    buf_add_text(&lane->oid, oid);
    return postgresql_load_join(&lane->load, lane->restore, &t->rules, err) &&
           postgresql_load_blob(&lane->load, &t->rules, text_of_slice(buf_slice(&lane->oid)), err);
}

/* What an entry is follows from the parts of its path (postgresql.h). */
static bool begin_part(PostgresqlTarget *t, Lane *lane, const Text *parts, size_t count,
                       const Entry *entry, Err *err)
{
    bool selected = postgresql_select_entry(t->select, entry->path);
    if (lane->restore->nothing)
        return true;
    if (count == 3 && text_equal(parts[2], TEXT("properties.json"))) {
        lane->kind = KIND_MEMORY;
        lane->into = &lane->restore->properties_text;
    } else if (count == 3 && text_equal(parts[2], TEXT("schema.pgdump"))) {
        lane->kind = KIND_MEMORY;
        lane->into = &lane->restore->archive;
    } else if (count == 3 && text_equal(parts[2], TEXT("sequences.sql"))) {
        lane->kind = KIND_SEQUENCES;
    } else if (count == 5 && text_equal(parts[2], TEXT("tables")) && selected) {
        lane->kind = KIND_TABLE;
        return begin_table(t, lane, parts[3], parts[4], entry, err);
    } else if (count == 4 && text_equal(parts[2], TEXT("blobs")) && selected) {
        lane->kind = KIND_BLOB;
        return begin_blob(t, lane, parts[3], err);
    }
    return true;
}

/* An entry that is still open will not be ended: what came of it is thrown away. */
static void give_up(PostgresqlTarget *t, Lane *lane)
{
    if (lane->kind == KIND_BLOB)
        postgresql_load_blob_undo(&lane->load);
    if (lane->kind == KIND_TABLE) /* ends the COPY without a row */
        postgresql_link_disconnect(&lane->load.conn);
    if (lane->kind != KIND_PASS) {
        pthread_mutex_lock(&t->lock);
        t->broken++;
        pthread_mutex_unlock(&t->lock);
    }
    lane->kind = KIND_PASS;
    buf_clear(&lane->memory);
}

static bool target_begin(Target *target, unsigned index, const Entry *entry, bool *want_content,
                         Err *err)
{
    PostgresqlTarget *t = self(target);
    Lane *lane = &t->lanes[index];
    Text parts[5];
    size_t count = 0;
    bool ok = true;
    give_up(t, lane);
    if (!postgresql_name_split(entry->path, parts, 5, &count))
        count = 0;
    if (text_equal(entry->path, TEXT("globals.sql"))) {
        lane->kind = json_bool_or(t->wanted, "roles", false) ? KIND_GLOBALS : KIND_PASS;
    } else if (count >= 3 && text_equal(parts[0], TEXT("databases"))) {
        pthread_mutex_lock(&t->lock);
        lane->restore = find_restore(t, parts[1]);
        pthread_mutex_unlock(&t->lock);
        ok = (lane->restore == NULL || begin_part(t, lane, parts, count, entry, err));
    }
    *want_content = lane->kind != KIND_PASS;
    return ok;
}

static bool target_write(Target *target, unsigned index, Slice bytes, Err *err)
{
    PostgresqlTarget *t = self(target);
    Lane *lane = &t->lanes[index];
    if (t->rules.host->cancelled != NULL && t->rules.host->cancelled(t->rules.host->ctx))
        return err_set(err, ERR_CANCELLED, "job.cancelled", "the job was cancelled");
    if (lane->kind == KIND_TABLE)
        return postgresql_load_rows(&lane->load, &t->rules, bytes, err);
    if (lane->kind == KIND_BLOB)
        return postgresql_load_blob_bytes(&lane->load, &t->rules, bytes, err);
    buf_add_slice(&lane->memory, bytes);
    return true;
}

static bool target_zeros(Target *target, unsigned index, uint64_t count, Err *err)
{
    static const uint8_t zeros[65536];
    while (count > 0) {
        size_t part = count < sizeof zeros ? (size_t)count : sizeof zeros;
        if (!target_write(target, index, (Slice){zeros, part}, err))
            return false;
        count -= part;
    }
    return true;
}

static bool end_sequences(PostgresqlTarget *t, Lane *lane, Err *err)
{
    uint64_t done = 0, skipped = 0;
    bool ok =
        postgresql_load_join(&lane->load, lane->restore, &t->rules, err) &&
        postgresql_load_sequences(&lane->load, &t->rules, &lane->memory, &done, &skipped, err);
    pthread_mutex_lock(&t->lock);
    lane->restore->sequences += done;
    lane->restore->sequences_skipped += skipped;
    pthread_mutex_unlock(&t->lock);
    return ok;
}

/* An archive is only read by a pg_restore that is as new as the pg_dump that wrote it. */
static bool want_tool(PostgresqlTarget *t, const Entry *entry, Err *err)
{
    json_t *note =
        entry->note.len > 0 ? json_loadb(entry->note.at, entry->note.len, 0, NULL) : NULL;
    int major = (int)strtol(json_text_or(note, "tool", TEXT("0")).at, NULL, 10);
    json_decref(note);
    pthread_mutex_lock(&t->lock);
    bool ok = major <= t->rules.tools.major ||
              postgresql_tools_find(major * 10000, "target.tools", &t->rules.tools, err);
    pthread_mutex_unlock(&t->lock);
    return ok;
}

static bool target_end(Target *target, unsigned index, const Entry *entry, Err *err)
{
    PostgresqlTarget *t = self(target);
    Lane *lane = &t->lanes[index];
    bool ok = true;
    switch (lane->kind) {
    case KIND_PASS:
        break;
    case KIND_GLOBALS:
        buf_add_slice(&t->globals, buf_slice(&lane->memory));
        break;
    case KIND_MEMORY:
        buf_clear(lane->into);
        buf_add_slice(lane->into, buf_slice(&lane->memory));
        if (lane->into == &lane->restore->archive)
            ok = want_tool(t, entry, err);
        break;
    case KIND_SEQUENCES:
        ok = end_sequences(t, lane, err);
        break;
    case KIND_TABLE:
        pthread_mutex_lock(&t->lock);
        ok = postgresql_load_table_end(&lane->load, &t->rules, entry, err);
        pthread_mutex_unlock(&t->lock);
        break;
    case KIND_BLOB:
        ok = postgresql_load_blob_end(&lane->load, &t->rules, entry, err);
        pthread_mutex_lock(&t->lock);
        lane->restore->blobs++;
        pthread_mutex_unlock(&t->lock);
        break;
    }
    lane->kind = KIND_PASS;
    return ok;
}

static bool read_properties(PostgresqlRestore *restore, Err *err)
{
    const Buf *text = &restore->properties_text;
    if (text->len > 0)
        restore->properties = json_loadb((const char *)text->at, text->len, 0, NULL);
    if (restore->properties != NULL && restore->archive.len > 0)
        return true;
    return err_set(err, ERR_CORRUPT, "target.schema",
                   "the backup has no definitions of database %s; take an older backup",
                   restore->name);
}

/* Of the tables that properties.json lists, the oids of those that are selected. oids has room for
 * all of them. */
static bool chosen_tables(const PostgresqlTarget *t, const PostgresqlRestore *restore, Text *oids,
                          size_t *count, Err *err)
{
    size_t i;
    json_t *table;
    scoped(buf_free) Buf path = {0};
    buf_add_text(&path, TEXT("databases/"));
    postgresql_name_part(&path, text_of(restore->name));
    buf_add_byte(&path, '/');
    size_t prefix = path.len;
    *count = 0;
    json_array_foreach(json_object_get(restore->properties, "tables"), i, table)
    {
        const json_t *oid = json_array_get(table, 0), *below = json_array_get(table, 1);
        path.len = prefix;
        if (!json_unbytes((Text){json_string_value(below), json_string_length(below)}, &path, err))
            return false;
        postgresql_select_see(t->select, text_of_slice(buf_slice(&path)));
        if (postgresql_select_entry(t->select, text_of_slice(buf_slice(&path))))
            oids[(*count)++] = (Text){json_string_value(oid), json_string_length(oid)};
    }
    return true;
}

/* Everything that can be refused is, before the first database is made. */
static bool settle(PostgresqlTarget *t, Err *err)
{
    for (size_t i = 0; i < t->count; i++) {
        PostgresqlRestore *restore = t->restores[i];
        bool exists = false;
        size_t count = 0;
        if (!read_properties(restore, err))
            return false;
        Text *oids =
            mem_array(Text, json_array_size(json_object_get(restore->properties, "tables")));
        bool ok = chosen_tables(t, restore, oids, &count, err);
        mem_free(oids);
        restore->nothing = restore->partial && count == 0;
        if (!ok || (!restore->nothing &&
                    !postgresql_restore_allowed(&t->rules, t->conn, restore, &exists, err)))
            return false;
        for (size_t k = 0; k < i && !restore->nothing; k++)
            if (!t->restores[k]->nothing && strcmp(t->restores[k]->final, restore->final) == 0)
                return err_set(err, ERR_USAGE, "target.databases",
                               "databases %s and %s cannot both become %s; name one target for "
                               "each, or choose one",
                               t->restores[k]->name, restore->name, restore->final);
    }
    return postgresql_select_complete(t->select, err);
}

static bool create(PostgresqlTarget *t, PostgresqlRestore *restore, Err *err)
{
    size_t count = 0;
    Text *oids = mem_array(Text, json_array_size(json_object_get(restore->properties, "tables")));
    bool ok = chosen_tables(t, restore, oids, &count, err) &&
              postgresql_restore_create(restore, &t->rules, t->conn, oids, count, err);
    mem_free(oids);
    return ok;
}

static bool do_phase(PostgresqlTarget *t, uint8_t phase, Err *err)
{
    bool ok = true;
    if (phase == PHASE_DATA)
        ok = settle(t, err) &&
             (t->globals.len == 0 || postgresql_roles_apply(&t->rules, &t->globals, err));
    if (phase == PHASE_COMPLETE) /* a lane's session would hold locks against index builds */
        for (unsigned i = 0; i < t->lane_count; i++)
            postgresql_load_close(&t->lanes[i].load);
    for (size_t i = 0; ok && i < t->count; i++) {
        PostgresqlRestore *restore = t->restores[i];
        if (restore->nothing)
            continue;
        if (phase == PHASE_DATA)
            ok = create(t, restore, err);
        else if (phase == PHASE_COMPLETE)
            ok = postgresql_restore_complete(restore, &t->rules, err);
        else if (phase == PHASE_COUNT)
            ok = postgresql_restore_count(restore, &t->rules, err);
    }
    return ok;
}

static bool target_phase(Target *target, uint8_t phase, Err *err)
{
    PostgresqlTarget *t = self(target);
    while (t->phase < phase && t->phase < PHASE_COUNT) {
        t->phase++;
        if (!do_phase(t, t->phase, err))
            return false;
    }
    return true;
}

static uint64_t rows_of(const PostgresqlRestore *r)
{
    uint64_t rows = 0;
    for (size_t i = 0; i < r->loaded_count; i++)
        rows += r->loaded[i].rows;
    return rows;
}

/* A table that the backup recorded and that no entry brought is found here alone. */
static bool is_as_expected(const PostgresqlTarget *t, const PostgresqlRestore *r, Err *err)
{
    size_t i;
    const json_t *one;
    scoped(json_release) json_t *name = json_bytes(slice_of_text(text_of(r->name)));
    json_array_foreach(json_object_get(t->request, "expected"), i, one)
    {
        uint64_t tables = json_u64_or(one, "tables", 0), rows = json_u64_or(one, "rows", 0);
        if (r->partial || !json_equal(json_object_get(one, "name"), name) ||
            (tables == r->loaded_count && rows == rows_of(r)))
            continue;
        return err_set(err, ERR_CORRUPT, "target.rows",
                       "database %s came back with %zu tables and %" PRIu64
                       " rows, the backup recorded %" PRIu64 " and %" PRIu64
                       "; it was removed again: verify the backup, take an older one",
                       r->name, r->loaded_count, rows_of(r), tables, rows);
    }
    return true;
}

static json_t *restore_report(const PostgresqlRestore *r)
{
    json_t *report = json_pack(
        "{s:o, s:o, s:I, s:I, s:I, s:I}", "name", json_bytes(slice_of_text(text_of(r->name))),
        "database", json_bytes(slice_of_text(text_of(r->final))), "tables",
        (json_int_t)r->loaded_count, "rows", (json_int_t)rows_of(r), "large_objects",
        (json_int_t)r->blobs, "sequences", (json_int_t)r->sequences);
    if (r->set_aside != NULL) {
        json_object_set_new(report, "kept_as", json_bytes(slice_of_text(text_of(r->set_aside))));
        json_object_set_new(report, "sessions_ended", json_integer(r->ended));
    }
    if (r->partial)
        json_object_set_new(report, "left_out", json_integer((json_int_t)r->left_out));
    return report;
}

static bool target_finish(Target *target, json_t **report, Err *err)
{
    PostgresqlTarget *t = self(target);
    for (unsigned i = 0; i < t->lane_count; i++)
        give_up(t, &t->lanes[i]);
    if (t->broken > 0 && t->rules.in_place)
        return err_set(err, ERR_CORRUPT, "target.damaged",
                       "the content of %u entries is damaged: what is there stays as it is; "
                       "restore into a new database to see what is left",
                       t->broken);
    if (!target_phase(target, PHASE_COUNT, err))
        return false;
    for (size_t i = 0; i < t->count; i++)
        if (!is_as_expected(t, t->restores[i], err))
            return false;
    json_t *databases = json_array();
    for (size_t i = 0; i < t->count; i++) {
        if (t->restores[i]->nothing)
            continue;
        if (!postgresql_restore_publish(t->restores[i], &t->rules, t->conn, err)) {
            json_decref(databases);
            return false;
        }
        json_array_append_new(databases, restore_report(t->restores[i]));
    }
    if (json_array_size(databases) == 0) {
        json_decref(databases);
        return err_set(err, ERR_MISSING, "target.nothing",
                       "nothing in the backup is named by this restore; list its entries first");
    }
    *report = json_pack("{s:s, s:s, s:o}", "engine", "postgresql", "tool_version",
                        t->rules.tools.version, "databases", databases);
    return true;
}

static void target_close(Target *target)
{
    PostgresqlTarget *t = self(target);
    for (unsigned i = 0; i < t->lane_count; i++) {
        postgresql_load_close(&t->lanes[i].load);
        buf_free(&t->lanes[i].memory);
        buf_free(&t->lanes[i].oid);
    }
    for (size_t i = 0; i < t->count; i++) {
        postgresql_restore_drop(t->restores[i], &t->rules);
        postgresql_restore_free(t->restores[i]);
    }
    postgresql_link_disconnect(&t->conn);
    postgresql_link_close(t->rules.link);
    postgresql_select_free(t->select);
    pthread_mutex_destroy(&t->lock);
    buf_free(&t->globals);
    mem_free(t->restores);
    mem_free(t->lanes);
    mem_free(t);
}

static const TargetOps target_ops = {
    .lanes = target_lanes,
    .phase = target_phase,
    .begin = target_begin,
    .write = target_write,
    .zeros = target_zeros,
    .end = target_end,
    .finish = target_finish,
    .close = target_close,
};

bool postgresql_target_open(Target **out, const EngineParams *params, Err *err)
{
    PostgresqlTarget *t = mem_new(PostgresqlTarget);
    const json_t *config = params->config;
    uint64_t jobs = json_u64_or(config, "jobs", LANES_USUAL);
    t->target.ops = &target_ops;
    t->request = params->request;
    t->wanted = json_object_get(params->request, "target");
    if (json_is_object(json_object_get(t->wanted, "server")))
        config = json_object_get(t->wanted, "server");
    t->lane_count = params->lanes > 0 && params->lanes < jobs ? params->lanes : (unsigned)jobs;
    t->lane_count = t->lane_count == 0 ? 1 : t->lane_count > LANES_MAX ? LANES_MAX : t->lane_count;
    t->lanes = mem_array(Lane, t->lane_count);
    t->rules = (PostgresqlRules){
        .host = params->host,
        .in_place = json_bool_or(params->request, "in_place", false),
        .confirmed = json_bool_or(params->request, "confirmed", false),
        .confirm = json_text_or(params->request, "confirm", (Text){0}).at,
        .ignore_owners =
            text_equal(json_text_or(t->wanted, "owners", TEXT("keep")), TEXT("ignore")),
        .lanes = t->lane_count,
    };
    pthread_mutex_init(&t->lock, NULL);
    *out = &t->target;
    if (postgresql_select_new(&t->select, json_object_get(params->request, "select"), err) &&
        postgresql_link_open(&t->rules.link, config, params->host, "target", err) &&
        postgresql_link_connect(t->rules.link, (Text){0}, &t->conn, err)) {
        t->rules.server_version = PQserverVersion(t->conn);
        if (postgresql_tools_find(t->rules.server_version, "target.tools", &t->rules.tools, err))
            return true;
    }
    target_close(&t->target);
    *out = NULL;
    return false;
}
