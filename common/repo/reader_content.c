/* SPDX-License-Identifier: Apache-2.0
 * reader_content.c — the bytes of one entry. */
#include "common/base/mem.h"
#include "common/repo/reader_internal.h"

/* Of one content, chunks that are opened before they are taken; a few contents at once must fit the
 * cache. */
enum { AHEAD_BYTES = 4 * 1024 * 1024 };

ReaderContent *reader_content_copy(const ReaderContent *content)
{
    ReaderContent *copy = mem_new(ReaderContent);
    *copy = *content;
    memset(&copy->owned, 0, sizeof copy->owned);
    Slice kept = content->page_count > 0 ? content->page_ids : content->extents;
    buf_add_slice(&copy->owned, kept);
    *(content->page_count > 0 ? &copy->page_ids : &copy->extents) = buf_slice(&copy->owned);
    return copy;
}

void reader_content_free(ReaderContent *content)
{
    if (content == NULL)
        return;
    buf_free(&content->owned);
    mem_free(content);
}

uint64_t reader_content_size(const ReaderContent *content)
{
    return content->size;
}

static bool not_adding_up(Err *err)
{
    return err_set(err, ERR_CORRUPT, "repo.bad_extents",
                   "the pieces of an entry's content do not add up to its size: its page is "
                   "damaged or was never right");
}

/* Who visits the extents of a content. ahead: its chunks are wished for before; NULL: nobody takes
 * them. */
typedef struct Visitor {
    ReaderExtentVisit *visit;
    void *ctx;
    ReaderAhead *ahead;
    uint64_t left; /* of the content */
} Visitor;

/* What of a list is still to be wished for. */
typedef struct Wishes {
    CanonReader list;
    uint32_t left;
    uint64_t bytes; /* wished for and not visited yet */
} Wishes;

static void wish(Wishes *wishes, ReaderAhead *ahead)
{
    Extent extent;
    while (wishes->left > 0 && wishes->bytes < AHEAD_BYTES &&
           record_read_extent(&wishes->list, &extent)) {
        wishes->left--;
        wishes->bytes += extent.length;
        if (!extent.zeros)
            reader_ahead_want(ahead, &extent.id);
    }
}

static bool visit_list(CanonReader *list, uint32_t count, Visitor *visitor, Err *err)
{
    Wishes wishes = {.list = *list, .left = count};
    for (uint32_t i = 0; i < count; i++) {
        Extent extent;
        if (visitor->ahead != NULL && count > 1)
            wish(&wishes, visitor->ahead);
        if (!record_read_extent(list, &extent) || extent.length > visitor->left)
            return not_adding_up(err);
        visitor->left -= extent.length;
        wishes.bytes -= extent.length < wishes.bytes ? extent.length : wishes.bytes;
        if (!visitor->visit(visitor->ctx, &extent, err))
            return false;
    }
    return true;
}

static bool locate_list(RepoReader *r, CanonReader list, uint32_t count, Err *err)
{
    scoped(buf_free) Buf ids = {0};
    for (uint32_t i = 0; i < count; i++) {
        Extent extent;
        if (record_read_extent(&list, &extent) && !extent.zeros)
            buf_add(&ids, extent.id.bytes, sizeof extent.id.bytes);
    }
    if (ids.len == 0)
        return true;
    return reader_locate(r->cache, (const ChunkId *)(const void *)ids.at, ids.len / sizeof(ChunkId),
                         err);
}

static bool visit_page(RepoReader *r, const ChunkId *id, Visitor *visitor, Err *err)
{
    Decoded *page;
    if (!reader_take(r->cache, id, &page, err))
        return false;
    CanonReader list = canon_reader((Slice){page->at, page->len});
    uint32_t count = canon_read_array(&list);
    bool good = locate_list(r, list, count, err) && visit_list(&list, count, visitor, err);
    if (good && !canon_done(&list))
        good = not_adding_up(err);
    reader_drop(r->cache, page);
    return good;
}

static bool visit_extents(RepoReader *r, const ReaderContent *content, Visitor *visitor, Err *err)
{
    visitor->left = content->size;
    CanonReader ids = canon_reader(content->page_ids);
    for (uint32_t i = 0; i < content->page_count; i++) {
        ChunkId id;
        canon_read_exact(&ids, id.bytes, sizeof id.bytes);
        if (!visit_page(r, &id, visitor, err))
            return false;
    }
    if (content->page_count == 0) {
        CanonReader list = canon_reader(content->extents);
        if (!visit_list(&list, content->extent_count, visitor, err))
            return false;
    }
    return visitor->left == 0 || not_adding_up(err);
}

bool reader_extents(RepoReader *r, const ReaderContent *content, ReaderExtentVisit *visit,
                    void *ctx, Err *err)
{
    Visitor visitor = {.visit = visit, .ctx = ctx};
    return visit_extents(r, content, &visitor, err);
}

typedef struct Reading {
    RepoReader *r;
    const ReaderSink *sink;
    uint64_t skip, left; /* content before the range, then of the range */
} Reading;

static bool give_chunk(Reading *reading, const Extent *extent, uint64_t from, uint64_t length,
                       Err *err)
{
    Decoded *decoded;
    if (!reader_take(reading->r->cache, &extent->id, &decoded, err))
        return false;
    bool good;
    if ((uint64_t)extent->offset + extent->length > decoded->len)
        good = not_adding_up(err);
    else
        good = reading->sink->data(
            reading->sink->ctx, (Slice){decoded->at + extent->offset + from, (size_t)length}, err);
    reader_drop(reading->r->cache, decoded);
    return good;
}

static bool give_extent(void *ctx, const Extent *extent, Err *err)
{
    Reading *reading = ctx;
    uint64_t from = extent->length < reading->skip ? extent->length : reading->skip;
    uint64_t length = extent->length - from;
    reading->skip -= from;
    if (length > reading->left)
        length = reading->left;
    reading->left -= length;
    if (length == 0)
        return true;
    if (extent->zeros)
        return reading->sink->zeros(reading->sink->ctx, length, err);
    return give_chunk(reading, extent, from, length, err);
}

bool reader_content(RepoReader *r, const ReaderContent *content, const ReaderSink *sink, Err *err)
{
    Reading reading = {.r = r, .sink = sink, .left = content->size};
    Visitor visitor = {.visit = give_extent, .ctx = &reading, .ahead = r->ahead};
    return visit_extents(r, content, &visitor, err);
}

bool reader_content_range(RepoReader *r, const ReaderContent *content, uint64_t offset,
                          uint64_t length, const ReaderSink *sink, Err *err)
{
    Reading reading = {.r = r, .sink = sink, .skip = offset, .left = length};
    return reader_extents(r, content, give_extent, &reading, err);
}

typedef struct Zeros {
    ReaderZerosVisit *visit;
    void *ctx;
    uint64_t at;
} Zeros;

static bool give_zeros(void *ctx, const Extent *extent, Err *err)
{
    Zeros *zeros = ctx;
    uint64_t from = zeros->at;
    zeros->at += extent->length;
    return !extent->zeros || zeros->visit(zeros->ctx, from, extent->length, err);
}

bool reader_content_zeros(RepoReader *r, const ReaderContent *content, ReaderZerosVisit *visit,
                          void *ctx, Err *err)
{
    Zeros zeros = {.visit = visit, .ctx = ctx};
    return reader_extents(r, content, give_zeros, &zeros, err);
}
