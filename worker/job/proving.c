/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/job/proving.h"

#include "common/base/mem.h"
#include "common/catalog/catalog_pack.h"
#include "common/catalog/catalog_verify.h"

typedef struct Mark {
    const Fence *fence;
    uint64_t pack_no;
    Text why;
} Mark;

static bool call_mark(Catalog *catalog, void *ctx, Err *err)
{
    Mark *mark = ctx;
    return catalog_pack_damaged(catalog, mark->fence, mark->pack_no, mark->why, err);
}

void proving_mark_damaged(Job *job, uint64_t pack_no, const Err *why)
{
    Mark mark = {&job->fence, pack_no, text_of(why->text)};
    Err err = {0};
    if (pack_no != 0 && !patient_call(job->catalog, call_mark, &mark, &err))
        job_log(job, LOG_WARN, "verify.mark", "%s: %s", err.cause, err.text);
}

typedef struct RowsOf {
    const Fence *fence;
    uint64_t pack_no;
    ChunkRow *chunks;
    size_t count;
} RowsOf;

static bool call_rows(Catalog *catalog, void *ctx, Err *err)
{
    RowsOf *rows = ctx;
    mem_free(rows->chunks);
    rows->chunks = NULL;
    return catalog_pack_chunks(catalog, rows->fence, rows->pack_no, &rows->chunks, &rows->count,
                               err);
}

bool proving_rows(Job *job, PackRow *row, ChunkRow **kept, Err *err)
{
    RowsOf rows = {.fence = &job->fence, .pack_no = row->pack_no};
    bool fine = patient_call(job->catalog, call_rows, &rows, err);
    *kept = rows.chunks;
    row->chunks = rows.chunks;
    row->chunk_count = rows.count;
    return fine;
}
