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

/* The catalogue is asked each time, so there is nothing to forget. The same object again means that
 * no other one holds the chunk. */
static bool find_again(RepoLocator *l, const Uuid *object, const ChunkId *id, ChunkPlace *place,
                       Err *err)
{
    if (!find_chunks(l, id, 1, place, err))
        return false;
    place->found = place->found && !uuid_equal(&place->object, object);
    return true;
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
