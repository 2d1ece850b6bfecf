/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/engine/postgresql_file.h"

#include "common/base/crashpoint.h"
#include "common/base/json.h"
#include "common/base/mem.h"
#include "hf_engine_assets.h"
#include "worker/engine/child.h"
#include "worker/engine/postgresql_restore.h"
#include "worker/engine/postgresql_script.h"

#include <ctype.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum {
    PIECE = 256 * 1024,
    HEAD = 1024, /* of the file: where its maker stands */
    TAIL = 512,  /* the end mark is followed by \unrestrict and its key only */
    TAR_NAME = 257,
    ROW_HELD = 4, /* "\." and a line break */
};

/* Where rows begin that follow a COPY, and how much of "\.\r\n" a line has begun with. */
typedef enum Row { ROW_INSIDE, ROW_BEGIN, ROW_BACKSLASH, ROW_DOT, ROW_RETURN } Row;

typedef struct Filling {
    const EngineParams *params;
    const EngineFile *file;
    const PostgresqlRules *rules;
    PostgresqlRestore *restore;
    PGconn *conn; /* in the database that is filled */
    PostgresqlScript *script;
    Child *child; /* pg_restore, where the file is an archive */
    Buf piece;
    size_t at; /* of the piece */
    bool ended;
    Buf head, tail; /* of the script */
    uint64_t statements, rows;
} Filling;

/* ---- what is read ---- */

static bool go_on(void *ctx, Err *err)
{
    const Filling *f = ctx;
    return f->file->go_on(f->file->ctx, err);
}

static void keep_ends(Filling *f, Slice bytes)
{
    size_t head = HEAD - f->head.len < bytes.len ? HEAD - f->head.len : bytes.len;
    size_t tail = TAIL < bytes.len ? TAIL : bytes.len;
    buf_add(&f->head, bytes.at, head);
    if (f->tail.len + tail > TAIL) {
        size_t drop = f->tail.len + tail - TAIL;
        memmove(f->tail.at, f->tail.at + drop, f->tail.len - drop);
        f->tail.len -= drop;
    }
    buf_add(&f->tail, bytes.at + bytes.len - tail, tail);
}

/* The next piece of the script behind what is left of this one. */
static bool read_more(Filling *f, Err *err)
{
    size_t got = 0;
    buf_clear(&f->piece);
    f->at = 0;
    buf_reserve(&f->piece, PIECE);
    if (f->ended)
        return true;
    if (!go_on(f, err) ||
        !(f->child != NULL ? child_read(f->child, f->piece.at, PIECE, &got, err)
                           : f->file->read(f->file->ctx, f->piece.at, PIECE, &got, err)))
        return false;
    f->piece.len = got;
    f->ended = got == 0;
    keep_ends(f, buf_slice(&f->piece));
    return !f->ended || f->child == NULL || child_finish(f->child, err);
}

static bool is_archive(const Buf *head)
{
    return (head->len >= 5 && memcmp(head->at, "PGDMP", 5) == 0) ||
           (head->len > TAR_NAME + 5 && memcmp(head->at + TAR_NAME, "ustar", 5) == 0 &&
            memcmp(head->at, "toc.dat", 8) == 0);
}

/* An archive is turned into SQL by the server's own program, and that is taken as any other. */
static bool start_pg_restore(Filling *f, Err *err)
{
    char program[300];
    PostgresqlTools tools;
    const char *const arguments[] = {"--file=-", NULL};
    const char *const environment[] = {"PATH=/usr/bin:/bin", "LC_ALL=C", NULL};
    Confine confine = {.directory = f->params->host->scratch};
    if (f->file->packed)
        return err_set(err, ERR_USAGE, "target.archive",
                       "%s is a compressed archive of pg_dump: unpack it first, such an archive "
                       "is compressed in itself",
                       f->file->name);
    if (!postgresql_tools_find(f->rules->server_version, "target.tools", &tools, err))
        return false;
    if (lseek(f->file->fd, 0, SEEK_SET) != 0)
        return err_set_sys(err, ERR_IO, "target.archive", "reading %s", f->file->name);
    postgresql_tools_path(&tools, "pg_restore", program);
    ChildParams params = {.program = program,
                          .arguments = arguments,
                          .environment = environment,
                          .input = f->file->fd,
                          .cause = "target.archive",
                          .tick = go_on,
                          .ctx = f,
                          .confine = &confine};
    buf_clear(&f->head);
    buf_clear(&f->tail);
    f->ended = false;
    return child_start(&f->child, &params, err) && read_more(f, err);
}

static bool begins_with_line(const Buf *head, const char *line)
{
    const uint8_t *at = memmem(head->at, head->len, line, strlen(line));
    return at != NULL && (at == head->at || at[-1] == '\n');
}

static bool open_script(Filling *f, Err *err)
{
    static const char others[] = "is not a dump of one PostgreSQL database";
    if (!read_more(f, err))
        return false;
    if (is_archive(&f->head) && !start_pg_restore(f, err))
        return err_note(err, "%s", f->file->name);
    if (begins_with_line(&f->head, "-- PostgreSQL database cluster dump"))
        return err_set(err, ERR_USAGE, "target.script",
                       "%s %s but of a cluster, by pg_dumpall: take pg_dump of the database",
                       f->file->name, others);
    if (begins_with_line(&f->head, "-- MySQL dump") ||
        begins_with_line(&f->head, "-- MariaDB dump"))
        return err_set(err, ERR_USAGE, "target.script", "%s %s but of MySQL or MariaDB",
                       f->file->name, others);
    if (f->piece.len >= 3 && memcmp(f->piece.at, "\xef\xbb\xbf", 3) == 0)
        f->at = 3;
    return true;
}

/* A dump says at its end that it is one: without that it was cut between two statements. */
static bool ended_well(const Filling *f, Err *err)
{
    static const char mark[] = "-- PostgreSQL database dump complete";
    if (f->statements == 0)
        return err_set(err, ERR_INVALID, "target.script", "%s has no statement in it",
                       f->file->name);
    if (!begins_with_line(&f->head, "-- PostgreSQL database dump") ||
        memmem(f->tail.at, f->tail.len, mark, sizeof mark - 1) != NULL)
        return true;
    return err_set(err, ERR_INVALID, "target.script",
                   "line %" PRIu64 ": %s ends without \"%s\": it was cut, take a whole one",
                   postgresql_script_at(f->script), f->file->name, mark);
}

/* ---- what the server says ---- */

static bool wait_answer(Filling *f, Err *err)
{
    while (PQisBusy(f->conn) != 0) {
        struct pollfd fd = {.fd = PQsocket(f->conn), .events = POLLIN};
        if (poll(&fd, 1, 1000) == 0 && !go_on(f, err)) {
            char ignored[128];
            PGcancel *cancel = PQgetCancel(f->conn);
            (void)PQcancel(cancel, ignored, sizeof ignored);
            PQfreeCancel(cancel);
            return false;
        }
        if (PQconsumeInput(f->conn) != 1)
            break; /* it shows in the result */
    }
    return true;
}

static uint64_t breaks_before(const char *text, const char *position)
{
    uint64_t breaks = 0;
    long characters = position == NULL ? 0 : strtol(position, NULL, 10);
    for (const char *at = text; *at != '\0' && characters > 1; at++) {
        characters -= ((uint8_t)*at & 0xc0) != 0x80;
        breaks += *at == '\n';
    }
    return breaks;
}

/* "COPY account, line 17, column id: …" */
static uint64_t row_of(const char *context)
{
    const char *at = context == NULL ? NULL : strstr(context, ", line ");
    return at == NULL || strncmp(context, "COPY ", 5) != 0 ? 0 : strtoull(at + 7, NULL, 10);
}

static void quote_begin(const char *statement, char out[72])
{
    size_t len = 0;
    for (const char *at = statement; *at != '\0' && len < 70; at++)
        if (!isspace((unsigned char)*at) || (len > 0 && out[len - 1] != ' '))
            out[len++] = isspace((unsigned char)*at) || iscntrl((unsigned char)*at) ? ' ' : *at;
    out[len] = '\0';
}

static const char *next_step(const char *state, const char *message)
{
    if (strcmp(state, "42704") == 0 && strstr(message, "role \"") != NULL)
        return "create that role, or dump with --no-owner --no-privileges";
    if (strcmp(state, "42501") == 0)
        return "let the source's login do that, or dump without it";
    if (strncmp(state, "58P01", 5) == 0 || strcmp(state, "0A000") == 0)
        return "install on the server what the dump needs";
    return "correct the file, or take another one";
}

/* The line of the file, what the server said, what to do; trouble with the server itself is told as
 * everywhere. */
static bool statement_failed(Filling *f, const PGresult *result, uint64_t rows_from, Err *err)
{
    char begin[72], what[160];
    const char *state = PQresultErrorField(result, PG_DIAG_SQLSTATE);
    const char *message = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
    const char *text = postgresql_script_statement(f->script);
    uint64_t line = postgresql_script_line(f->script) +
                    breaks_before(text, PQresultErrorField(result, PG_DIAG_STATEMENT_POSITION));
    uint64_t row = row_of(PQresultErrorField(result, PG_DIAG_CONTEXT));
    if (rows_from > 0 && row > 0)
        line = rows_from + row - 1;
    snprintf(what, sizeof what, "line %" PRIu64 " of %.100s", line, f->file->name);
    if (state == NULL || message == NULL || strncmp(state, "08", 2) == 0 ||
        strncmp(state, "53", 2) == 0 || strncmp(state, "57", 2) == 0)
        return postgresql_link_failed(f->rules->link, f->conn, result, what, err);
    quote_begin(text, begin);
    return err_set(err, ERR_INVALID, "target.script", "%s: %.140s (%s), in: %s; next: %s", what,
                   message, state, begin, next_step(state, message));
}

/* Where the second byte of a character may be a backslash or a quote, we would not see where a
 * statement ends. */
static bool is_readable(const Filling *f, Err *err)
{
    static const char *const unsafe[] = {"SJIS", "SHIFT_JIS_2004", "BIG5", "GBK", "GB18030",
                                         "UHC",  "JOHAB"};
    const char *encoding = PQparameterStatus(f->conn, "client_encoding");
    for (size_t i = 0; encoding != NULL && i < sizeof unsafe / sizeof *unsafe; i++)
        if (strcmp(encoding, unsafe[i]) == 0)
            return err_set(err, ERR_INVALID, "target.script",
                           "line %" PRIu64 ": the dump is written in %s: dump with "
                           "--encoding=UTF8, or convert it",
                           postgresql_script_line(f->script), encoding);
    return true;
}

/* ---- rows ---- */

static bool put_rows(Filling *f, const void *at, size_t len, Err *err)
{
    return len == 0 || PQputCopyData(f->conn, at, (int)len) == 1 ||
           postgresql_link_failed(f->rules->link, f->conn, NULL, "sending rows", err);
}

/* The rest of the line of a COPY is empty. */
static bool skip_line(Filling *f, Err *err)
{
    for (;;) {
        for (; f->at < f->piece.len; f->at++) {
            uint8_t c = f->piece.at[f->at];
            if (c == '\n') {
                f->at++;
                postgresql_script_passed(f->script, 1);
                return true;
            }
            if (c != ' ' && c != '\t' && c != '\r')
                return err_set(err, ERR_INVALID, "target.script",
                               "line %" PRIu64 ": rows begin in the line after their COPY",
                               postgresql_script_at(f->script));
        }
        if (!read_more(f, err))
            return false;
        if (f->ended)
            return true; /* told as rows without an end */
    }
}

/* One byte at the beginning of a line. *over: that line was the end of the rows. */
static bool begin_row(Filling *f, Row *row, uint8_t c, bool *over, Err *err)
{
    static const char held[ROW_HELD] = "\\.\r";
    size_t len = *row == ROW_BEGIN ? 0 : (size_t)(*row - ROW_BEGIN);
    *over = c == '\n' && (*row == ROW_DOT || *row == ROW_RETURN);
    if (*over)
        return true;
    if (*row != ROW_RETURN && c == (uint8_t)held[len]) {
        (*row)++;
        return true;
    }
    *row = c == '\n' ? ROW_BEGIN : ROW_INSIDE;
    return put_rows(f, held, len, err) && put_rows(f, &c, 1, err);
}

/* What is left of this piece, up to the end of the rows. */
static bool take_rows(Filling *f, Row *row, bool *over, Err *err)
{
    while (f->at < f->piece.len && !*over) {
        const uint8_t *from = f->piece.at + f->at;
        size_t left = f->piece.len - f->at, len = 0;
        if (*row != ROW_INSIDE && (*row != ROW_BEGIN || *from == '\\')) {
            postgresql_script_passed(f->script, *from == '\n');
            f->at++;
            if (!begin_row(f, row, *from, over, err))
                return false;
            continue;
        }
        /* Whole lines at once, up to one that begins with a backslash. */
        for (*row = ROW_INSIDE; *row == ROW_INSIDE && len < left;) {
            const uint8_t *end = memchr(from + len, '\n', left - len);
            len = end == NULL ? left : (size_t)(end - from) + 1;
            postgresql_script_passed(f->script, end != NULL);
            if (end != NULL && (len == left || from[len] == '\\'))
                *row = ROW_BEGIN;
        }
        f->at += len;
        if (!put_rows(f, from, len, err))
            return false;
    }
    return true;
}

static bool copy_rows(Filling *f, Err *err)
{
    Row row = ROW_BEGIN;
    bool over = false;
    if (!skip_line(f, err))
        return false;
    while (!over) {
        if (f->at == f->piece.len && !read_more(f, err))
            return false;
        if (f->ended)
            break;
        if (!take_rows(f, &row, &over, err))
            return false;
    }
    if (!over && row != ROW_DOT && row != ROW_RETURN)
        return err_set(err, ERR_INVALID, "target.script",
                       "line %" PRIu64 ": the file ends in the rows of the COPY in line %" PRIu64
                       ": it was cut",
                       postgresql_script_at(f->script), postgresql_script_line(f->script));
    return PQputCopyEnd(f->conn, NULL) == 1 ||
           postgresql_link_failed(f->rules->link, f->conn, NULL, "sending rows", err);
}

/* ---- statements ---- */

static bool take_result(Filling *f, const PGresult *result, uint64_t *rows_from, Err *err)
{
    const char *tag = PQcmdStatus((PGresult *)(uintptr_t)result); /* libpq is not const-correct */
    switch (PQresultStatus(result)) {
    case PGRES_COMMAND_OK:
        if (strncmp(tag, "INSERT ", 7) == 0 || strncmp(tag, "COPY ", 5) == 0)
            f->rows += strtoull(PQcmdTuples((PGresult *)(uintptr_t)result), NULL, 10);
        return true;
    case PGRES_TUPLES_OK:
    case PGRES_EMPTY_QUERY:
        return true;
    case PGRES_COPY_IN:
        *rows_from = postgresql_script_at(f->script) + 1;
        return copy_rows(f, err);
    default:
        return statement_failed(f, result, *rows_from, err);
    }
}

static bool run_statement(Filling *f, Err *err)
{
    uint64_t rows_from = 0;
    PGresult *result = NULL;
    bool fine = true;
    f->statements++;
    if (PQsendQuery(f->conn, postgresql_script_statement(f->script)) != 1)
        return postgresql_link_failed(f->rules->link, f->conn, NULL, "sending a statement", err);
    /* After an error nothing more is asked: what was made is thrown away. */
    while (fine && (fine = wait_answer(f, err)) && (result = PQgetResult(f->conn)) != NULL) {
        fine = take_result(f, result, &rows_from, err);
        PQclear(result);
    }
    return fine && is_readable(f, err);
}

static bool conforming(const Filling *f)
{
    const char *said = PQparameterStatus(f->conn, "standard_conforming_strings");
    return said == NULL || strcmp(said, "off") != 0;
}

static bool run_script(Filling *f, Err *err)
{
    bool whole = false;
    while (!f->ended) {
        size_t used = 0;
        Slice left = {f->piece.at + f->at, f->piece.len - f->at};
        if (!postgresql_script_take(f->script, left, conforming(f), &used, &whole, err))
            return err_note(err, "%s", f->file->name);
        f->at += used;
        if (whole ? !run_statement(f, err) : !read_more(f, err))
            return false;
    }
    if (!postgresql_script_end(f->script, &whole, err))
        return err_note(err, "%s", f->file->name);
    if ((whole && !run_statement(f, err)) || !ended_well(f, err))
        return false;
    if (PQtransactionStatus(f->conn) == PQTRANS_IDLE)
        return true;
    return err_set(err, ERR_INVALID, "target.script",
                   "%s ends inside a transaction that it began and did not commit", f->file->name);
}

static bool fill(Filling *f, Err *err)
{
    /* What a session of psql begins with; nothing of it is durable before it has its name. */
    static const char settings[] = "SET search_path TO DEFAULT; SET row_security TO DEFAULT; "
                                   "SET synchronous_commit = off";
    f->script = postgresql_script_new();
    bool fine =
        postgresql_link_connect(f->rules->link, text_of(f->restore->temporary), &f->conn, err) &&
        postgresql_link_exec(f->rules->link, f->conn, "preparing the session", settings, err) &&
        open_script(f, err) && run_script(f, err);
    CRASHPOINT("restore.filled");
    return fine;
}

/* ---- the database ---- */

static bool count_tables(const PostgresqlRules *rules, const PostgresqlRestore *restore,
                         uint64_t *tables, Err *err)
{
    scoped(postgresql_link_disconnect) PGconn *conn = NULL;
    scoped(postgresql_link_clear) PGresult *rows = NULL;
    if (!postgresql_link_connect(rules->link, text_of(restore->temporary), &conn, err) ||
        !postgresql_link_query(
            rules->link, conn, "counting tables",
            "SELECT pg_catalog.count(*) FROM pg_catalog.pg_class c WHERE c.oid >= 16384 AND "
            "c.relkind IN ('r', 'p') AND c.relpersistence <> 't' AND NOT EXISTS (SELECT FROM "
            "pg_catalog.pg_depend d WHERE d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass "
            "AND d.objid = c.oid AND d.deptype = 'e')",
            NULL, 0, &rows, err))
        return false;
    *tables = strtoull(PQgetvalue(rows, 0, 0), NULL, 10);
    return true;
}

/* A database that is replaced goes on with what it was: owner, rights, settings, encoding. */
static bool read_properties(const PostgresqlRules *rules, PostgresqlRestore *restore, bool exists,
                            Err *err)
{
    scoped(postgresql_link_disconnect) PGconn *conn = NULL;
    scoped(postgresql_link_clear) PGresult *rows = NULL;
    restore->properties = json_object();
    if (!exists)
        return true;
    if (!postgresql_link_connect(rules->link, text_of(restore->final), &conn, err) ||
        !postgresql_link_query(rules->link, conn, "reading the database's properties",
                               (const char *)asset_engine_properties_sql.bytes, NULL, 0, &rows,
                               err))
        return false;
    json_decref(restore->properties);
    restore->properties = json_loads(PQgetvalue(rows, 0, 0), 0, NULL);
    return restore->properties != NULL ||
           err_set(err, ERR_SOURCE, "target.properties",
                   "the properties of database %s do not read", restore->final);
}

static json_t *report_of(const Filling *f, uint64_t tables)
{
    const PostgresqlRestore *r = f->restore;
    json_t *database =
        json_pack("{s:o, s:o, s:I, s:I}", "name", json_bytes(slice_of_text(text_of(r->name))),
                  "database", json_bytes(slice_of_text(text_of(r->final))), "tables",
                  (json_int_t)tables, "rows", (json_int_t)f->rows);
    if (r->set_aside != NULL)
        json_object_set_new(database, "kept_as", json_bytes(slice_of_text(text_of(r->set_aside))));
    if (r->ended > 0)
        json_object_set_new(database, "sessions_ended", json_integer(r->ended));
    return json_pack("{s:s, s:I, s:[o]}", "engine", "postgresql", "statements",
                     (json_int_t)f->statements, "databases", database);
}

static bool restore_into(Filling *f, PGconn *conn, json_t **report, Err *err)
{
    bool exists = false;
    uint64_t tables = 0;
    if (!postgresql_restore_allowed(f->rules, conn, f->restore, &exists, err) ||
        !read_properties(f->rules, f->restore, exists, err) ||
        !postgresql_restore_make(f->restore, f->rules, conn, err))
        return false;
    bool fine = fill(f, err);
    postgresql_script_free(f->script);
    postgresql_link_disconnect(&f->conn); /* its name is not given while somebody is inside */
    child_close(f->child);
    fine = fine && count_tables(f->rules, f->restore, &tables, err) &&
           postgresql_restore_publish(f->restore, f->rules, conn, err);
    if (fine)
        *report = report_of(f, tables);
    postgresql_restore_drop(f->restore, f->rules);
    return fine;
}

bool postgresql_file_target(const EngineParams *params, Text *name, Err *err)
{
    const json_t *names = json_object_get(params->config, "databases");
    *name = json_text_or(json_object_get(params->request, "target"), "database", TEXT(""));
    const json_t *only = json_array_get(names, 0);
    if (name->len == 0 && json_array_size(names) == 1 && json_is_string(only))
        *name = (Text){json_string_value(only), json_string_length(only)};
    if (name->len > 0 && !text_equal(*name, TEXT("all")))
        return true;
    return err_set(err, ERR_USAGE, "target.databases",
                   "the source has not one database by name, so nobody knows which the file goes "
                   "into: say --to DATABASE");
}

bool postgresql_file_restore(const EngineParams *params, const EngineFile *file, json_t **report,
                             Err *err)
{
    Text name;
    scoped(postgresql_link_release) PostgresqlLink *link = NULL;
    scoped(postgresql_link_disconnect) PGconn *conn = NULL;
    if (!postgresql_file_target(params, &name, err) ||
        !postgresql_link_open(&link, params->config, params->host, "target", err) ||
        !postgresql_link_connect(link, (Text){0}, &conn, err))
        return false;
    PostgresqlRules rules = {.link = link,
                             .host = params->host,
                             .server_version = PQserverVersion(conn),
                             .in_place = json_bool_or(params->request, "in_place", false),
                             .confirmed = json_bool_or(params->request, "confirmed", false),
                             .fills_empty = true,
                             .lanes = 1};
    Filling filling = {.params = params,
                       .file = file,
                       .rules = &rules,
                       .restore = postgresql_restore_new(name, name)};
    bool fine = restore_into(&filling, conn, report, err);
    postgresql_restore_free(filling.restore);
    buf_free(&filling.piece);
    buf_free(&filling.head);
    buf_free(&filling.tail);
    return fine;
}
