/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/engine/postgresql_stream.h"

#include "common/base/clock.h"
#include "common/base/mem.h"

#include <poll.h>
#include <stdio.h>
#include <string.h>

enum {
    DATA_HEAD = 25,            /* 'w', start, end, time */
    KEEPALIVE = 18,            /* 'k', end, time, answer now */
    STATUS_BYTES = 34,         /* 'r', written, flushed, applied, time, answer now */
    STATUS_NS = 1000000000,    /* between two of them */
    WAIT_MS = 200,             /* between two looks at whether the job is to end */
    TAKEN_S = 10,              /* how long a slot that somebody else has is waited for */
    SILENCE_S = 60,            /* longer without a byte of a log that is there is a fault */
    EPOCH_US_HIGH = 946684800, /* seconds from 1970 to 2000, where the protocol's time begins */
};

typedef struct PostgresqlStream {
    PostgresqlLink *link;
    const EngineHost *host;
    PGconn *conn;
    uint64_t position, safe;
    char *message; /* the rest of one 'w', owned by libpq */
    size_t message_at, message_len;
    bool ended;
    int64_t told_ns;
} PostgresqlStream;

static uint64_t take64(const char *at)
{
    uint64_t value = 0;
    for (size_t i = 0; i < 8; i++)
        value = value << 8 | (uint8_t)at[i];
    return value;
}

static void put64(char *at, uint64_t value)
{
    for (size_t i = 0; i < 8; i++)
        at[i] = (char)(uint8_t)(value >> (56 - 8 * i));
}

/* What the slot may forget: a position that is not safe is never told. */
static bool tell_safe(PostgresqlStream *s, Err *err)
{
    char status[STATUS_BYTES] = {'r'};
    int64_t now_us = clock_wall_ns() / 1000 - (int64_t)EPOCH_US_HIGH * 1000000;
    put64(status + 1, s->safe);
    put64(status + 9, s->safe);
    put64(status + 17, s->safe);
    put64(status + 25, (uint64_t)now_us);
    s->told_ns = clock_boot_ns();
    if (PQputCopyData(s->conn, status, sizeof status) == 1 && PQflush(s->conn) >= 0)
        return true;
    return postgresql_link_replication_failed(s->link, s->conn, NULL, "answering the log's stream",
                                              err);
}

/* Another connection has the slot: of an attempt that died, or whose end the server has not noticed
 * yet. */
static bool slot_is_taken(PostgresqlStream *s, const PGresult *result, int64_t since_ns)
{
    const char *state = PQresultErrorField(result, PG_DIAG_SQLSTATE);
    return state != NULL && strcmp(state, "55006") == 0 &&
           clock_boot_ns() - since_ns < (int64_t)TAKEN_S * 1000000000 &&
           !s->host->cancelled(s->host->ctx);
}

static bool begin(PostgresqlStream *s, const PostgresqlStreamParams *params, Err *err)
{
    char at[POSTGRESQL_LSN_TEXT];
    scoped(buf_free) Buf command = {0};
    int64_t since_ns = clock_boot_ns();
    postgresql_lsn_text(params->start, at);
    buf_printf(&command, "START_REPLICATION ");
    if (params->slot != NULL)
        buf_printf(&command, "SLOT \"%s\" ", params->slot);
    buf_printf(&command, "PHYSICAL %s TIMELINE %u", at, params->timeline);
    PGresult *result = PQexec(s->conn, buf_cstr(&command));
    while (slot_is_taken(s, result, since_ns)) {
        PQclear(result);
        poll(NULL, 0, WAIT_MS);
        result = PQexec(s->conn, buf_cstr(&command));
    }
    bool fine = PQresultStatus(result) == PGRES_COPY_BOTH;
    if (!fine) {
        bool taken = slot_is_taken(s, result, clock_boot_ns());
        postgresql_link_replication_failed(s->link, s->conn, result, "starting the log's stream",
                                           err);
        if (taken) {
            err->code = ERR_BUSY;
            snprintf(err->cause, sizeof err->cause, "source.slot_taken");
        }
    }
    PQclear(result);
    return fine && tell_safe(s, err);
}

bool postgresql_stream_open(PostgresqlStream **out, const PostgresqlStreamParams *params, Err *err)
{
    PostgresqlStream *s = mem_new(PostgresqlStream);
    s->link = params->link;
    s->host = params->host;
    s->position = params->start;
    s->safe = params->safe;
    *out = s;
    if (postgresql_link_replication(s->link, &s->conn, err) && begin(s, params, err))
        return true;
    postgresql_stream_close(s);
    *out = NULL;
    return false;
}

void postgresql_stream_close(PostgresqlStream *stream)
{
    if (stream == NULL)
        return;
    if (stream->message != NULL)
        PQfreemem(stream->message);
    postgresql_link_disconnect(&stream->conn);
    mem_free(stream);
}

/* The server ended the copy: because the timeline does, or with an error. */
static bool take_end(PostgresqlStream *s, Err *err)
{
    PGresult *result = PQgetResult(s->conn);
    if (PQresultStatus(result) == PGRES_COPY_IN) {
        PQclear(result);
        (void)PQputCopyEnd(s->conn, NULL);
        result = PQgetResult(s->conn);
    }
    ExecStatusType status = PQresultStatus(result);
    s->ended = status == PGRES_TUPLES_OK || status == PGRES_COMMAND_OK;
    if (!s->ended) {
        postgresql_link_replication_failed(s->link, s->conn, result, "receiving the log", err);
    }
    PQclear(result);
    return s->ended;
}

static bool take_message(PostgresqlStream *s, char *message, size_t len, Err *err)
{
    if (len == KEEPALIVE && message[0] == 'k') {
        bool now = message[17] != 0;
        PQfreemem(message);
        return !now || tell_safe(s, err);
    }
    if (len < DATA_HEAD || message[0] != 'w' || take64(message + 1) != s->position) {
        char at[POSTGRESQL_LSN_TEXT];
        postgresql_lsn_text(s->position, at);
        PQfreemem(message);
        return err_set(err, ERR_SOURCE, "source.stream_order",
                       "the server's log did not go on at %s as it has to: the next attempt asks "
                       "again from what is stored",
                       at);
    }
    s->message = message;
    s->message_at = DATA_HEAD;
    s->message_len = len;
    return true;
}

static bool wait_readable(PostgresqlStream *s, int64_t since_ns, Err *err)
{
    struct pollfd fd = {.fd = PQsocket(s->conn), .events = POLLIN};
    if (s->host->cancelled(s->host->ctx))
        return err_set(err, ERR_CANCELLED, "source.cancelled", "the job was told to stop");
    if (clock_boot_ns() - since_ns > (int64_t)SILENCE_S * 1000000000)
        return err_set(err, ERR_TIMEOUT, "source.silent",
                       "the server sent nothing of its log for %d s; see pg_stat_replication there",
                       SILENCE_S);
    if (clock_boot_ns() - s->told_ns > STATUS_NS && !tell_safe(s, err))
        return false;
    if (poll(&fd, 1, WAIT_MS) > 0 && PQconsumeInput(s->conn) == 0)
        return postgresql_link_replication_failed(s->link, s->conn, NULL, "receiving the log", err);
    return true;
}

/* Until there are bytes of the log; false with `ended` when it has no more. */
static bool fill(PostgresqlStream *s, Err *err)
{
    int64_t since_ns = clock_boot_ns();
    while (s->message == NULL && !s->ended) {
        char *message = NULL;
        int len = PQgetCopyData(s->conn, &message, 1);
        if (len > 0 && !take_message(s, message, (size_t)len, err))
            return false;
        if (len == 0 && !wait_readable(s, since_ns, err))
            return false;
        if (len == -1 && !take_end(s, err))
            return false;
        if (len == -2)
            return postgresql_link_replication_failed(s->link, s->conn, NULL, "receiving the log",
                                                      err);
    }
    if (s->message != NULL)
        return true;
    char at[POSTGRESQL_LSN_TEXT];
    postgresql_lsn_text(s->position, at);
    return err_set(err, ERR_SOURCE, "source.timeline_ended",
                   "the timeline ends at %s, before what its history says: was another server "
                   "promoted meanwhile? the next attempt looks again",
                   at);
}

bool postgresql_stream_peek(PostgresqlStream *stream, uint64_t until, Err *err)
{
    return stream->position >= until || fill(stream, err);
}

bool postgresql_stream_read(PostgresqlStream *stream, uint64_t until, uint8_t *at, size_t room,
                            size_t *got, Err *err)
{
    PostgresqlStream *s = stream;
    *got = 0;
    if (s->position >= until)
        return true;
    if (!fill(s, err))
        return false;
    size_t len = s->message_len - s->message_at;
    if (len > room)
        len = room;
    if (len > until - s->position)
        len = (size_t)(until - s->position);
    memcpy(at, s->message + s->message_at, len);
    s->message_at += len;
    s->position += len;
    *got = len;
    if (s->message_at == s->message_len) {
        PQfreemem(s->message);
        s->message = NULL;
    }
    return clock_boot_ns() - s->told_ns < STATUS_NS || tell_safe(s, err);
}
