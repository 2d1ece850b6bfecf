/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/engine/postgresql_base.h"

#include "common/base/mem.h"
#include "worker/engine/postgresql_versions.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>

enum { LOOK_MS = 200, NOTICES_MOST = 1 << 20 };

struct PostgresqlBase {
    PostgresqlBaseParams params;
    const PostgresqlVersion *version;
    PostgresqlBaseFacts facts;
    PGresult *spaces; /* oid and location a row; the data directory has neither */
    char *message;    /* the CopyData that the last piece lies in */
    int archive;      /* which row of `spaces` is being sent; before 15 */
    bool copying, in_manifest, ended;
    Buf notices;
};

static const char doing[] = "taking a base backup";

static void keep_notice(void *ctx, const PGresult *result)
{
    PostgresqlBase *base = ctx;
    const char *text = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
    if (text != NULL && base->notices.len < NOTICES_MOST) {
        buf_add_text(&base->notices, text_of(text));
        buf_add_byte(&base->notices, '\n');
    }
}

static bool result_of(PostgresqlBase *base, PGresult **out, Err *err)
{
    return postgresql_replication_result(base->params.link, base->params.conn, base->params.host,
                                         doing, out, err);
}

static bool refused(PostgresqlBase *base, const PGresult *result, Err *err)
{
    return postgresql_link_replication_failed(base->params.link, base->params.conn, result, doing,
                                              err);
}

/* The next result must have rows that begin with a place in the log and a timeline. */
static bool take_place(PostgresqlBase *base, uint64_t *lsn, uint32_t *timeline, Err *err)
{
    scoped(postgresql_link_clear) PGresult *result = NULL;
    if (!result_of(base, &result, err))
        return false;
    if (PQresultStatus(result) != PGRES_TUPLES_OK)
        return refused(base, result, err);
    if (PQntuples(result) != 1 || PQnfields(result) < 2 ||
        !postgresql_lsn_parse(postgresql_link_value(result, 0, 0), lsn))
        return err_set(err, ERR_SOURCE, "source.protocol",
                       "%s: the server did not say where in its log it begins and ends", doing);
    *timeline = (uint32_t)strtoul(PQgetvalue(result, 0, 1), NULL, 10);
    return true;
}

/* The next COPY, or what stands in its place. */
static bool begin_copy(PostgresqlBase *base, bool *copying, Err *err)
{
    scoped(postgresql_link_clear) PGresult *result = NULL;
    if (!result_of(base, &result, err))
        return false;
    *copying = PQresultStatus(result) == PGRES_COPY_OUT;
    return *copying || refused(base, result, err);
}

bool postgresql_base_open(PostgresqlBase **out, const PostgresqlBaseParams *params, Err *err)
{
    PostgresqlBase *base = mem_new(PostgresqlBase);
    scoped(buf_free) Buf text = {0};
    base->params = *params;
    base->archive = -1;
    *out = base;
    PQsetNoticeReceiver(params->conn, keep_notice, base);
    bool ok = postgresql_version_of(params->system->version, &base->version, err);
    if (ok)
        postgresql_version_base_backup(base->version, params->spread, &text);
    ok = ok && (PQsendQuery(params->conn, buf_cstr(&text)) == 1 || refused(base, NULL, err));
    ok = ok && take_place(base, &base->facts.start, &base->facts.timeline, err) &&
         result_of(base, &base->spaces, err);
    if (ok && PQresultStatus(base->spaces) != PGRES_TUPLES_OK)
        ok = refused(base, base->spaces, err);
    base->facts.archives = ok ? (unsigned)PQntuples(base->spaces) : 0;
    ok = ok && begin_copy(base, &base->copying, err);
    if (ok)
        return true;
    postgresql_base_close(base);
    *out = NULL;
    return false;
}

/* *got: bytes of the next CopyData, -1 at the COPY's end. */
static bool receive(PostgresqlBase *base, int *got, Err *err)
{
    PGconn *conn = base->params.conn;
    const EngineHost *host = base->params.host;
    PQfreemem(base->message);
    base->message = NULL;
    while ((*got = PQgetCopyData(conn, &base->message, 1)) == 0) {
        struct pollfd fd = {.fd = PQsocket(conn), .events = POLLIN};
        if (host->cancelled != NULL && host->cancelled(host->ctx))
            return err_set(err, ERR_CANCELLED, "job.cancelled", "the job was cancelled");
        if (base->params.failed(base->params.ctx, err))
            return false;
        int ready = poll(&fd, 1, LOOK_MS);
        if (ready < 0 && errno != EINTR)
            return err_set_sys(err, ERR_IO, "source.poll", "%s", doing);
        if (ready > 0 && PQconsumeInput(conn) == 0)
            return refused(base, NULL, err);
    }
    return *got != -2 || refused(base, NULL, err);
}

/* Servers from 15 on: the first byte of a message says what it is. */
static bool take_message(PostgresqlBase *base, int len, PostgresqlBasePiece *piece, bool *whole,
                         Err *err)
{
    const char *at = base->message, *end = base->message + len;
    *whole = true;
    switch (*at) {
    case 'd':
        piece->kind = base->in_manifest ? POSTGRESQL_BASE_MANIFEST : POSTGRESQL_BASE_DATA;
        piece->bytes = (Slice){(const uint8_t *)at + 1, (size_t)len - 1};
        return true;
    case 'm':
        base->in_manifest = true;
        *whole = false;
        return true;
    case 'p':
        *whole = false;
        return true;
    case 'n': {
        const char *name = at + 1, *stop = memchr(name, 0, (size_t)(end - name));
        const char *where = stop == NULL ? NULL : stop + 1;
        if (where == NULL || memchr(where, 0, (size_t)(end - where)) == NULL)
            break;
        *piece = (PostgresqlBasePiece){.kind = POSTGRESQL_BASE_ARCHIVE,
                                       .tablespace = (uint32_t)strtoul(name, NULL, 10),
                                       .location = text_of(where)};
        return true;
    }
    default:
        break;
    }
    return err_set(err, ERR_SOURCE, "source.protocol",
                   "%s: the server sent a message of the unknown kind 0x%02x", doing,
                   (unsigned)(uint8_t)*at);
}

/* Before 15: each COPY is an archive, in the order of the rows; the one behind them the manifest.
 */
static void describe_old(PostgresqlBase *base, PostgresqlBasePiece *piece)
{
    *piece = (PostgresqlBasePiece){
        .kind = POSTGRESQL_BASE_ARCHIVE,
        .tablespace = (uint32_t)strtoul(PQgetvalue(base->spaces, base->archive, 0), NULL, 10),
        .location = postgresql_link_value(base->spaces, base->archive, 1)};
}

/* The last COPY is over. What follows is the stop; then, where page sums were wrong, an error that
 * takes nothing back of what was sent. */
static bool take_end(PostgresqlBase *base, Err *err)
{
    uint32_t timeline = 0;
    scoped(postgresql_link_clear) PGresult *after_copy = NULL;
    if (!result_of(base, &after_copy, err))
        return false;
    if (PQresultStatus(after_copy) == PGRES_TUPLES_OK) {
        if (PQntuples(after_copy) != 1 ||
            !postgresql_lsn_parse(postgresql_link_value(after_copy, 0, 0), &base->facts.stop))
            return refused(base, after_copy, err);
        timeline = (uint32_t)strtoul(PQgetvalue(after_copy, 0, 1), NULL, 10);
    } else if (PQresultStatus(after_copy) != PGRES_COMMAND_OK) {
        return refused(base, after_copy, err);
    } else if (!take_place(base, &base->facts.stop, &timeline, err)) {
        return false;
    }
    for (bool more = true; more;) {
        scoped(postgresql_link_clear) PGresult *result = NULL;
        if (!result_of(base, &result, err))
            return false;
        more = result != NULL;
        const char *state = more ? PQresultErrorField(result, PG_DIAG_SQLSTATE) : NULL;
        if (state != NULL && strcmp(state, "XX001") == 0)
            base->facts.corrupt = true;
        else if (more && PQresultStatus(result) != PGRES_COMMAND_OK)
            return refused(base, result, err);
    }
    if (timeline != base->facts.timeline || base->facts.stop < base->facts.start)
        return err_set(err, ERR_SOURCE, "source.protocol",
                       "%s: it began on timeline %u and ended on %u; run it again", doing,
                       base->facts.timeline, timeline);
    base->facts.notices = buf_text(&base->notices);
    base->ended = true;
    return true;
}

/* Before 15: the next COPY, if this was not the last. */
static bool next_old_copy(PostgresqlBase *base, bool *more, Err *err)
{
    *more = !base->in_manifest;
    if (!*more)
        return true;
    base->in_manifest = base->archive + 1 == PQntuples(base->spaces);
    scoped(postgresql_link_clear) PGresult *between = NULL;
    if (!result_of(base, &between, err))
        return false;
    /* libpq tells the end of a COPY by a result of its own before the next begins. */
    if (PQresultStatus(between) == PGRES_COPY_OUT)
        return true;
    if (PQresultStatus(between) != PGRES_COMMAND_OK)
        return refused(base, between, err);
    return begin_copy(base, more, err);
}

bool postgresql_base_next(PostgresqlBase *base, PostgresqlBasePiece *piece, Err *err)
{
    bool one_copy = base->version->one_copy;
    *piece = (PostgresqlBasePiece){.kind = POSTGRESQL_BASE_END};
    if (base->ended)
        return true;
    if (!one_copy && base->archive < 0) {
        base->archive = 0;
        describe_old(base, piece);
        return true;
    }
    for (;;) {
        int got;
        bool whole = true, more = false;
        if (!receive(base, &got, err))
            return false;
        if (got >= 0 && one_copy) {
            if (got > 0 && !take_message(base, got, piece, &whole, err))
                return false;
            if (got > 0 && whole)
                return true;
            continue;
        }
        if (got >= 0) {
            piece->kind = base->in_manifest ? POSTGRESQL_BASE_MANIFEST : POSTGRESQL_BASE_DATA;
            piece->bytes = (Slice){(const uint8_t *)base->message, (size_t)got};
            return true;
        }
        if (!one_copy && !next_old_copy(base, &more, err))
            return false;
        if (!more)
            return take_end(base, err);
        if (++base->archive < PQntuples(base->spaces)) {
            describe_old(base, piece);
            return true;
        }
    }
}

const PostgresqlBaseFacts *postgresql_base_facts(const PostgresqlBase *base)
{
    return &base->facts;
}

void postgresql_base_close(PostgresqlBase *base)
{
    if (base == NULL)
        return;
    PQfreemem(base->message);
    PQclear(base->spaces);
    buf_free(&base->notices);
    mem_free(base);
}
