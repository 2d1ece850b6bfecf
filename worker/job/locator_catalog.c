/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/job/locator_catalog.h"

#include "common/base/mem.h"
#include "common/catalog/catalog_pack.h"

typedef struct LocatorCatalog {
    RepoLocator base;
    Patient *catalog;
    Fence fence;
} LocatorCatalog;

typedef struct Find {
    const Fence *fence;
    const ChunkId *ids;
    size_t count;
    ChunkPlace *places;
} Find;

static bool call_find(Catalog *catalog, void *ctx, Err *err)
{
    Find *find = ctx;
    return catalog_chunk_find(catalog, find->fence, find->ids, find->count, find->places, err);
}

static bool find_chunks(RepoLocator *l, const ChunkId *ids, size_t count, ChunkPlace *places,
                        Err *err)
{
    LocatorCatalog *locator = (LocatorCatalog *)l;
    Find find = {&locator->fence, ids, count, places};
    return patient_call(locator->catalog, call_find, &find, err);
}

typedef struct Other {
    const Fence *fence;
    const ChunkId *id;
    const Uuid *missed;
    ChunkPlace *place;
} Other;

static bool call_other(Catalog *catalog, void *ctx, Err *err)
{
    Other *other = ctx;
    return catalog_chunk_find_other(catalog, other->fence, other->id, other->missed, other->place,
                                    err);
}

/* The catalogue is asked each time, so there is nothing to forget: only for another object that
 * holds the chunk too. */
static bool find_again(RepoLocator *l, const Uuid *object, const ChunkId *id, ChunkPlace *place,
                       Err *err)
{
    LocatorCatalog *locator = (LocatorCatalog *)l;
    Other other = {&locator->fence, id, object, place};
    return patient_call(locator->catalog, call_other, &other, err);
}

static void close_locator(RepoLocator *l)
{
    mem_free(l);
}

static const RepoLocatorOps ops = {find_chunks, find_again, close_locator};

RepoLocator *locator_catalog_open(Patient *catalog, const Fence *fence)
{
    LocatorCatalog *locator = mem_new(LocatorCatalog);
    *locator = (LocatorCatalog){.base = {&ops}, .catalog = catalog, .fence = *fence};
    return &locator->base;
}
