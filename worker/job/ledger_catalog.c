/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/job/ledger_catalog.h"

#include "common/base/mem.h"
#include "common/catalog/catalog_pack.h"
#include "common/repo/pack.h"
#include "common/repo/verify.h"

#include <pthread.h>

enum { SAMPLE = 8 }; /* one adopted pack in so many is read back */

typedef struct LedgerCatalog {
    RepoLedger base;
    LedgerCatalogParams params;
    pthread_mutex_t lock; /* of the lists below */
    PackRow *staged;
    size_t staged_count;
    uint64_t *bad; /* adopted packs whose object is not what the row says */
    size_t bad_count;
} LedgerCatalog;

static LedgerCatalog *own(RepoLedger *ledger)
{
    return (LedgerCatalog *)ledger;
}

typedef struct Begin {
    const Fence *fence;
    const Uuid *object, *pack;
    PackKind kind;
    uint64_t *pack_no;
} Begin;

static bool call_begin(Catalog *catalog, void *ctx, Err *err)
{
    Begin *begin = ctx;
    return catalog_pack_begin(catalog, begin->fence, begin->object, begin->pack, begin->kind,
                              begin->pack_no, err);
}

static bool begin_pack(RepoLedger *l, const Uuid *object, const Uuid *pack, PackKind kind,
                       uint64_t *pack_no, Err *err)
{
    LedgerCatalog *ledger = own(l);
    Begin begin = {&ledger->params.fence, object, pack, kind, pack_no};
    return patient_call(ledger->params.catalog, call_begin, &begin, err);
}

typedef struct Stage {
    const Fence *fence;
    const PackRow *row;
} Stage;

static bool call_stage(Catalog *catalog, void *ctx, Err *err)
{
    Stage *stage = ctx;
    return catalog_pack_stage(catalog, stage->fence, stage->row, err);
}

static bool stage_pack(RepoLedger *l, const PackRow *row, Err *err)
{
    LedgerCatalog *ledger = own(l);
    Stage stage = {&ledger->params.fence, row};
    if (!patient_call(ledger->params.catalog, call_stage, &stage, err))
        return false;
    pthread_mutex_lock(&ledger->lock);
    ledger->staged =
        mem_resize(ledger->staged, (ledger->staged_count + 1) * sizeof ledger->staged[0]);
    ledger->staged[ledger->staged_count] = *row;
    ledger->staged[ledger->staged_count].chunks = NULL;
    ledger->staged[ledger->staged_count++].chunk_count = 0;
    pthread_mutex_unlock(&ledger->lock);
    return true;
}

typedef struct Lookup {
    const Fence *fence;
    const ChunkId *ids;
    size_t count;
    ChunkPlace *places;
} Lookup;

static bool call_lookup(Catalog *catalog, void *ctx, Err *err)
{
    Lookup *lookup = ctx;
    return catalog_chunk_lookup(catalog, lookup->fence, lookup->ids, lookup->count, lookup->places,
                                err);
}

static bool is_bad(LedgerCatalog *ledger, uint64_t pack_no)
{
    bool bad = false;
    pthread_mutex_lock(&ledger->lock);
    for (size_t i = 0; i < ledger->bad_count; i++)
        bad = bad || ledger->bad[i] == pack_no;
    pthread_mutex_unlock(&ledger->lock);
    return bad;
}

static bool lookup_chunks(RepoLedger *l, const ChunkId *ids, size_t count, ChunkPlace *places,
                          Err *err)
{
    LedgerCatalog *ledger = own(l);
    Lookup lookup = {&ledger->params.fence, ids, count, places};
    if (!patient_call(ledger->params.catalog, call_lookup, &lookup, err))
        return false;
    for (size_t i = 0; i < count && ledger->bad_count > 0; i++)
        if (places[i].found && is_bad(ledger, places[i].pack_no))
            places[i].found = false;
    return true;
}

/* Rows are copied out first: checking objects must not hold the connection. */
typedef struct Adoption {
    const Fence *fence;
    PackRow *rows;
    size_t count;
} Adoption;

static void adoption_clear(Adoption *adoption)
{
    for (size_t i = 0; i < adoption->count; i++)
        mem_free((void *)(uintptr_t)adoption->rows[i].chunks);
    mem_free(adoption->rows);
    adoption->rows = NULL;
    adoption->count = 0;
}

static bool keep_row(void *ctx, const PackRow *row, Err *err)
{
    Adoption *adoption = ctx;
    (void)err;
    ChunkRow *chunks = mem_array(ChunkRow, row->chunk_count);
    if (row->chunk_count > 0)
        memcpy(chunks, row->chunks, row->chunk_count * sizeof chunks[0]);
    adoption->rows = mem_resize(adoption->rows, (adoption->count + 1) * sizeof adoption->rows[0]);
    adoption->rows[adoption->count] = *row;
    adoption->rows[adoption->count++].chunks = chunks;
    return true;
}

static bool call_adopt(Catalog *catalog, void *ctx, Err *err)
{
    Adoption *adoption = ctx;
    adoption_clear(adoption);
    return catalog_pack_adopt(catalog, adoption->fence, keep_row, adoption, err);
}

/* Every adopted object must be there in its size; a sample is read back. A check that could not be
 * made fails the attempt, a check that failed only gives the pack up. */
static bool object_is_whole(const LedgerCatalog *ledger, const PackRow *row, bool read_back,
                            bool *good, Err *err)
{
    char name[PACK_NAME];
    uint64_t size = 0;
    Err why = {0};
    if (read_back)
        return verify_stored(ledger->params.repo, row, good, &why, err);
    pack_name(&row->object, name);
    if (!store_head(repo_store(ledger->params.repo), name, good, &size, err))
        return false;
    *good = *good && size == row->bytes;
    return true;
}

static void mark_bad(LedgerCatalog *ledger, uint64_t pack_no)
{
    pthread_mutex_lock(&ledger->lock);
    ledger->bad = mem_resize(ledger->bad, (ledger->bad_count + 1) * sizeof ledger->bad[0]);
    ledger->bad[ledger->bad_count++] = pack_no;
    pthread_mutex_unlock(&ledger->lock);
}

static bool adopted(RepoLedger *l, PackVisit *visit, void *ctx, Err *err)
{
    LedgerCatalog *ledger = own(l);
    Adoption adoption = {.fence = &ledger->params.fence};
    bool fine = patient_call(ledger->params.catalog, call_adopt, &adoption, err);
    for (size_t i = 0; fine && i < adoption.count; i++) {
        bool good = true;
        fine = object_is_whole(ledger, &adoption.rows[i], i % SAMPLE == 0, &good, err);
        if (fine && !good)
            mark_bad(ledger, adoption.rows[i].pack_no);
        else if (fine)
            fine = visit(ctx, &adoption.rows[i], err);
    }
    adoption_clear(&adoption);
    return fine;
}

typedef struct Index {
    const Fence *fence;
    const Uuid *backup, *object;
    const uint64_t *pack_nos;
    size_t count;
} Index;

static bool call_index(Catalog *catalog, void *ctx, Err *err)
{
    Index *index = ctx;
    return catalog_index_begin(catalog, index->fence, index->backup, index->object, index->pack_nos,
                               index->count, err);
}

bool ledger_catalog_index(Patient *catalog, const Fence *fence, const Uuid *backup,
                          const Uuid *object, const uint64_t *pack_nos, size_t count, Err *err)
{
    Index index = {fence, backup, object, pack_nos, count};
    return patient_call(catalog, call_index, &index, err);
}

static bool begin_index(RepoLedger *l, const Uuid *backup, const Uuid *object,
                        const uint64_t *pack_nos, size_t count, Err *err)
{
    LedgerCatalog *ledger = own(l);
    return ledger_catalog_index(ledger->params.catalog, &ledger->params.fence, backup, object,
                                pack_nos, count, err);
}

static const RepoLedgerOps ops = {begin_pack, stage_pack, lookup_chunks, adopted, begin_index};

RepoLedger *ledger_catalog_new(const LedgerCatalogParams *params)
{
    LedgerCatalog *ledger = mem_new(LedgerCatalog);
    ledger->base.ops = &ops;
    ledger->params = *params;
    pthread_mutex_init(&ledger->lock, NULL);
    return &ledger->base;
}

void ledger_catalog_free(RepoLedger *l)
{
    if (l == NULL)
        return;
    LedgerCatalog *ledger = own(l);
    mem_free(ledger->staged);
    mem_free(ledger->bad);
    pthread_mutex_destroy(&ledger->lock);
    mem_free(ledger);
}

const PackRow *ledger_catalog_staged(const RepoLedger *l, size_t *count)
{
    const LedgerCatalog *ledger = (const LedgerCatalog *)l;
    *count = ledger->staged_count;
    return ledger->staged;
}
