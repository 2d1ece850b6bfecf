/* SPDX-License-Identifier: Apache-2.0 */
#include "scheduler/http/server_stream.h"

#include "common/base/mem.h"

#include <event2/buffer.h>
#include <event2/keyvalq_struct.h>
#include <stdio.h>
#include <stdlib.h>

/* A worker's piece is at hand within this, or the caller is told that nothing comes. */
enum { PATIENCE_MS = 60000 };

typedef struct Stream {
    struct Stream *next;
    ServerStreams *all;
    char ticket[64];
    struct evhttp_request *get;
    struct evhttp_request *put; /* the piece on its way */
    bool started;
    bool ending;
    uint64_t offset;
    LoopTimer *timer;
} Stream;

struct ServerStreams {
    Loop *loop;
    Stream *first;
};

ServerStreams *server_streams_new(Loop *loop)
{
    ServerStreams *streams = mem_new(ServerStreams);
    streams->loop = loop;
    return streams;
}

static void reply(struct evhttp_request *request, int status, const char *code)
{
    struct evbuffer *body = evbuffer_new();
    evbuffer_add_printf(body, "{\"status\":%d,\"code\":\"%s\",\"title\":\"%s\"}", status, code,
                        code);
    evhttp_add_header(evhttp_request_get_output_headers(request), "Content-Type",
                      status < 400 ? "application/json" : "application/problem+json");
    evhttp_send_reply(request, status, NULL, body);
    evbuffer_free(body);
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

/* The caller went away: the worker is told with its next piece, or with the one on its way. */
static void on_caller_gone(struct evhttp_connection *connection, void *ctx)
{
    Stream *stream = ctx;
    (void)connection;
    if (stream->put != NULL)
        reply(stream->put, 410, "stream.gone");
    forget(stream);
}

static void let_go(Stream *stream)
{
    evhttp_connection_set_closecb(evhttp_request_get_connection(stream->get), NULL, NULL);
}

static void on_patience_over(void *ctx)
{
    Stream *stream = ctx;
    let_go(stream);
    if (!stream->started)
        reply(stream->get, 504, "stream.silent");
    else /* a body that ends without its last chunk is seen as broken by the client */
        evhttp_connection_free(evhttp_request_get_connection(stream->get));
    if (stream->put != NULL)
        reply(stream->put, 410, "stream.gone");
    forget(stream);
}

void server_streams_wait(ServerStreams *streams, const char *ticket, struct evhttp_request *request)
{
    Stream *stream = mem_new(Stream);
    stream->all = streams;
    stream->get = request;
    snprintf(stream->ticket, sizeof stream->ticket, "%s", ticket);
    stream->timer = loop_timer_new(streams->loop, on_patience_over, stream);
    loop_timer_once(stream->timer, PATIENCE_MS);
    stream->next = streams->first;
    streams->first = stream;
    evhttp_connection_set_closecb(evhttp_request_get_connection(request), on_caller_gone, stream);
}

/* The piece has left: the worker may send the next one. */
static void on_drained(struct evhttp_connection *connection, void *ctx)
{
    Stream *stream = ctx;
    struct evhttp_request *put = stream->put;
    (void)connection;
    stream->put = NULL;
    if (put != NULL)
        reply(put, 200, "ok");
    if (!stream->ending)
        return;
    let_go(stream);
    evhttp_send_reply_end(stream->get);
    forget(stream);
}

static const char *query_of(struct evhttp_request *request, struct evkeyvalq *query)
{
    const char *text = evhttp_uri_get_query(evhttp_request_get_evhttp_uri(request));
    return evhttp_parse_query_str(text == NULL ? "" : text, query) == 0 ? text : NULL;
}

static void pass_on(Stream *stream, struct evhttp_request *put, bool end)
{
    struct evbuffer *piece = evhttp_request_get_input_buffer(put);
    size_t len = evbuffer_get_length(piece);
    if (!stream->started) {
        evhttp_add_header(evhttp_request_get_output_headers(stream->get), "Content-Type",
                          "application/octet-stream");
        evhttp_send_reply_start(stream->get, 200, "OK");
        stream->started = true;
    }
    stream->offset += len;
    stream->ending = end;
    stream->put = put;
    loop_timer_once(stream->timer, PATIENCE_MS);
    if (len == 0)
        on_drained(NULL, stream);
    else
        evhttp_send_reply_chunk_with_cb(stream->get, piece, on_drained, stream);
}

/* The worker says why nothing more comes. */
static void fail(Stream *stream, struct evhttp_request *put, const char *code)
{
    char clean[64];
    size_t len = 0;
    for (; code[len] != 0 && len + 1 < sizeof clean; len++)
        clean[len] =
            strchr("abcdefghijklmnopqrstuvwxyz._-0123456789", code[len]) != NULL ? code[len] : '_';
    clean[len] = 0;
    let_go(stream);
    reply(put, 200, "ok");
    if (stream->started)
        evhttp_connection_free(evhttp_request_get_connection(stream->get));
    else
        reply(stream->get, 502, clean);
    forget(stream);
}

void server_streams_put(ServerStreams *streams, const char *ticket, struct evhttp_request *request)
{
    struct evkeyvalq query = {0};
    Stream *stream = streams->first;
    while (stream != NULL && strcmp(stream->ticket, ticket) != 0)
        stream = stream->next;
    query_of(request, &query);
    const char *offset = evhttp_find_header(&query, "offset");
    const char *end = evhttp_find_header(&query, "end");
    const char *error = evhttp_find_header(&query, "error");
    uint64_t at = offset == NULL ? 0 : strtoull(offset, NULL, 10);
    if (stream == NULL)
        reply(request, 410, "stream.gone");
    else if (error != NULL)
        fail(stream, request, error);
    else if (stream->put != NULL || at > stream->offset)
        reply(request, 409, "stream.order");
    else if (at < stream->offset)
        reply(request, 200, "ok"); /* it came before and its answer was lost */
    else
        pass_on(stream, request, end != NULL);
    evhttp_clear_headers(&query);
}

void server_streams_free(ServerStreams *streams)
{
    if (streams == NULL)
        return;
    while (streams->first != NULL)
        forget(streams->first);
    mem_free(streams);
}
