/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/engine/postgresql_receive.h"

#include "common/base/clock.h"
#include "common/base/mem.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>

enum {
    LOOK_MS = 1000,
    TAKEN_MS = 10000,
    TAKEN_LOOK_MS = 200,
    DATA_HEAD = 25,
    ALIVE_LEN = 18,
    REPLY_LEN = 34
};

#define ANSWER_NS      INT64_C(10000000000) /* between answers that nobody asked for */
#define POSTGRES_EPOCH INT64_C(946684800)   /* 2000-01-01 in seconds since 1970 */

struct PostgresqlReceive {
    const PostgresqlLink *link;
    PGconn *conn;
    const EngineHost *host;
    char *message;
    uint64_t at, safe; /* received, and safe with us */
    int64_t answered_ns;
};

static const char doing[] = "receiving the log";

static uint64_t big_endian(const char *at)
{
    uint64_t value = 0;
    for (int i = 0; i < 8; i++)
        value = value << 8 | (uint8_t)at[i];
    return value;
}

static void put_big_endian(char *at, uint64_t value)
{
    for (int i = 7; i >= 0; i--, value >>= 8)
        at[i] = (char)(value & 0xFF);
}

static bool refused(PostgresqlReceive *r, const PGresult *result, Err *err)
{
    return postgresql_link_replication_failed(r->link, r->conn, result, doing, err);
}

/* Nothing is said to be applied, and only what the caller called safe to be flushed: a server that
 * counts us among its synchronous standbys must not take a commit for safe because we saw it. */
static bool answer(PostgresqlReceive *r, Err *err)
{
    char reply[REPLY_LEN] = {'r'};
    int64_t now_us = clock_wall_ns() / 1000 - POSTGRES_EPOCH * 1000000;
    put_big_endian(reply + 1, r->at);
    put_big_endian(reply + 9, r->safe);
    put_big_endian(reply + 25, (uint64_t)now_us);
    r->answered_ns = clock_boot_ns();
    if (PQputCopyData(r->conn, reply, sizeof reply) != 1 || PQflush(r->conn) < 0)
        return refused(r, NULL, err);
    return true;
}

/* Has another connection the slot? */
static bool is_taken(const PGresult *result)
{
    const char *state = PQresultErrorField(result, PG_DIAG_SQLSTATE);
    return state != NULL && strcmp(state, "55006") == 0;
}

static bool start(PostgresqlReceive *r, const char *command, Err *err)
{
    int64_t until_ns = clock_boot_ns() + INT64_C(1000000) * TAKEN_MS;
    for (;;) {
        scoped(postgresql_link_clear) PGresult *result = NULL, *end = NULL;
        if (PQsendQuery(r->conn, command) != 1)
            return refused(r, NULL, err);
        if (!postgresql_replication_result(r->link, r->conn, r->host, doing, &result, err))
            return false;
        if (PQresultStatus(result) == PGRES_COPY_BOTH)
            return true;
        if (!is_taken(result))
            return refused(r, result, err);
        if (clock_boot_ns() > until_ns) {
            (void)refused(r, result, err);
            Err why = *err;
            return err_set(err, ERR_BUSY, "source.slot_taken", "%s", why.text);
        }
        if (!postgresql_replication_result(r->link, r->conn, r->host, doing, &end, err))
            return false;
        poll(NULL, 0, TAKEN_LOOK_MS);
    }
}

bool postgresql_receive_open(PostgresqlReceive **out, const PostgresqlLink *link, PGconn *conn,
                             const EngineHost *host, const char *slot, uint32_t timeline,
                             uint64_t from, Err *err)
{
    scoped(buf_free) Buf command = {0};
    char lsn[POSTGRESQL_LSN_TEXT];
    PostgresqlReceive *r = mem_new(PostgresqlReceive);
    *r = (PostgresqlReceive){.link = link, .conn = conn, .host = host, .at = from};
    postgresql_lsn_text(from, lsn);
    buf_printf(&command, "START_REPLICATION ");
    if (slot != NULL)
        buf_printf(&command, "SLOT \"%s\" ", slot);
    buf_printf(&command, "PHYSICAL %s TIMELINE %" PRIu32, lsn, timeline);
    *out = r;
    if (start(r, buf_cstr(&command), err))
        return true;
    postgresql_receive_close(r);
    *out = NULL;
    return false;
}

/* The server ended the stream: because it fails, stops, or goes on with another timeline. An error
 * is the first result; where there is none it waits for our end of the COPY. */
static bool over(PostgresqlReceive *r, Err *err)
{
    scoped(postgresql_link_clear) PGresult *first = NULL, *next = NULL;
    if (!postgresql_replication_result(r->link, r->conn, r->host, doing, &first, err))
        return false;
    if (PQresultStatus(first) != PGRES_COPY_IN)
        return refused(r, first, err);
    if (PQputCopyEnd(r->conn, NULL) == 1 && PQflush(r->conn) >= 0 &&
        postgresql_replication_result(r->link, r->conn, r->host, doing, &next, err) &&
        PQresultStatus(next) == PGRES_TUPLES_OK)
        return err_set(err, ERR_SOURCE, "source.timeline",
                       "%s: the server went on with timeline %s; was it promoted? The next attempt "
                       "follows it",
                       doing, PQntuples(next) > 0 ? PQgetvalue(next, 0, 0) : "?");
    return refused(r, next, err);
}

static bool take(PostgresqlReceive *r, int len, Slice *bytes, uint64_t *at, Err *err)
{
    if (r->message[0] == 'k' && len >= ALIVE_LEN)
        return r->message[ALIVE_LEN - 1] == 0 || answer(r, err);
    if (r->message[0] != 'w' || len < DATA_HEAD)
        return err_set(err, ERR_SOURCE, "source.protocol",
                       "%s: the server sent a message of the unknown kind 0x%02x", doing,
                       (unsigned)(uint8_t)r->message[0]);
    uint64_t where = big_endian(r->message + 1);
    if (where != r->at)
        return err_set(err, ERR_SOURCE, "source.protocol",
                       "%s: the server left out what lies between %" PRIX64 " and %" PRIX64, doing,
                       r->at, where);
    *bytes = (Slice){(const uint8_t *)r->message + DATA_HEAD, (size_t)(len - DATA_HEAD)};
    *at = where;
    r->at += bytes->len;
    return true;
}

/* Until the server has something; *woken: the descriptor has, or nobody for a second. */
static bool rest(PostgresqlReceive *r, int wake, bool *woken, Err *err)
{
    struct pollfd fds[2] = {{.fd = PQsocket(r->conn), .events = POLLIN},
                            {.fd = wake, .events = POLLIN}};
    if (r->host->cancelled != NULL && r->host->cancelled(r->host->ctx))
        return err_set(err, ERR_CANCELLED, "job.cancelled", "the job was cancelled");
    int ready = poll(fds, 2, LOOK_MS);
    if (ready < 0 && errno != EINTR)
        return err_set_sys(err, ERR_IO, "source.poll", "%s", doing);
    *woken = ready == 0 || (ready > 0 && fds[1].revents != 0);
    if (ready > 0 && fds[0].revents != 0 && PQconsumeInput(r->conn) == 0)
        return refused(r, NULL, err);
    return true;
}

bool postgresql_receive_next(PostgresqlReceive *r, int wake, Slice *bytes, uint64_t *at, Err *err)
{
    bool woken = false;
    *bytes = (Slice){0};
    *at = r->at;
    while (bytes->len == 0 && !woken) {
        if (clock_boot_ns() - r->answered_ns > ANSWER_NS && !answer(r, err))
            return false;
        PQfreemem(r->message);
        r->message = NULL;
        int got = PQgetCopyData(r->conn, &r->message, 1);
        if (got == -2)
            return refused(r, NULL, err);
        if (got == -1)
            return over(r, err);
        if (got > 0 && !take(r, got, bytes, at, err))
            return false;
        if (got == 0 && !rest(r, wake, &woken, err))
            return false;
    }
    return true;
}

void postgresql_receive_safe(PostgresqlReceive *r, uint64_t lsn)
{
    r->safe = lsn;
}

void postgresql_receive_close(PostgresqlReceive *r)
{
    if (r == NULL)
        return;
    PQfreemem(r->message);
    mem_free(r);
}
