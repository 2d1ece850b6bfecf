/* SPDX-License-Identifier: Apache-2.0
 * postgresql_stream.h — a log of which somebody knows where it ends: what postgresql_receive.h
 * gives, up to a place, over a connection of its own. One stream reads one timeline from a
 * segment's first byte; where the reader stops it may go on later. */
#ifndef WORKER_ENGINE_POSTGRESQL_STREAM_H
#define WORKER_ENGINE_POSTGRESQL_STREAM_H

#include "worker/engine/postgresql_replication.h"

typedef struct PostgresqlStream PostgresqlStream;

typedef struct PostgresqlStreamParams {
    PostgresqlLink *link;
    const EngineHost *host;
    const char *slot; /* NULL: none */
    uint32_t timeline;
    uint64_t start; /* a segment's first byte */
    uint64_t safe;  /* what the slot may forget before; 0: nothing more than it has */
} PostgresqlStreamParams;

/* Opens a connection of its own. */
MUST_CHECK bool postgresql_stream_open(PostgresqlStream **out, const PostgresqlStreamParams *params,
                                       Err *err);
/* Waits for bytes below `until`, or for the server's refusal: ERR_MISSING "source.wal_gone" when it
 * has removed the segment. */
MUST_CHECK bool postgresql_stream_peek(PostgresqlStream *stream, uint64_t until, Err *err);
/* The next bytes, none past `until`; *got 0: it is reached. A timeline that ends before it is
 * ERR_SOURCE "source.timeline". */
MUST_CHECK bool postgresql_stream_read(PostgresqlStream *stream, uint64_t until, uint8_t *at,
                                       size_t room, size_t *got, Err *err);
void postgresql_stream_close(PostgresqlStream *stream);

#endif
