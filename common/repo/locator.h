/* SPDX-License-Identifier: Apache-2.0
 * locator.h — where a reader finds chunks: the catalogue's rows, or the index objects of a store.
 * A place that is gone is no answer to give up on: a reader that misses an object asks `again`. */
#ifndef COMMON_REPO_LOCATOR_H
#define COMMON_REPO_LOCATOR_H

#include "common/repo/ledger.h"

typedef struct Repo Repo;

typedef struct RepoLocator RepoLocator;
typedef struct RepoLocatorOps {
    /* ids ascend without repetition; fills places[i] for ids[i]. May be called by any thread. */
    bool (*find)(RepoLocator *locator, const ChunkId *ids, size_t count, ChunkPlace *places,
                 Err *err);
    /* A chunk was not where its place said: forget what was cached, look afresh. The answer is in
     * another object than `object` where there is any: an index locator passes over all that it
     * was told of this chunk, a catalogue over the last. */
    bool (*again)(RepoLocator *locator, const Uuid *object, const ChunkId *id, ChunkPlace *place,
                  Err *err);
    void (*close)(RepoLocator *locator);
} RepoLocatorOps;
struct RepoLocator {
    const RepoLocatorOps *ops;
};

/* From the index objects of the repository: needs a reader key, no catalogue. Index objects that
 * do not open are counted in *damaged (may be NULL) and passed over; what no index says is looked
 * up in the packs themselves, once and only when it is asked for. */
MUST_CHECK bool locator_open_index(RepoLocator **out, Repo *repo, uint64_t *damaged, Err *err);

/* Every pack that the index objects know, in no order; and how many packs of the store they do not
 * (of attempts that never ended, or whose index is lost). Only for an index locator. */
MUST_CHECK bool locator_packs(RepoLocator *locator, PackVisit *visit, void *ctx, Err *err);
MUST_CHECK bool locator_strays(RepoLocator *locator, uint64_t *count, Err *err);

void locator_close(RepoLocator *locator); /* NULL is fine */

#endif
