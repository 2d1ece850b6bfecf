/* SPDX-License-Identifier: Apache-2.0
 * writer_work.c — the middle of the pipeline: chunks are named, looked up and compressed. */
#include "common/base/mem.h"
#include "common/base/wait.h"
#include "common/repo/repo_internal.h"
#include "common/repo/writer_internal.h"

#include <stdlib.h>

enum {
    BATCH_CHUNKS = 64,             /* named and looked up together, */
    BATCH_BYTES = 4 * 1024 * 1024, /* or so much content; more would idle the other workers */
    PROBE_FROM = 48 * 1024,        /* shorter chunks are compressed without asking */
    PROBE = 16 * 1024,
};

Chunk *writer_chunk(Segment *segment, size_t from, size_t len, PackKind kind)
{
    Chunk *chunk = mem_new(Chunk);
    if (segment != NULL) {
        pool_keep(segment);
        chunk->segment = segment;
        chunk->at = segment->at + from;
    }
    chunk->len = (uint32_t)len;
    chunk->kind = kind;
    atomic_init(&chunk->named, false);
    atomic_init(&chunk->refs, 1);
    return chunk;
}

/* The bytes are not needed any more, though the name may be. */
void writer_drop_bytes(Chunk *chunk)
{
    pool_release(chunk->segment);
    chunk->segment = NULL;
    buf_free(&chunk->page);
    chunk->at = NULL;
}

void writer_release(Chunk *chunk)
{
    if (atomic_fetch_sub(&chunk->refs, 1) != 1)
        return;
    writer_drop_bytes(chunk);
    mem_free(chunk);
}

void writer_queue_push(ChunkQueue *queue, Chunk *chunk)
{
    chunk->next = NULL;
    if (queue->first == NULL)
        queue->first = chunk;
    else
        queue->last->next = chunk;
    queue->last = chunk;
    queue->count++;
    queue->bytes += chunk->len;
}

Chunk *writer_queue_pop(ChunkQueue *queue)
{
    Chunk *chunk = queue->first;
    if (chunk == NULL)
        return NULL;
    queue->first = chunk->next;
    queue->count--;
    queue->bytes -= chunk->len;
    chunk->next = NULL;
    return chunk;
}

bool writer_submit(RepoWriter *w, Chunk *chunk, Err *err)
{
    pthread_mutex_lock(&w->lock);
    bool failed = w->failed;
    if (!failed) {
        writer_queue_push(&w->raw, chunk);
        pthread_cond_signal(&w->work);
    }
    pthread_mutex_unlock(&w->lock);
    if (!failed)
        return true;
    writer_release(chunk);
    return !writer_failed(w, err);
}

void writer_name(RepoWriter *w, Chunk *chunk)
{
    keyring_chunk_id(repo_keyring(w->params.repo), (Slice){chunk->at, chunk->len}, &chunk->id);
    atomic_store_explicit(&chunk->named, true, memory_order_release);
}

static int compare_chunks(const void *a, const void *b)
{
    const Chunk *const *left = a, *const *right = b;
    return memcmp(&(*left)->id, &(*right)->id, sizeof(ChunkId));
}

/* The pipeline is done with a chunk that need not be stored. Its bytes go back to the pool now: the
 * entries that name it may be of a lane that itself waits for the pool. */
static void let_go(Chunk *chunk)
{
    writer_drop_bytes(chunk);
    writer_release(chunk);
}

/* What this session has had already, or yesterday's list says is here, needs no question. */
static bool sift_seen(RepoWriter *w, Chunk **chunks, size_t *count, Err *err)
{
    size_t kept = 0;
    bool good = true;
    pthread_mutex_lock(&w->known_lock);
    for (size_t i = 0; i < *count; i++) {
        Chunk *chunk = chunks[i];
        bool added = false, here = false;
        idmap_add(&w->seen, &chunk->id, &added);
        if (good && added)
            good = writer_known_id(w, &chunk->id, &here, err);
        if (good && added && !here)
            chunks[kept++] = chunk;
        else
            let_go(chunk);
    }
    pthread_mutex_unlock(&w->known_lock);
    *count = kept;
    return good;
}

static bool sift_ledger(RepoWriter *w, Chunk **chunks, size_t *count, Err *err)
{
    size_t asked = *count, kept = 0;
    ChunkId *ids = mem_array(ChunkId, asked);
    ChunkPlace *places = mem_array(ChunkPlace, asked);
    qsort(chunks, asked, sizeof chunks[0], compare_chunks);
    for (size_t i = 0; i < asked; i++)
        ids[i] = chunks[i]->id;
    bool good = writer_known_lookup(w, ids, asked, places, err);
    pthread_mutex_lock(&w->known_lock);
    for (size_t i = 0; i < asked; i++) {
        if (good && places[i].found) {
            packset_add(&w->used, places[i].pack_no);
            let_go(chunks[i]);
        } else {
            chunks[kept++] = chunks[i];
        }
    }
    pthread_mutex_unlock(&w->known_lock);
    *count = kept;
    mem_free(ids);
    mem_free(places);
    return good;
}

/* On failure the chunks that are left in the array are still the caller's. */
bool writer_sift(RepoWriter *w, Chunk **chunks, size_t *count, Err *err)
{
    if (!sift_seen(w, chunks, count, err))
        return false;
    return *count == 0 || sift_ledger(w, chunks, count, err);
}

/* Pages may wait in memory of their own, so their number is bounded here; content is bounded by
 * the pool. */
bool writer_to_pack(RepoWriter *w, Chunk *chunk, Err *err)
{
    if (chunk->kind == PACK_META && !writer_compress(w, chunk, &w->page_bench, err)) {
        writer_release(chunk);
        return false;
    }
    pthread_mutex_lock(&w->lock);
    while (chunk->kind == PACK_META && w->meta_queued > META_QUEUED && !w->failed)
        wait_signal(&w->room, &w->lock);
    bool failed = w->failed;
    if (!failed) {
        if (chunk->kind == PACK_META)
            w->meta_queued += chunk->len;
        writer_queue_push(&w->coded, chunk);
        pthread_cond_signal(&w->pack);
    }
    pthread_mutex_unlock(&w->lock);
    if (!failed)
        return true;
    writer_release(chunk);
    return !writer_failed(w, err);
}

static size_t take_batch(RepoWriter *w, Chunk **batch)
{
    size_t count = 0, bytes = 0;
    pthread_mutex_lock(&w->lock);
    while (w->raw.count == 0 && !w->raw_closed && !w->failed)
        wait_signal(&w->work, &w->lock);
    size_t share = w->raw.count / w->worker_count;
    while (w->raw.count > 0 && count < BATCH_CHUNKS && count <= share && bytes < BATCH_BYTES) {
        batch[count] = writer_queue_pop(&w->raw);
        bytes += batch[count++]->len;
    }
    pthread_mutex_unlock(&w->lock);
    return count;
}

/* Does a sample shrink? What does not (archives, films, ciphertext) is stored as it is. */
static bool worth_it(const WriterParams *params, const Chunk *chunk, WorkBench *bench)
{
    if (chunk->len < PROBE_FROM)
        return true;
    for (unsigned part = 1; part <= 2; part++) {
        Slice sample = {chunk->at + chunk->len / 3 * part, PROBE};
        Err ignored = {0};
        size_t coded;
        uint8_t used;
        if (!codec_encode(bench->work, params->codec, 1, sample, bench->out, &coded, &used,
                          &ignored) ||
            used != CODEC_NONE)
            return true;
    }
    return false;
}

/* The compressed bytes go where the plain ones were: they are shorter, or not kept. */
bool writer_compress(RepoWriter *w, Chunk *chunk, WorkBench *bench, Err *err)
{
    chunk->codec = CODEC_NONE;
    chunk->coded = chunk->len;
    if (w->params.codec == CODEC_NONE || !worth_it(&w->params, chunk, bench))
        return true;
    size_t coded;
    Slice plain = {chunk->at, chunk->len};
    if (!codec_encode(bench->work, w->params.codec, w->params.level, plain, bench->out, &coded,
                      &chunk->codec, err))
        return false;
    if (chunk->codec == CODEC_NONE)
        return true;
    memcpy(chunk->at, bench->out, coded);
    chunk->coded = (uint32_t)coded;
    return true;
}

void writer_bench_init(WorkBench *bench)
{
    bench->work = codec_work_new();
    bench->out = mem_resize(NULL, codec_bound(CHUNK_PLAIN_MAX));
}

void writer_bench_free(WorkBench *bench)
{
    codec_work_free(bench->work);
    mem_free(bench->out);
}

static bool work(RepoWriter *w, Chunk **batch, size_t count, WorkBench *bench, Err *err)
{
    for (size_t i = 0; i < count; i++)
        writer_name(w, batch[i]);
    pthread_mutex_lock(&w->lock);
    pthread_cond_broadcast(&w->named);
    pthread_mutex_unlock(&w->lock);
    bool good = writer_sift(w, batch, &count, err);
    for (size_t i = 0; i < count; i++) {
        good = good && writer_compress(w, batch[i], bench, err);
        if (!good)
            writer_release(batch[i]);
        else
            good = writer_to_pack(w, batch[i], err);
    }
    return good;
}

void *writer_worker(void *ctx)
{
    RepoWriter *w = ctx;
    Chunk *batch[BATCH_CHUNKS];
    WorkBench bench;
    Err err = {0};
    writer_bench_init(&bench);
    for (;;) {
        size_t count = take_batch(w, batch);
        if (count == 0)
            break;
        if (!work(w, batch, count, &bench, &err)) {
            writer_fail(w, &err);
            break;
        }
    }
    writer_bench_free(&bench);
    return NULL;
}
