/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/engine/postgresql_export.h"

#include "common/base/json.h"
#include "common/base/mem.h"
#include "worker/engine/postgresql_name.h"
#include "worker/engine/postgresql_settings.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#define ZLIB_CONST
#include <zlib.h>

enum {
    GZIP_WINDOW = 15 + 16, /* zlib's way to say gzip */
    LEVEL = 6,
    OUT_ROOM = 1 << 17,
    BLOB_PIECE = 1 << 16, /* twice that in hex: a line that psql and people can bear */
};

typedef enum Kind { KIND_PASS, KIND_PROPERTIES, KIND_TEXT, KIND_TABLE, KIND_BLOB } Kind;

typedef struct PostgresqlExport {
    Target target;
    PostgresqlExportParams params;
    char *only;        /* the wanted database, encoded as a path part; NULL until it is known */
    Buf connected;     /* path part of the database that the file is connected to now */
    json_t *encodings; /* path part, as json_bytes -> encoding */
    Kind kind;
    Buf memory; /* properties, or a piece of a large object */
    Text oid;
    uint64_t offset, rows;
    uint64_t databases, tables, all_rows, bytes;
    z_stream deflater;
    uint8_t *out;
} PostgresqlExport;

static PostgresqlExport *self(const Target *target)
{
    return (PostgresqlExport *)(uintptr_t)target;
}

static unsigned export_lanes(const Target *target)
{
    (void)target;
    return 1;
}

static bool write_out(const PostgresqlExport *x, size_t len, Err *err)
{
    for (size_t done = 0; done < len;) {
        ssize_t n = write(x->params.fd, x->out + done, len - done);
        if (n < 0 && errno != EINTR)
            return err_set_sys(err, err_code_of_errno(errno), "export.write",
                               "writing the export failed; make room or choose another place");
        if (n > 0)
            done += (size_t)n;
    }
    return true;
}

static bool put(PostgresqlExport *x, const void *at, size_t len, int flush, Err *err)
{
    x->bytes += len;
    if (x->params.sink != NULL)
        return x->params.sink->take(x->params.sink->ctx, (Slice){at, len}, err);
    do {
        size_t part = len < (1U << 30) ? len : 1U << 30; /* zlib counts in 32 bits */
        x->deflater.next_in = at;                        /* zlib does not write through it */
        x->deflater.avail_in = (uInt)part;
        do {
            x->deflater.next_out = x->out;
            x->deflater.avail_out = OUT_ROOM;
            if (deflate(&x->deflater, part == len ? flush : Z_NO_FLUSH) == Z_STREAM_ERROR)
                return err_set(err, ERR_BUG, "export.gzip", "zlib refuses its input");
            if (!write_out(x, OUT_ROOM - x->deflater.avail_out, err))
                return false;
        } while (x->deflater.avail_out == 0);
        at = (const uint8_t *)at + part;
        len -= part;
    } while (len > 0);
    return true;
}

static bool put_buf(PostgresqlExport *x, const Buf *text, Err *err)
{
    return text->len == 0 || put(x, text->at, text->len, Z_NO_FLUSH, err);
}

/* Every database but the first text of it begins with a connection of its own. */
static bool connect_to(PostgresqlExport *x, Text part, Err *err)
{
    scoped(buf_free) Buf text = {0};
    scoped(buf_free) Buf name = {0};
    scoped(buf_free) Buf key = {0};
    if (text_equal(text_of_slice(buf_slice(&x->connected)), part))
        return true;
    buf_clear(&x->connected);
    buf_add_text(&x->connected, part);
    postgresql_name_unpart(part, &name);
    if (x->params.all) {
        scoped(buf_free) Buf conninfo = {0};
        postgresql_name_conninfo(&conninfo, "dbname", text_of_slice(buf_slice(&name)));
        if (memchr(name.at, '\n', name.len) != NULL || memchr(name.at, '\r', name.len) != NULL)
            return err_set(err, ERR_USAGE, "export.name",
                           "psql cannot connect to a database with a line break in its name; "
                           "export %.*s alone",
                           TEXT_ARG(part));
        /* A connection string in double quotes, which psql takes for any other name. */
        buf_add_text(&text, TEXT("\n\\connect -reuse-previous=on "));
        postgresql_name_quote(&text, text_of_slice(buf_slice(&conninfo)));
        buf_add_byte(&text, '\n');
    }
    json_escape_bytes(slice_of_text(part), &key);
    buf_add_text(&text, TEXT("SET client_encoding = "));
    postgresql_name_literal(&text, json_text_or(x->encodings, buf_cstr(&key), TEXT("UTF8")));
    buf_add_text(&text, TEXT(";\nSET standard_conforming_strings = on;\nSET row_security = off;\n"
                             "SELECT pg_catalog.set_config('search_path', '', false);\n\n"));
    return put_buf(x, &text, err);
}

static bool end_properties(PostgresqlExport *x, Text part, Err *err)
{
    scoped(json_release) json_t *properties =
        json_loadb((const char *)x->memory.at, x->memory.len, 0, NULL);
    scoped(buf_free) Buf text = {0};
    scoped(buf_free) Buf name = {0};
    scoped(buf_free) Buf key = {0};
    if (properties == NULL)
        return err_set(err, ERR_CORRUPT, "export.properties",
                       "the backup's description of database %.*s does not read; verify it",
                       TEXT_ARG(part));
    x->databases++;
    json_escape_bytes(slice_of_text(part), &key);
    json_object_set(x->encodings, buf_cstr(&key), json_object_get(properties, "encoding"));
    if (!x->params.all)
        return true;
    postgresql_name_unpart(part, &name);
    buf_add_text(&text, TEXT("CREATE DATABASE "));
    postgresql_name_quote(&text, text_of_slice(buf_slice(&name)));
    postgresql_settings_create(properties, 0, &text);
    buf_add_text(&text, TEXT(";\n"));
    postgresql_settings_alter(properties, buf_cstr(&name), false, &text);
    buf_add_byte(&text, '\n');
    return put_buf(x, &text, err);
}

static bool begin_table(PostgresqlExport *x, const Text *parts, const Entry *entry, Err *err)
{
    scoped(json_release) json_t *note =
        entry->note.len > 0 ? json_loadb(entry->note.at, entry->note.len, 0, NULL) : NULL;
    scoped(buf_free) Buf text = {0};
    scoped(buf_free) Buf columns = {0};
    scoped(buf_free) Buf schema = {0};
    scoped(buf_free) Buf table = {0};
    if (note == NULL || !json_unbytes(json_text_or(note, "columns", TEXT("")), &columns, err))
        return err_set(err, ERR_CORRUPT, "export.note",
                       "entry %.*s does not say how to restore it; verify the backup",
                       TEXT_ARG(entry->path));
    postgresql_name_unpart(parts[3], &schema);
    postgresql_name_unpart(parts[4], &table);
    buf_add_text(&text, TEXT("COPY "));
    postgresql_name_quote(&text, text_of_slice(buf_slice(&schema)));
    buf_add_byte(&text, '.');
    postgresql_name_quote(&text, text_of_slice(buf_slice(&table)));
    if (columns.len > 0)
        buf_printf(&text, " (%s)", buf_cstr(&columns));
    buf_add_text(&text, TEXT(" FROM stdin;\n"));
    x->kind = KIND_TABLE;
    x->rows = 0;
    return connect_to(x, parts[1], err) && put_buf(x, &text, err);
}

static bool begin_blob(PostgresqlExport *x, const Text *parts, Err *err)
{
    scoped(buf_free) Buf text = {0};
    x->kind = KIND_BLOB;
    x->oid = parts[3];
    x->offset = 0;
    buf_printf(&text, "BEGIN;\nSELECT pg_catalog.lo_create(%.*s);\n", TEXT_ARG(x->oid));
    return connect_to(x, parts[1], err) && put_buf(x, &text, err);
}

/* Of several databases one must be named. */
static bool belongs(PostgresqlExport *x, Text part, bool *wanted, Err *err)
{
    *wanted = x->params.all;
    if (x->params.all)
        return true;
    if (x->only == NULL)
        x->only = mem_text(part);
    *wanted = text_equal(text_of(x->only), part);
    if (*wanted || x->params.database.len > 0)
        return true;
    return err_set(err, ERR_USAGE, "export.databases",
                   "the backup has several databases, %s and %.*s among them; name one, or ask for "
                   "all",
                   x->only, TEXT_ARG(part));
}

static bool export_phase(Target *target, uint8_t phase, Err *err)
{
    PostgresqlExport *x = self(target);
    (void)phase;
    (void)err;
    /* The texts of pg_dump change the session; the next use of a database sets it again. */
    buf_clear(&x->connected);
    return true;
}

static bool export_begin(Target *target, unsigned lane, const Entry *entry, bool *want_content,
                         Err *err)
{
    PostgresqlExport *x = self(target);
    Text parts[5];
    size_t count = 0;
    bool wanted = false, ok = true;
    (void)lane;
    x->kind = KIND_PASS;
    buf_clear(&x->memory);
    if (!postgresql_name_split(entry->path, parts, 5, &count) || count < 3 ||
        !text_equal(parts[0], TEXT("databases"))) {
        *want_content = false;
        return true;
    }
    if (!belongs(x, parts[1], &wanted, err))
        return false;
    if (wanted && count == 3 && text_equal(parts[2], TEXT("properties.json"))) {
        x->kind = KIND_PROPERTIES;
    } else if (wanted && count == 3 && !text_equal(parts[2], TEXT("schema.pgdump"))) {
        x->kind = KIND_TEXT;
        ok = connect_to(x, parts[1], err);
    } else if (wanted && count == 5 && text_equal(parts[2], TEXT("tables"))) {
        ok = begin_table(x, parts, entry, err);
    } else if (wanted && count == 4 && text_equal(parts[2], TEXT("blobs"))) {
        ok = begin_blob(x, parts, err);
    }
    *want_content = x->kind != KIND_PASS;
    return ok;
}

static bool put_blob_piece(PostgresqlExport *x, Err *err)
{
    scoped(buf_free) Buf text = {0};
    static const char digits[] = "0123456789abcdef";
    if (x->memory.len == 0)
        return true;
    buf_printf(&text, "SELECT pg_catalog.lo_put(%.*s, %" PRIu64 ", '\\x", TEXT_ARG(x->oid),
               x->offset);
    for (size_t i = 0; i < x->memory.len; i++) {
        buf_add_byte(&text, (uint8_t)digits[x->memory.at[i] >> 4]);
        buf_add_byte(&text, (uint8_t)digits[x->memory.at[i] & 15]);
    }
    buf_add_text(&text, TEXT("');\n"));
    x->offset += x->memory.len;
    buf_clear(&x->memory);
    return put_buf(x, &text, err);
}

static bool export_write(Target *target, unsigned lane, Slice bytes, Err *err)
{
    PostgresqlExport *x = self(target);
    (void)lane;
    if (x->kind == KIND_PROPERTIES) {
        buf_add_slice(&x->memory, bytes);
        return true;
    }
    if (x->kind == KIND_BLOB) {
        for (size_t at = 0; at < bytes.len;) {
            size_t part = BLOB_PIECE - x->memory.len;
            if (part > bytes.len - at)
                part = bytes.len - at;
            buf_add(&x->memory, bytes.at + at, part);
            at += part;
            if (x->memory.len == BLOB_PIECE && !put_blob_piece(x, err))
                return false;
        }
        return true;
    }
    const uint8_t *at = bytes.at, *end = bytes.at + bytes.len;
    while (x->kind == KIND_TABLE && at < end && (at = memchr(at, '\n', (size_t)(end - at)))) {
        x->rows++;
        at++;
    }
    return bytes.len == 0 || put(x, bytes.at, bytes.len, Z_NO_FLUSH, err);
}

static bool export_zeros(Target *target, unsigned lane, uint64_t count, Err *err)
{
    static const uint8_t zeros[BLOB_PIECE];
    while (count > 0) {
        size_t part = count < sizeof zeros ? (size_t)count : sizeof zeros;
        if (!export_write(target, lane, (Slice){zeros, part}, err))
            return false;
        count -= part;
    }
    return true;
}

static bool end_table(PostgresqlExport *x, const Entry *entry, Err *err)
{
    x->tables++;
    x->all_rows += x->rows;
    if (x->rows != entry->rows)
        return err_set(err, ERR_CORRUPT, "export.rows",
                       "%.*s holds %" PRIu64 " rows, the backup says %" PRIu64 "; verify it",
                       TEXT_ARG(entry->path), x->rows, entry->rows);
    return put(x, "\\.\n\n", 4, Z_NO_FLUSH, err);
}

static bool end_blob(PostgresqlExport *x, const Entry *entry, Err *err)
{
    scoped(json_release) json_t *note =
        entry->note.len > 0 ? json_loadb(entry->note.at, entry->note.len, 0, NULL) : NULL;
    scoped(buf_free) Buf text = {0};
    if (!put_blob_piece(x, err) || !json_unbytes(json_text_or(note, "sql", TEXT("")), &text, err))
        return false;
    buf_add_text(&text, TEXT("\nCOMMIT;\n\n"));
    return put_buf(x, &text, err);
}

static bool export_end(Target *target, unsigned lane, const Entry *entry, Err *err)
{
    PostgresqlExport *x = self(target);
    Text parts[5];
    size_t count = 0;
    (void)lane;
    switch (x->kind) {
    case KIND_PROPERTIES:
        return postgresql_name_split(entry->path, parts, 5, &count) &&
               end_properties(x, parts[1], err);
    case KIND_TABLE:
        return end_table(x, entry, err);
    case KIND_BLOB:
        return end_blob(x, entry, err);
    case KIND_TEXT:
        buf_clear(&x->connected); /* it set its own session up */
        return put(x, "\n", 1, Z_NO_FLUSH, err);
    case KIND_PASS:
        break;
    }
    return true;
}

static bool export_finish(Target *target, json_t **report, Err *err)
{
    PostgresqlExport *x = self(target);
    static const char mark[] = "-- Holdfast export complete\n";
    if (x->databases == 0)
        return err_set(err, ERR_MISSING, "export.nothing",
                       "the backup has no such database; list its entries first");
    if (!put(x, mark, sizeof mark - 1, Z_FINISH, err))
        return false;
    *report = json_pack("{s:I, s:I, s:I, s:I}", "databases", (json_int_t)x->databases, "tables",
                        (json_int_t)x->tables, "rows", (json_int_t)x->all_rows, "bytes",
                        (json_int_t)x->bytes);
    return true;
}

static void export_close(Target *target)
{
    PostgresqlExport *x = self(target);
    deflateEnd(&x->deflater);
    json_decref(x->encodings);
    buf_free(&x->memory);
    buf_free(&x->connected);
    mem_free(x->only);
    mem_free(x->out);
    mem_free(x);
}

static const TargetOps export_ops = {
    .lanes = export_lanes,
    .phase = export_phase,
    .begin = export_begin,
    .write = export_write,
    .zeros = export_zeros,
    .end = export_end,
    .finish = export_finish,
    .close = export_close,
};

bool postgresql_export_open(Target **out, const PostgresqlExportParams *params, Err *err)
{
    PostgresqlExport *x = mem_new(PostgresqlExport);
    x->target.ops = &export_ops;
    x->params = *params;
    x->encodings = json_object();
    x->out = mem_resize(NULL, OUT_ROOM);
    if (params->database.len > 0) {
        scoped(buf_free) Buf part = {0};
        postgresql_name_part(&part, params->database);
        x->only = mem_string(buf_cstr(&part));
        x->params.database = TEXT("given"); /* the caller's text is not kept */
    }
    *out = &x->target;
    if (deflateInit2(&x->deflater, LEVEL, Z_DEFLATED, GZIP_WINDOW, 8, Z_DEFAULT_STRATEGY) == Z_OK)
        return true;
    export_close(&x->target);
    *out = NULL;
    return err_set(err, ERR_FULL, "export.gzip", "no memory for the compressor");
}
