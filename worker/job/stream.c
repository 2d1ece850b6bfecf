/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/job/stream.h"

#include "common/base/mem.h"

#include <pthread.h>

typedef struct Stream {
    Source *source;
    RepoWriter *writer;
    pthread_mutex_t lock;
    Err first; /* under the lock; code ERR_NONE: none */
} Stream;

typedef struct LaneArgs {
    Stream *stream;
    unsigned lane;
    pthread_t thread;
} LaneArgs;

static bool has_content(const Entry *entry)
{
    return entry->type == ENTRY_FILE || entry->type == ENTRY_STREAM;
}

static bool copy_content(Stream *stream, unsigned lane, Err *err)
{
    for (;;) {
        uint8_t *at;
        size_t room, got = 0;
        uint64_t zeros = 0;
        if (!writer_reserve(stream->writer, lane, &at, &room, err) ||
            !stream->source->ops->read(stream->source, lane, at, room, &got, &zeros, err))
            return false;
        if (got == 0 && zeros == 0)
            return writer_advance(stream->writer, lane, 0, err);
        if (!writer_advance(stream->writer, lane, got, err))
            return false;
        if (zeros > 0 && !writer_zeros(stream->writer, lane, zeros, err))
            return false;
    }
}

static bool copy_entry(Stream *stream, unsigned lane, Entry *entry, Err *err)
{
    bool known = false, keep = true;
    if (!writer_entry_begin(stream->writer, lane, entry, &known, err))
        return false;
    if (stream->source->ops->attributes != NULL && !writer_entry_bare(stream->writer, lane) &&
        !stream->source->ops->attributes(stream->source, lane, entry, err))
        return false;
    if (!known && has_content(entry) && !copy_content(stream, lane, err))
        return false;
    return stream->source->ops->end(stream->source, lane, entry, &keep, err) &&
           writer_entry_end(stream->writer, lane, entry, keep, err);
}

static bool copy_lane(Stream *stream, unsigned lane, Err *err)
{
    for (;;) {
        Entry entry = {0};
        bool more = false;
        if (!stream->source->ops->next(stream->source, lane, &entry, &more, err))
            return false;
        if (!more)
            return true;
        if (!copy_entry(stream, lane, &entry, err))
            return false;
    }
}

static void *run_lane(void *ctx)
{
    LaneArgs *args = ctx;
    Stream *stream = args->stream;
    Err err = {0};
    Err why;
    if (copy_lane(stream, args->lane, &err))
        return NULL;
    /* The source only noticed that there is nobody to read for. */
    if (err.code == ERR_CANCELLED && writer_failed(stream->writer, &why))
        err = why;
    pthread_mutex_lock(&stream->lock);
    if (stream->first.code == ERR_NONE)
        stream->first = err;
    pthread_mutex_unlock(&stream->lock);
    writer_cancel(stream->writer);
    return NULL;
}

bool stream_run(Source *source, RepoWriter *writer, Err *err)
{
    unsigned count = source->ops->lanes(source), started = 0;
    Stream stream = {.source = source, .writer = writer};
    LaneArgs *lanes = mem_array(LaneArgs, count);
    pthread_mutex_init(&stream.lock, NULL);
    for (unsigned i = 0; i < count; i++, started++) {
        lanes[i] = (LaneArgs){.stream = &stream, .lane = i};
        if (pthread_create(&lanes[i].thread, NULL, run_lane, &lanes[i]) != 0) {
            writer_cancel(writer);
            pthread_mutex_lock(&stream.lock);
            if (stream.first.code == ERR_NONE)
                err_set(&stream.first, ERR_FULL, "job.thread",
                        "no thread could be started: raise the limits");
            pthread_mutex_unlock(&stream.lock);
            break;
        }
    }
    for (unsigned i = 0; i < started; i++)
        pthread_join(lanes[i].thread, NULL);
    pthread_mutex_destroy(&stream.lock);
    mem_free(lanes);
    if (stream.first.code == ERR_NONE)
        return true;
    *err = stream.first;
    return false;
}
