/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/job/locator_catalog.h"

#include "common/base/mem.h"
#include "common/catalog/catalog_pack.h"

typedef struct LocatorCatalog {
    RepoLocator base;
    Patient *catalog;
    Fence fence;
    uint32_t repository; /* 0: the job's own */
} LocatorCatalog;

typedef struct Find {
    const Fence *fence;
    uint32_t repository;
    const ChunkId *ids;
    size_t count;
    ChunkPlace *places;
} Find;

static bool call_find(Catalog *catalog, void *ctx, Err *err)
{
    Find *find = ctx;
    if (find->repository != 0)
        return catalog_chunk_find_in(catalog, find->fence, find->repository, find->ids, find->count,
                                     NULL, find->places, err);
    return catalog_chunk_find(catalog, find->fence, find->ids, find->count, find->places, err);
}

static bool find_chunks(RepoLocator *l, const ChunkId *ids, size_t count, ChunkPlace *places,
                        Err *err)
{
    LocatorCatalog *locator = (LocatorCatalog *)l;
    Find find = {&locator->fence, locator->repository, ids, count, places};
    return patient_call(locator->catalog, call_find, &find, err);
}

typedef struct Other {
    const Fence *fence;
    uint32_t repository;
    const ChunkId *id;
    const Uuid *missed;
    ChunkPlace *place;
} Other;

static bool call_other(Catalog *catalog, void *ctx, Err *err)
{
    Other *other = ctx;
    if (other->repository != 0)
        return catalog_chunk_find_in(catalog, other->fence, other->repository, other->id, 1,
                                     other->missed, other->place, err);
    return catalog_chunk_find_other(catalog, other->fence, other->id, other->missed, other->place,
                                    err);
}

/* The catalogue is asked each time, so there is nothing to forget: only for another object that
 * holds the chunk too. */
static bool find_again(RepoLocator *l, const Uuid *object, const ChunkId *id, ChunkPlace *place,
                       Err *err)
{
    LocatorCatalog *locator = (LocatorCatalog *)l;
    Other other = {&locator->fence, locator->repository, id, object, place};
    return patient_call(locator->catalog, call_other, &other, err);
}

static void close_locator(RepoLocator *l)
{
    mem_free(l);
}

static const RepoLocatorOps ops = {find_chunks, find_again, close_locator};

RepoLocator *locator_catalog_open(Patient *catalog, const Fence *fence, uint32_t repository)
{
    LocatorCatalog *locator = mem_new(LocatorCatalog);
    *locator = (LocatorCatalog){
        .base = {&ops}, .catalog = catalog, .fence = *fence, .repository = repository};
    return &locator->base;
}
