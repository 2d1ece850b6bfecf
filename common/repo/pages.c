/* SPDX-License-Identifier: Apache-2.0
 * pages.c — the builder of page trees. */
#include "common/repo/pages.h"

#include "common/base/mem.h"

enum {
    PAGE_BYTES = 1024 * 1024, /* a page is cut at this size even where no path says so */
};

/* One page being filled. Level 0 holds records, the others hold references. */
typedef struct Level {
    Buf body;
    Buf first; /* path of the first entry below */
    uint32_t count;
    uint64_t entries, bytes;
    uint64_t pages; /* cut so far at this level */
} Level;

struct Pages {
    const Chunker *chunker;
    PagesEmit *emit;
    void *ctx;
    Level levels[PAGES_LEVELS + 1];
    Buf scratch;
};

void pages_add_ref(Buf *out, const PageRef *ref)
{
    canon_array(out, 4);
    canon_bin(out, (Slice){ref->id.bytes, sizeof ref->id.bytes});
    canon_text(out, ref->first);
    canon_uint(out, ref->entries);
    canon_uint(out, ref->bytes);
}

bool pages_read_ref(CanonReader *r, PageRef *ref)
{
    memset(ref, 0, sizeof *ref);
    if (canon_read_array(r) != 4)
        r->bad = true;
    canon_read_exact(r, ref->id.bytes, sizeof ref->id.bytes);
    ref->first = text_of_slice(canon_read_bin(r));
    ref->entries = canon_read_uint(r);
    ref->bytes = canon_read_uint(r);
    return !r->bad;
}

Pages *pages_new(const Chunker *chunker, PagesEmit *emit, void *ctx)
{
    Pages *pages = mem_new(Pages);
    pages->chunker = chunker;
    pages->emit = emit;
    pages->ctx = ctx;
    return pages;
}

static void level_take(Level *level, Text first, Slice item, uint64_t entries, uint64_t bytes)
{
    if (level->count == 0) {
        buf_clear(&level->first);
        buf_add_text(&level->first, first);
    }
    buf_add_slice(&level->body, item);
    level->count++;
    level->entries += entries;
    level->bytes += bytes;
}

static bool level_cut(Pages *pages, unsigned depth, Err *err)
{
    Level *level = &pages->levels[depth];
    scoped(buf_free) Buf page = {0};
    canon_array(&page, level->count);
    buf_add_slice(&page, buf_slice(&level->body));
    PageRef ref = {
        .first = buf_text(&level->first), .entries = level->entries, .bytes = level->bytes};
    if (!pages->emit(pages->ctx, buf_slice(&page), &ref.id, err))
        return false;
    buf_clear(&pages->scratch);
    pages_add_ref(&pages->scratch, &ref);
    level_take(&pages->levels[depth + 1], ref.first, buf_slice(&pages->scratch), ref.entries,
               ref.bytes);
    level->pages++;
    level->count = 0;
    level->entries = level->bytes = 0;
    buf_clear(&level->body);
    return true;
}

/* A path that ends a branch ends every level below it too, so the tree's shape follows from paths
 * alone. */
bool pages_add(Pages *pages, Text path, Slice record, uint64_t bytes, Err *err)
{
    level_take(&pages->levels[0], path, record, 1, bytes);
    unsigned ends = chunker_page_ends(pages->chunker, path);
    for (unsigned depth = 0; depth < PAGES_LEVELS; depth++) {
        if (ends <= depth && pages->levels[depth].body.len < PAGE_BYTES)
            return true;
        if (!level_cut(pages, depth, err))
            return false;
    }
    return true;
}

/* Closes levels from below until one holds few enough references for a root. */
bool pages_finish(Pages *pages, PagesRoot *out, Err *err)
{
    for (unsigned depth = 0; depth < PAGES_LEVELS; depth++) {
        Level *level = &pages->levels[depth];
        if (level->count > 0 && !level_cut(pages, depth, err))
            return false;
        Level *above = &pages->levels[depth + 1];
        if (above->pages > 0 || above->count > PAGES_ROOT)
            continue;
        buf_add_slice(&out->refs, buf_slice(&above->body));
        out->ref_count = above->count;
        out->levels = depth;
        out->entries = above->entries;
        out->bytes = above->bytes;
        return true;
    }
    return err_set(err, ERR_INVALID, "repo.tree_too_large",
                   "the backup has more entries than a manifest can name; split the source");
}

void pages_free(Pages *pages)
{
    if (pages == NULL)
        return;
    for (unsigned i = 0; i <= PAGES_LEVELS; i++) {
        buf_free(&pages->levels[i].body);
        buf_free(&pages->levels[i].first);
    }
    buf_free(&pages->scratch);
    mem_free(pages);
}
