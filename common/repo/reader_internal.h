/* SPDX-License-Identifier: Apache-2.0
 * reader_internal.h — what the parts of the reader share. Private to common/repo/reader*.c. */
#ifndef COMMON_REPO_READER_INTERNAL_H
#define COMMON_REPO_READER_INTERNAL_H

#include "common/codec/codec.h"
#include "common/repo/idmap.h"
#include "common/repo/pack.h"
#include "common/repo/reader.h"
#include "common/repo/record.h"
#include "common/repo/repo_internal.h"

/* A chunk's content while somebody holds it, and for a while afterwards. */
typedef struct Decoded {
    struct Decoded *older, *newer; /* by last use, when nobody holds it */
    struct Decoded *next;          /* in its bucket */
    ChunkId id;
    uint8_t *at;
    uint32_t len;
    unsigned holders;
    bool loading, failed;
    Err why;
} Decoded;

typedef struct ReaderCache ReaderCache; /* reader_cache.c */
typedef struct ReaderAhead ReaderAhead; /* reader_ahead.c */

struct RepoReader {
    ReaderParams params;
    Buf root;
    Manifest manifest;
    RepoBackup backup;
    Receipt receipt;
    Sha256 sha256;
    ReaderCache *cache;
    ReaderAhead *ahead;
    ReaderDamage *damage;
    void *damage_ctx;
};

struct ReaderContent {
    uint64_t size;
    Slice extents;
    uint32_t extent_count;
    Slice page_ids;
    uint32_t page_count;
    Buf owned; /* of a copy: extents or page_ids point into it */
};

/* Lends what the record lends. */
static inline ReaderContent reader_content_of(const RecordContent *record)
{
    return (ReaderContent){.size = record->size,
                           .extents = record->extents,
                           .extent_count = record->extent_count,
                           .page_ids = record->page_ids,
                           .page_count = record->page_count};
}

/* reader_cache.c */
ReaderCache *reader_cache_new(Repo *repo, RepoLocator *locator, size_t bytes);
void reader_cache_free(ReaderCache *cache);
/* Where it turns for chunks that its own repository has lost; borrowed. */
void reader_cache_elsewhere(ReaderCache *cache, const ReaderElsewhere *elsewhere);
/* The chunk's content, held until reader_drop. The name was computed again and is right. */
MUST_CHECK bool reader_take(ReaderCache *cache, const ChunkId *id, Decoded **out, Err *err);
void reader_drop(ReaderCache *cache, Decoded *decoded);
/* Finds the places of many chunks at once; what is known already is not asked again. */
MUST_CHECK bool reader_locate(ReaderCache *cache, const ChunkId *ids, size_t count, Err *err);
MUST_CHECK bool reader_place(ReaderCache *cache, const ChunkId *id, ChunkPlace *place, Err *err);
/* Opens the chunk afresh, past the cache, and says where it lies. */
MUST_CHECK bool reader_prove(ReaderCache *cache, const ChunkId *id, ChunkPlace *place, bool *good,
                             uint32_t *plain, Err *why, Err *err);

/* reader_ahead.c: threads that open chunks which will soon be taken, so that one large content is
 * decoded by all processors. They start with the first wish. A wish is a hint: one too many is
 * dropped, and a failure is left to whoever takes the chunk. */
ReaderAhead *reader_ahead_new(ReaderCache *cache);
void reader_ahead_want(ReaderAhead *ahead, const ChunkId *id);
void reader_ahead_free(ReaderAhead *ahead); /* before the cache; NULL is fine */

/* reader_walk.c: reader_walk that shows pages too. Places of contents are looked up only without
 * page_visit. */
typedef bool ReaderPageVisit(void *ctx, const ChunkId *id, Err *err);
MUST_CHECK bool reader_walk_pages(RepoReader *r, const ReaderSelection *selection,
                                  ReaderVisit *visit, ReaderPageVisit *page_visit, void *ctx,
                                  Err *err);

/* reader_content.c: every extent of a content. visit false ends it, with *err set. */
typedef bool ReaderExtentVisit(void *ctx, const Extent *extent, Err *err);
MUST_CHECK bool reader_extents(RepoReader *r, const ReaderContent *content,
                               ReaderExtentVisit *visit, void *ctx, Err *err);

#endif
