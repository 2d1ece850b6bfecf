/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/engine/postgresql_load.h"

#include "common/base/json.h"
#include "common/base/mem.h"
#include "worker/engine/postgresql_name.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

/* Larger writes are cut: libpq copies what it is given into its own buffer. */
enum { PIECE = 1 << 20 };

bool postgresql_load_join(PostgresqlLoad *load, PostgresqlRestore *restore,
                          const PostgresqlRules *rules, Err *err)
{
    if (load->conn != NULL && load->restore == restore)
        return true;
    postgresql_link_disconnect(&load->conn);
    load->restore = restore;
    /* Nothing counts before the rename, and that commit carries all earlier ones to disk. */
    return postgresql_link_connect(rules->link, text_of(restore->temporary), &load->conn, err) &&
           postgresql_link_exec(rules->link, load->conn, "preparing the session",
                                "SET synchronous_commit = off", err);
}

static bool read_note(const Entry *entry, json_t **note, Err *err)
{
    *note = entry->note.len > 0 ? json_loadb(entry->note.at, entry->note.len, 0, NULL) : NULL;
    if (*note != NULL)
        return true;
    return err_set(err, ERR_CORRUPT, "target.note",
                   "entry %.*s does not say how to restore it; take an older backup",
                   TEXT_ARG(entry->path));
}

static bool take_bytes(const json_t *note, const char *key, Buf *out, Err *err)
{
    return json_unbytes(json_text_or(note, key, TEXT("")), out, err);
}

bool postgresql_load_table(PostgresqlLoad *load, const PostgresqlRules *rules, Text schema,
                           Text table, const Entry *entry, Err *err)
{
    scoped(json_release) json_t *note = NULL;
    scoped(buf_free) Buf sql = {0};
    scoped(buf_free) Buf columns = {0};
    char what[200];
    if (!read_note(entry, &note, err) || !take_bytes(note, "columns", &columns, err))
        return false;
    load->extension = json_bool_or(note, "extension", false);
    buf_clear(&load->quoted);
    postgresql_name_quote(&load->quoted, schema);
    buf_add_byte(&load->quoted, '.');
    postgresql_name_quote(&load->quoted, table);
    buf_printf(&sql, "COPY %s", buf_cstr(&load->quoted));
    if (columns.len > 0)
        buf_printf(&sql, " (%s)", buf_cstr(&columns));
    buf_add_text(&sql, TEXT(" FROM STDIN"));
    snprintf(what, sizeof what, "loading %s", buf_cstr(&load->quoted));
    PGresult *result = PQexec(load->conn, buf_cstr(&sql));
    load->copying = PQresultStatus(result) == PGRES_COPY_IN;
    if (!load->copying)
        postgresql_link_failed(rules->link, load->conn, result, what, err);
    PQclear(result);
    return load->copying;
}

static bool load_failed(PostgresqlLoad *load, const PostgresqlRules *rules, const PGresult *result,
                        Err *err)
{
    char what[200];
    snprintf(what, sizeof what, "loading %s", buf_cstr(&load->quoted));
    return postgresql_link_failed(rules->link, load->conn, result, what, err);
}

bool postgresql_load_rows(PostgresqlLoad *load, const PostgresqlRules *rules, Slice bytes, Err *err)
{
    for (size_t at = 0; at < bytes.len; at += PIECE) {
        size_t len = bytes.len - at < PIECE ? bytes.len - at : PIECE;
        if (PQputCopyData(load->conn, (const char *)bytes.at + at, (int)len) != 1)
            return load_failed(load, rules, NULL, err);
    }
    return true;
}

static void remember(PostgresqlLoad *load, uint64_t rows)
{
    PostgresqlRestore *r = load->restore;
    if (r->loaded_count == r->loaded_room) {
        r->loaded_room = r->loaded_room == 0 ? 64 : 2 * r->loaded_room;
        r->loaded = mem_resize(r->loaded, r->loaded_room * sizeof *r->loaded);
    }
    r->loaded[r->loaded_count++] =
        (PostgresqlLoaded){mem_string(buf_cstr(&load->quoted)), rows, load->extension};
}

bool postgresql_load_table_end(PostgresqlLoad *load, const PostgresqlRules *rules,
                               const Entry *entry, Err *err)
{
    load->copying = false;
    if (PQputCopyEnd(load->conn, NULL) != 1)
        return load_failed(load, rules, NULL, err);
    PGresult *result = PQgetResult(load->conn);
    bool ok = PQresultStatus(result) == PGRES_COMMAND_OK || load_failed(load, rules, result, err);
    uint64_t rows = ok ? strtoull(PQcmdTuples(result), NULL, 10) : 0;
    PQclear(result);
    while ((result = PQgetResult(load->conn)) != NULL)
        PQclear(result);
    if (ok && rows != entry->rows)
        ok = err_set(err, ERR_CORRUPT, "target.rows",
                     "table %s took %" PRIu64 " rows, the backup says it has %" PRIu64
                     "; verify the backup",
                     buf_cstr(&load->quoted), rows, entry->rows);
    if (ok)
        remember(load, rows);
    return ok;
}

bool postgresql_load_blob(PostgresqlLoad *load, const PostgresqlRules *rules, Text oid, Err *err)
{
    char number[16];
    snprintf(number, sizeof number, "%.*s", TEXT_ARG(oid));
    const char *values[] = {number};
    load->oid = oid;
    load->offset = 0;
    return postgresql_link_query(rules->link, load->conn, "making a large object",
                                 "SELECT pg_catalog.lo_create($1::oid)", values, 1, NULL, err);
}

bool postgresql_load_blob_bytes(PostgresqlLoad *load, const PostgresqlRules *rules, Slice bytes,
                                Err *err)
{
    char number[16], offset[24];
    snprintf(number, sizeof number, "%.*s", TEXT_ARG(load->oid));
    for (size_t at = 0; at < bytes.len; at += PIECE) {
        size_t len = bytes.len - at < PIECE ? bytes.len - at : PIECE;
        snprintf(offset, sizeof offset, "%" PRIu64, load->offset);
        const char *values[] = {number, offset, (const char *)bytes.at + at};
        const int lengths[] = {0, 0, (int)len}, formats[] = {0, 0, 1};
        PGresult *result =
            PQexecParams(load->conn, "SELECT pg_catalog.lo_put($1::oid, $2::bigint, $3::bytea)", 3,
                         NULL, values, lengths, formats, 0);
        bool ok =
            PQresultStatus(result) == PGRES_TUPLES_OK ||
            postgresql_link_failed(rules->link, load->conn, result, "writing a large object", err);
        PQclear(result);
        if (!ok)
            return false;
        load->offset += len;
    }
    return true;
}

bool postgresql_load_blob_end(PostgresqlLoad *load, const PostgresqlRules *rules,
                              const Entry *entry, Err *err)
{
    scoped(json_release) json_t *note = NULL;
    scoped(buf_free) Buf sql = {0};
    if (load->offset != entry->size)
        return err_set(err, ERR_CORRUPT, "target.rows",
                       "large object %.*s took %" PRIu64 " bytes, the backup says it has %" PRIu64
                       "; verify the backup",
                       TEXT_ARG(load->oid), load->offset, entry->size);
    if (rules->ignore_owners)
        return true;
    return read_note(entry, &note, err) && take_bytes(note, "sql", &sql, err) &&
           postgresql_link_exec(rules->link, load->conn, "giving a large object its owner",
                                buf_cstr(&sql), err);
}

void postgresql_load_blob_undo(PostgresqlLoad *load)
{
    char sql[80];
    snprintf(sql, sizeof sql, "SELECT pg_catalog.lo_unlink(%.*s)", TEXT_ARG(load->oid));
    PQclear(PQexec(load->conn, sql));
}

bool postgresql_load_sequences(PostgresqlLoad *load, const PostgresqlRules *rules, Buf *statements,
                               uint64_t *done, uint64_t *skipped, Err *err)
{
    buf_cstr(statements); /* makes it end with a NUL */
    char *line = (char *)statements->at;
    while (*line != 0) {
        char *end = strchr(line, '\n');
        if (end != NULL)
            *end = 0;
        if (postgresql_link_exec(rules->link, load->conn, "setting a sequence", line, err)) {
            (*done)++;
        } else {
            if (!load->restore->partial || strstr(err->cause, ".changed") == NULL)
                return false;
            *err = (Err){0};
            (*skipped)++;
        }
        if (end == NULL)
            break;
        line = end + 1;
    }
    return true;
}

void postgresql_load_close(PostgresqlLoad *load)
{
    postgresql_link_disconnect(&load->conn);
    buf_free(&load->quoted);
}
