/* SPDX-License-Identifier: Apache-2.0
 * writer_pack.c — the end of the pipeline: one thread seals chunks into packs and stages them.
 * Upload first, announce second: a pack's rows reach the ledger when its object is durable. */
#include "common/base/crashpoint.h"
#include "common/base/mem.h"
#include "common/base/rand.h"
#include "common/base/rate.h"
#include "common/base/wait.h"
#include "common/repo/index.h"
#include "common/repo/pack.h"
#include "common/repo/repo_internal.h"
#include "common/repo/writer_internal.h"

enum {
    KINDS = PACK_META + 1,
};

typedef struct OpenPack {
    PackWriter *writer; /* NULL: none is open */
    uint64_t pack_no;
} OpenPack;

struct Packing {
    OpenPack open[KINDS];
    IndexBuilder *index;
    Uuid last_index; /* nil: none was stored yet */
    Rate rate;
};

void writer_pack_init(RepoWriter *w)
{
    w->packing = mem_new(struct Packing);
    w->packing->index = index_builder_new(w->params.repo, w->params.ledger, &w->params.backup);
    w->packing->rate.bytes_a_second = w->params.rate;
}

void writer_pack_adopted(RepoWriter *w, const PackRow *row)
{
    index_builder_add(w->packing->index, row);
}

/* The row of a pack comes before its object, so that the collector knows whose it is. */
static bool begin_pack(RepoWriter *w, OpenPack *open, PackKind kind, Err *err)
{
    RepoLedger *ledger = w->params.ledger;
    Uuid object = rand_uuid(), pack = rand_uuid();
    if (!ledger->ops->pack_begin(ledger, &object, &pack, kind, &open->pack_no, err))
        return err_note(err, "announcing a pack");
    CRASHPOINT("repo.pack_begun");
    if (!pack_begin(&open->writer, repo_keyring(w->params.repo), repo_store(w->params.repo), kind,
                    &object, &pack, err))
        return err_note(err, "starting a pack");
    return true;
}

/* Caller holds known_lock, or is the only thread left. */
static bool put_index(RepoWriter *w, Err *err)
{
    Uuid index;
    if (!index_builder_put(w->packing->index, &w->used, &index, err))
        return false;
    if (!uuid_is_nil(&index))
        w->packing->last_index = index;
    return true;
}

static bool end_pack(RepoWriter *w, OpenPack *open, Err *err)
{
    PackRow row;
    RepoLedger *ledger = w->params.ledger;
    if (open->writer == NULL)
        return true;
    CRASHPOINT("repo.pack_written");
    if (!pack_finish(open->writer, &row, err))
        return err_note(err, "storing a pack");
    CRASHPOINT("repo.pack_durable");
    row.pack_no = open->pack_no;
    if (!ledger->ops->pack_stage(ledger, &row, err))
        return err_note(err, "staging a pack");
    CRASHPOINT("repo.pack_staged");
    index_builder_add(w->packing->index, &row);
    pthread_mutex_lock(&w->known_lock);
    packset_add(&w->used, row.pack_no);
    bool good = !index_builder_full(w->packing->index) || put_index(w, err);
    pthread_mutex_unlock(&w->known_lock);
    pack_free(open->writer);
    open->writer = NULL;
    return good;
}

static bool go_on(void *ctx, Err *err)
{
    return !writer_failed(ctx, err);
}

static bool pack_chunk_of(RepoWriter *w, Chunk *chunk, Err *err)
{
    OpenPack *open = &w->packing->open[chunk->kind];
    if (open->writer == NULL && !begin_pack(w, open, chunk->kind, err))
        return false;
    uint64_t before = pack_bytes(open->writer);
    if (!pack_add(open->writer, &chunk->id, chunk->codec, (Slice){chunk->at, chunk->coded},
                  chunk->len, err))
        return err_note(err, "writing a pack");
    size_t added = (size_t)(pack_bytes(open->writer) - before);
    atomic_fetch_add(&w->stored, added);
    if (chunk->kind == PACK_DATA)
        atomic_fetch_add(&w->new_bytes, chunk->len);
    writer_drop_bytes(chunk);
    if (!rate_wait(rate_take(&w->packing->rate, added), go_on, w, err))
        return false;
    return pack_bytes(open->writer) < w->params.pack_bytes || end_pack(w, open, err);
}

/* NULL: closed and empty, or failed. */
static Chunk *next_chunk(RepoWriter *w)
{
    pthread_mutex_lock(&w->lock);
    while (w->coded.count == 0 && !w->coded_closed && !w->failed)
        wait_signal(&w->pack, &w->lock);
    Chunk *chunk = w->failed ? NULL : writer_queue_pop(&w->coded);
    if (chunk != NULL && chunk->kind == PACK_META) {
        w->meta_queued -= chunk->len;
        pthread_cond_broadcast(&w->room);
    }
    pthread_mutex_unlock(&w->lock);
    return chunk;
}

void *writer_packer(void *ctx)
{
    RepoWriter *w = ctx;
    Err err = {0};
    bool good = true;
    Chunk *chunk;
    while (good && (chunk = next_chunk(w)) != NULL) {
        good = pack_chunk_of(w, chunk, &err);
        writer_release(chunk);
    }
    for (unsigned kind = PACK_DATA; good && kind < KINDS && !atomic_load(&w->stop); kind++)
        good = end_pack(w, &w->packing->open[kind], &err);
    if (!good)
        writer_fail(w, &err);
    return NULL;
}

bool writer_pack_index(RepoWriter *w, Uuid *index, Err *err)
{
    bool good = put_index(w, err);
    *index = w->packing->last_index;
    return good;
}

void writer_pack_free(RepoWriter *w)
{
    if (w->packing == NULL)
        return;
    for (unsigned kind = PACK_DATA; kind < KINDS; kind++)
        pack_free(w->packing->open[kind].writer);
    index_builder_free(w->packing->index);
    mem_free(w->packing);
}
