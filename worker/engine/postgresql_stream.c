/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/engine/postgresql_stream.h"

#include "common/base/clock.h"
#include "common/base/mem.h"
#include "worker/engine/postgresql_receive.h"

enum { SILENCE_S = 60 }; /* longer without a byte of a log that is there is a fault */

struct PostgresqlStream {
    PGconn *conn;
    PostgresqlReceive *receive;
    Slice piece; /* received and not yet read */
    uint64_t position;
};

bool postgresql_stream_open(PostgresqlStream **out, const PostgresqlStreamParams *params, Err *err)
{
    PostgresqlStream *s = mem_new(PostgresqlStream);
    s->position = params->start;
    *out = s;
    if (postgresql_link_replication(params->link, &s->conn, err) &&
        postgresql_receive_open(&s->receive, params->link, s->conn, params->host, params->slot,
                                params->timeline, params->start, err)) {
        postgresql_receive_safe(s->receive, params->safe);
        return true;
    }
    postgresql_stream_close(s);
    *out = NULL;
    return false;
}

void postgresql_stream_close(PostgresqlStream *stream)
{
    if (stream == NULL)
        return;
    postgresql_receive_close(stream->receive);
    postgresql_link_disconnect(&stream->conn);
    mem_free(stream);
}

/* Until there are bytes of the log. */
static bool fill(PostgresqlStream *s, Err *err)
{
    int64_t since_ns = clock_boot_ns();
    while (s->piece.len == 0) {
        uint64_t at;
        if (!postgresql_receive_next(s->receive, -1, &s->piece, &at, err))
            return false;
        if (s->piece.len == 0 && clock_boot_ns() - since_ns > (int64_t)SILENCE_S * 1000000000)
            return err_set(err, ERR_TIMEOUT, "source.silent",
                           "the server sent nothing of its log for %d s; see pg_stat_replication "
                           "there",
                           SILENCE_S);
    }
    return true;
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
    size_t len = s->piece.len < room ? s->piece.len : room;
    if (len > until - s->position)
        len = (size_t)(until - s->position);
    memcpy(at, s->piece.at, len);
    s->piece = (Slice){s->piece.at + len, s->piece.len - len};
    s->position += len;
    *got = len;
    return true;
}
