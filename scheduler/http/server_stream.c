/* SPDX-License-Identifier: Apache-2.0 */
#include "scheduler/http/server_stream.h"

#include "common/base/mem.h"
#include "scheduler/http/server.h"

#include <stdio.h>
#include <stdlib.h>

enum { CODE_MOST = 64, OFFSET_DIGITS = 18 };

typedef struct Stream {
    struct Stream *next;
    ServerStreams *all;
    char ticket[64];
    Connection *get; /* NULL: all of it was taken; kept a while for a worker that did not hear so */
    Connection *put; /* the piece on its way */
    bool started;
    bool ending;
    uint64_t offset; /* of the next piece */
    LoopTimer *timer;
} Stream;

struct ServerStreams {
    Loop *loop;
    int64_t patience_ms;
    Stream *first;
};

ServerStreams *server_streams_new(Loop *loop, int64_t patience_ms)
{
    ServerStreams *streams = mem_new(ServerStreams);
    *streams = (ServerStreams){.loop = loop, .patience_ms = patience_ms};
    return streams;
}

static void forget(Stream *stream)
{
    for (Stream **at = &stream->all->first; *at != NULL; at = &(*at)->next)
        if (*at == stream) {
            *at = stream->next;
            break;
        }
    loop_timer_free(stream->timer);
    mem_free(stream);
}

static void taken(Connection *put)
{
    connection_watch(put, NULL, NULL, false);
    connection_answer(put, 200, "application/json", (Text){0},
                      slice_of_text(TEXT("{\"status\":200}")));
}

static void gone(Connection *put)
{
    connection_watch(put, NULL, NULL, false);
    connection_problem(put, 410, "stream.gone", "nobody waits for this stream");
}

/* Both sides let go of; the worker, where one waits, is told. */
static void break_off(Stream *stream)
{
    if (stream->get != NULL)
        connection_watch(stream->get, NULL, NULL, false);
    if (stream->put != NULL)
        gone(stream->put);
    forget(stream);
}

static void on_caller_gone(void *ctx)
{
    Stream *stream = ctx;
    stream->get = NULL;
    break_off(stream);
}

/* The worker's connection broke while its piece was on its way: it will send it again. */
static void on_worker_gone(void *ctx)
{
    Stream *stream = ctx;
    stream->put = NULL;
}

/* Nothing more comes: the caller sees why, or that what it has is not all. */
static void fail(Stream *stream, int status, const char *code, const char *text)
{
    Connection *get = stream->get;
    bool started = stream->started;
    break_off(stream);
    if (get != NULL && started)
        connection_close(get);
    else if (get != NULL)
        connection_problem(get, status, code, text);
}

static void on_patience_over(void *ctx)
{
    fail(ctx, 504, "stream.silent", "no worker sends this: is one with the reader key alive?");
}

void server_streams_wait(ServerStreams *streams, const char *ticket, Connection *get)
{
    Stream *stream = mem_new(Stream);
    stream->all = streams;
    stream->get = get;
    snprintf(stream->ticket, sizeof stream->ticket, "%s", ticket);
    stream->timer = loop_timer_new(streams->loop, on_patience_over, stream);
    loop_timer_once(stream->timer, streams->patience_ms);
    stream->next = streams->first;
    streams->first = stream;
    connection_watch(get, on_caller_gone, stream, true);
}

/* The piece has left: the worker may send the next one. */
static void on_sent(void *ctx)
{
    Stream *stream = ctx;
    Connection *put = stream->put;
    Connection *get = stream->get;
    stream->put = NULL;
    if (stream->ending) {
        stream->get = NULL;
        connection_watch(get, NULL, NULL, false);
        connection_stream_end(get);
    }
    if (put != NULL)
        taken(put);
}

static void pass_on(Stream *stream, Connection *put, bool end)
{
    Slice piece = connection_body(put);
    if (!stream->started)
        connection_stream(stream->get, "application/octet-stream", (Text){0});
    stream->started = true;
    stream->offset += piece.len;
    stream->ending = end;
    stream->put = put;
    connection_watch(put, on_worker_gone, stream, true);
    if (piece.len == 0)
        on_sent(stream);
    else
        connection_piece(stream->get, piece, on_sent, stream);
}

/* A piece that was passed on before. While it is still on its way, this request waits for it in the
 * place of the one whose answer would have been lost. */
static void again(Stream *stream, Connection *put, uint64_t end)
{
    if (stream->put == NULL || end != stream->offset) {
        taken(put);
        return;
    }
    Connection *before = stream->put;
    stream->put = put;
    connection_watch(put, on_worker_gone, stream, true);
    connection_watch(before, NULL, NULL, false);
    connection_problem(before, 409, "stream.order", "the same piece was sent again meanwhile");
}

static bool take_offset(const char *query, uint64_t *offset)
{
    scoped(buf_free) Buf text = {0};
    if (server_query(query, "offset", &text) != SERVER_FOUND || text.len == 0 ||
        text.len > OFFSET_DIGITS || strspn(buf_cstr(&text), "0123456789") != text.len)
        return false;
    *offset = strtoull(buf_cstr(&text), NULL, 10);
    return true;
}

/* The worker says why nothing more comes; its words reach the caller cleaned. */
static void fail_as_told(Stream *stream, Connection *put, const Buf *told)
{
    char code[CODE_MOST];
    size_t len = 0;
    for (; len < told->len && len + 1 < sizeof code; len++)
        code[len] = strchr("abcdefghijklmnopqrstuvwxyz._-0123456789", told->at[len]) != NULL
                        ? (char)told->at[len]
                        : '_';
    code[len] = 0;
    taken(put);
    fail(stream, 502, len == 0 ? "stream.failed" : code, "the worker could not read it");
}

static Stream *find(const ServerStreams *streams, const char *ticket)
{
    Stream *stream = streams->first;
    while (stream != NULL && strcmp(stream->ticket, ticket) != 0)
        stream = stream->next;
    return stream;
}

void server_streams_put(ServerStreams *streams, const char *ticket, Connection *put)
{
    uint64_t at;
    scoped(buf_free) Buf error = {0};
    scoped(buf_free) Buf ignored = {0};
    const char *query = connection_request(put)->query;
    uint64_t len = connection_body(put).len;
    Stream *stream = find(streams, ticket);
    bool failed = server_query(query, "error", &error) == SERVER_FOUND;
    bool end = server_query(query, "end", &ignored) == SERVER_FOUND;
    if (stream == NULL) {
        gone(put);
        return;
    }
    if (!take_offset(query, &at)) {
        connection_problem(put, 400, "stream.offset", "say where the piece belongs: ?offset=N");
        return;
    }
    if (stream->get != NULL)
        loop_timer_once(stream->timer, streams->patience_ms);
    if (failed)
        fail_as_told(stream, put, &error);
    else if (at < stream->offset && at + len <= stream->offset)
        again(stream, put, at + len);
    else if (stream->ending && at == stream->offset && len == 0)
        taken(put); /* the end, once more */
    else if (stream->put != NULL || at != stream->offset || stream->ending)
        connection_problem(put, 409, "stream.order", "this is not the next piece");
    else
        pass_on(stream, put, end);
}

void server_streams_free(ServerStreams *streams)
{
    if (streams == NULL)
        return;
    for (Stream *stream; (stream = streams->first) != NULL; forget(stream)) {
        if (stream->get != NULL)
            connection_watch(stream->get, NULL, NULL, false);
        if (stream->put != NULL)
            connection_watch(stream->put, NULL, NULL, false);
    }
    mem_free(streams);
}
