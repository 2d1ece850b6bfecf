/* SPDX-License-Identifier: Apache-2.0 */
#include "common/repo/needs.h"

#include "common/base/mem.h"
#include "common/repo/reader_internal.h"

enum { MEMORY_DEFAULT = 64 * 1024 * 1024 };

/* What one page and everything below it needs. */
typedef struct Known {
    uint64_t *packs;
    uint32_t count;
    uint64_t missing;
} Known;

struct Needs {
    ReaderCache *cache;
    size_t limit, bytes; /* of what is remembered */
    IdMap ids;           /* value: index into known */
    Known *known;
    uint32_t room;
    Record record;
};

/* What is being found out. */
typedef struct Sum {
    PackSet packs;
    uint64_t missing;
} Sum;

Needs *needs_new(Repo *repo, RepoLocator *locator, size_t memory_bytes)
{
    Needs *needs = mem_new(Needs);
    size_t memory = memory_bytes == 0 ? MEMORY_DEFAULT : memory_bytes;
    needs->limit = memory / 2;
    needs->cache = reader_cache_new(repo, locator, memory - needs->limit);
    return needs;
}

static void forget(Needs *needs)
{
    for (uint32_t i = 0; i < needs->ids.count; i++)
        mem_free(needs->known[i].packs);
    idmap_free(&needs->ids);
    needs->bytes = 0;
}

static void remember(Needs *needs, const ChunkId *id, const Sum *sum)
{
    bool added;
    uint32_t at = idmap_add(&needs->ids, id, &added);
    if (!added)
        return;
    if (at >= needs->room) {
        needs->room = needs->room == 0 ? 1024 : needs->room * 2;
        needs->known = mem_resize(needs->known, needs->room * sizeof needs->known[0]);
    }
    needs->known[at] = (Known){.packs = packset_sorted(&sum->packs),
                               .count = (uint32_t)sum->packs.count,
                               .missing = sum->missing};
    needs->bytes += sizeof(ChunkId) + sizeof(Known) + 16 + sum->packs.count * sizeof(uint64_t);
}

static void add_known(const Known *known, Sum *sum)
{
    for (uint32_t i = 0; i < known->count; i++)
        packset_add(&sum->packs, known->packs[i]);
    sum->missing += known->missing;
}

static void add_sum(const Sum *part, Sum *sum)
{
    scoped(mem_release) uint64_t *packs = packset_sorted(&part->packs);
    for (size_t i = 0; i < part->packs.count; i++)
        packset_add(&sum->packs, packs[i]);
    sum->missing += part->missing;
}

static bool add_chunk(Needs *needs, const ChunkId *id, Sum *sum, Err *err)
{
    ChunkPlace place = {0};
    if (!reader_place(needs->cache, id, &place, err))
        return false;
    if (place.found)
        packset_add(&sum->packs, place.pack_no);
    else
        sum->missing++;
    return true;
}

/* One question for all of them. */
static bool add_chunks(Needs *needs, const Buf *ids, Sum *sum, Err *err)
{
    const ChunkId *list = (const ChunkId *)(const void *)ids->at;
    size_t count = ids->len / sizeof(ChunkId);
    if (count > 0 && !reader_locate(needs->cache, list, count, err))
        return false;
    for (size_t i = 0; i < count; i++)
        if (!add_chunk(needs, &list[i], sum, err))
            return false;
    return true;
}

/* A page that does not open is told by *page NULL: it hides what is below it, nothing else. */
static bool take_page(Needs *needs, const ChunkId *id, Sum *sum, Decoded **page, Err *err)
{
    bool opened = reader_take(needs->cache, id, page, err);
    if (opened)
        return add_chunk(needs, id, sum, err);
    *page = NULL;
    if (err->code != ERR_CORRUPT && err->code != ERR_MISSING)
        return false;
    *err = (Err){0};
    sum->missing++;
    return true;
}

static void take_extents(CanonReader *list, uint32_t count, Buf *ids)
{
    for (uint32_t i = 0; i < count; i++) {
        Extent extent;
        if (record_read_extent(list, &extent) && !extent.zeros)
            buf_add(ids, extent.id.bytes, sizeof extent.id.bytes);
    }
}

static bool add_extent_page(Needs *needs, const ChunkId *id, Sum *sum, Err *err)
{
    scoped(buf_free) Buf ids = {0};
    Decoded *page;
    if (!take_page(needs, id, sum, &page, err))
        return false;
    if (page == NULL)
        return true;
    CanonReader list = canon_reader((Slice){page->at, page->len});
    uint32_t count = canon_read_array(&list);
    take_extents(&list, list.bad ? 0 : count, &ids);
    sum->missing += list.bad;
    reader_drop(needs->cache, page);
    return add_chunks(needs, &ids, sum, err);
}

static bool add_extent_pages(Needs *needs, const RecordContent *content, Sum *sum, Err *err)
{
    CanonReader ids = canon_reader(content->page_ids);
    for (uint32_t i = 0; i < content->page_count; i++) {
        ChunkId id;
        if (canon_read_exact(&ids, id.bytes, sizeof id.bytes) &&
            !add_extent_page(needs, &id, sum, err))
            return false;
    }
    return true;
}

static bool add_leaf(Needs *needs, Slice page, Sum *sum, Err *err)
{
    scoped(buf_free) Buf ids = {0};
    CanonReader r = canon_reader(page);
    uint32_t count = canon_read_array(&r);
    for (uint32_t i = 0; i < count; i++) {
        Err bad = {0};
        if (!record_read(&r, &needs->record, &bad)) {
            sum->missing++;
            break;
        }
        CanonReader extents = canon_reader(needs->record.content.extents);
        take_extents(&extents, needs->record.content.extent_count, &ids);
        if (!add_extent_pages(needs, &needs->record.content, sum, err))
            return false;
    }
    return add_chunks(needs, &ids, sum, err);
}

static bool add_page(Needs *needs, const ChunkId *id, uint32_t level, Sum *sum, Err *err);

static bool add_refs(Needs *needs, CanonReader *refs, uint32_t count, uint32_t level, Sum *sum,
                     Err *err)
{
    PageRef ref;
    for (uint32_t i = 0; i < count; i++) {
        if (!pages_read_ref(refs, &ref)) {
            sum->missing++;
            return true;
        }
        if (!add_page(needs, &ref.id, level, sum, err))
            return false;
    }
    return true;
}

static bool find_page(Needs *needs, const ChunkId *id, uint32_t level, Sum *sum, Err *err)
{
    Decoded *page;
    if (!take_page(needs, id, sum, &page, err))
        return false;
    if (page == NULL)
        return true;
    Slice bytes = {page->at, page->len};
    bool good;
    if (level == 0) {
        good = add_leaf(needs, bytes, sum, err);
    } else {
        CanonReader refs = canon_reader(bytes);
        uint32_t count = canon_read_array(&refs);
        good = add_refs(needs, &refs, count, level - 1, sum, err);
    }
    reader_drop(needs->cache, page);
    return good;
}

/* Levels go down with each call, so a page that names itself ends too. */
static bool add_page(Needs *needs, const ChunkId *id, uint32_t level, Sum *sum, Err *err)
{
    uint32_t at = idmap_find(&needs->ids, id);
    if (at != IDMAP_NONE) {
        add_known(&needs->known[at], sum);
        return true;
    }
    Sum own = {0};
    bool good = find_page(needs, id, level, &own, err);
    if (good) {
        remember(needs, id, &own);
        add_sum(&own, sum);
    }
    packset_free(&own.packs);
    return good;
}

static bool add_issue_pages(Needs *needs, const Manifest *manifest, Sum *sum, Err *err)
{
    CanonReader ids = canon_reader(manifest->issue_pages);
    for (uint32_t i = 0; i < manifest->issue_page_count; i++) {
        ChunkId id;
        if (canon_read_exact(&ids, id.bytes, sizeof id.bytes) && !add_chunk(needs, &id, sum, err))
            return false;
    }
    return true;
}

bool needs_of(Needs *needs, const Manifest *manifest, PackSet *packs, uint64_t *missing, Err *err)
{
    Sum sum = {0};
    if (needs->bytes > needs->limit)
        forget(needs);
    CanonReader refs = canon_reader(manifest->refs);
    bool good = add_refs(needs, &refs, manifest->ref_count, manifest->levels, &sum, err) &&
                add_issue_pages(needs, manifest, &sum, err);
    Sum all = {.packs = *packs, .missing = *missing};
    add_sum(&sum, &all);
    *packs = all.packs;
    *missing = all.missing;
    packset_free(&sum.packs);
    return good;
}

void needs_free(Needs *needs)
{
    if (needs == NULL)
        return;
    forget(needs);
    reader_cache_free(needs->cache);
    record_free(&needs->record);
    mem_free(needs->known);
    mem_free(needs);
}
