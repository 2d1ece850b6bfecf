/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/engine/postgresql_copy.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

/* 1 MiB: a round trip a piece, and nothing in libpq or the server grows beyond that. */
enum { BLOB_PIECE = 1 << 20 };

static bool copy_failed(const PostgresqlCopy *copy, const PGresult *result, Err *err)
{
    char what[200];
    snprintf(what, sizeof what, "copying table %.*s", TEXT_ARG(copy->table->quoted));
    return postgresql_link_failed(copy->link, copy->conn, result, what, err);
}

static bool start_on(PostgresqlCopy *copy, Err *err)
{
    scoped(buf_free) Buf sql = {0};
    const PostgresqlTable *t = copy->table;
    buf_add_text(&sql, TEXT("COPY "));
    if (t->condition.len > 0) {
        buf_printf(&sql, "(SELECT %.*s FROM ONLY %.*s %.*s)", TEXT_ARG(t->columns),
                   TEXT_ARG(t->quoted), TEXT_ARG(t->condition));
    } else {
        buf_add_text(&sql, t->quoted); /* COPY of a table reads that table ONLY */
        if (t->columns.len > 0)
            buf_printf(&sql, " (%.*s)", TEXT_ARG(t->columns));
    }
    buf_add_text(&sql, TEXT(" TO STDOUT"));
    PGresult *result = PQexec(copy->conn, buf_cstr(&sql));
    bool ok = PQresultStatus(result) == PGRES_COPY_OUT || copy_failed(copy, result, err);
    PQclear(result);
    return ok;
}

static bool lock_lane(PostgresqlCopy *copy, bool *taken, Err *err)
{
    scoped(buf_free) Buf sql = {0};
    buf_printf(&sql,
               "SAVEPOINT lane; LOCK TABLE ONLY %.*s IN ACCESS SHARE MODE NOWAIT; "
               "RELEASE SAVEPOINT lane",
               TEXT_ARG(copy->table->quoted));
    PGresult *result = PQexec(copy->conn, buf_cstr(&sql));
    *taken = PQresultStatus(result) == PGRES_COMMAND_OK;
    bool ok = *taken || copy_failed(copy, result, err);
    PQclear(result);
    if (ok)
        return true;
    if (err->code != ERR_BUSY)
        return false;
    *err = (Err){0};
    return postgresql_link_exec(copy->link, copy->conn, "going on after a refused lock",
                                "ROLLBACK TO SAVEPOINT lane; RELEASE SAVEPOINT lane", err);
}

bool postgresql_copy_start(PostgresqlCopy *copy, PostgresqlSnapshot *snapshot,
                           const PostgresqlLink *link, PGconn *lane, const PostgresqlTable *table,
                           Err *err)
{
    bool taken = false;
    *copy = (PostgresqlCopy){.snapshot = snapshot, .link = link, .conn = lane, .table = table};
    if (!lock_lane(copy, &taken, err))
        return false;
    if (!taken) {
        pthread_mutex_lock(&snapshot->lock);
        copy->borrowed = true;
        copy->conn = snapshot->holder;
    }
    return start_on(copy, err);
}

static bool copy_over(PostgresqlCopy *copy, Err *err)
{
    PGresult *result = PQgetResult(copy->conn);
    bool ok = PQresultStatus(result) == PGRES_COMMAND_OK || copy_failed(copy, result, err);
    uint64_t said = ok ? strtoull(PQcmdTuples(result), NULL, 10) : 0;
    PQclear(result);
    while ((result = PQgetResult(copy->conn)) != NULL)
        PQclear(result);
    if (ok && said != copy->rows)
        ok = err_set(err, ERR_SOURCE, "source.rows",
                     "table %.*s: the server says it sent %" PRIu64 " rows, %" PRIu64
                     " came; run the backup again",
                     TEXT_ARG(copy->table->quoted), said, copy->rows);
    copy->ended = ok;
    return ok;
}

bool postgresql_copy_read(PostgresqlCopy *copy, uint8_t *at, size_t room, size_t *got, Err *err)
{
    *got = 0;
    while (*got < room && !copy->ended) {
        if (copy->row == NULL) {
            /* Hand out what is there rather than wait for the server with bytes in hand. */
            int len = PQgetCopyData(copy->conn, &copy->row, *got > 0);
            if (len == 0)
                break;
            if (len == -2)
                return copy_failed(copy, NULL, err);
            if (len == -1) {
                if (!copy_over(copy, err))
                    return false;
                break;
            }
            copy->rows++;
            copy->row_len = (size_t)len;
            copy->row_at = 0;
        }
        size_t part = copy->row_len - copy->row_at;
        if (part > room - *got)
            part = room - *got;
        memcpy(at + *got, copy->row + copy->row_at, part);
        *got += part;
        copy->row_at += part;
        if (copy->row_at == copy->row_len) {
            PQfreemem(copy->row);
            copy->row = NULL;
        }
    }
    copy->bytes += *got;
    return true;
}

void postgresql_copy_close(PostgresqlCopy *copy)
{
    PQfreemem(copy->row);
    copy->row = NULL;
    if (copy->borrowed)
        pthread_mutex_unlock(&copy->snapshot->lock);
    copy->borrowed = false;
}

bool postgresql_copy_blob(const PostgresqlLink *link, PGconn *conn, Text oid, uint64_t offset,
                          uint8_t *at, size_t room, size_t *got, Err *err)
{
    char number[16], from[24], piece[24];
    size_t want = room < BLOB_PIECE ? room : BLOB_PIECE;
    snprintf(number, sizeof number, "%.*s", TEXT_ARG(oid));
    snprintf(from, sizeof from, "%" PRIu64, offset);
    snprintf(piece, sizeof piece, "%zu", want);
    const char *values[] = {number, from, piece};
    PGresult *result =
        PQexecParams(conn, "SELECT pg_catalog.lo_get($1::oid, $2::bigint, $3::integer)", 3, NULL,
                     values, NULL, NULL, 1);
    bool ok = PQresultStatus(result) == PGRES_TUPLES_OK;
    if (ok) {
        *got = (size_t)PQgetlength(result, 0, 0);
        memcpy(at, PQgetvalue(result, 0, 0), *got <= want ? *got : want);
    } else {
        char what[64];
        snprintf(what, sizeof what, "reading large object %s", number);
        postgresql_link_failed(link, conn, result, what, err);
    }
    PQclear(result);
    return ok;
}
