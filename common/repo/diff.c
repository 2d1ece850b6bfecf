/* SPDX-License-Identifier: Apache-2.0
 * diff.c — two manifests side by side.
 * First both trees are opened level by level, from the root to the leaves, and what both name on
 * one level is left out; then the leaves that are left are read along each other. As in a walk,
 * nothing that a page says is believed: paths ascend, so no page is entered twice. */
#include "common/repo/diff.h"

#include "common/base/mem.h"
#include "common/repo/pages.h"
#include "common/repo/reader_internal.h"
#include "common/repo/selection.h"

#include <stdlib.h>

enum {
    PAGES_MOST = 4 * 1024 * 1024, /* that differ, on one level */
    SMALL = 512 * 1024,           /* content that lies in bundles: its place may change, not it */
};

typedef struct Page {
    ChunkId id;
    size_t first, first_len; /* in `paths` */
    bool shared;
} Page;

/* One backup: the pages of its present level, then its present entry. */
typedef struct Side {
    RepoReader *r;
    Page *pages;
    size_t count, room;
    Buf paths;
    uint32_t level; /* 0: leaves */
    size_t at;      /* the next leaf */
    Decoded *page;  /* the present one, held */
    CanonReader rest;
    uint32_t left; /* records behind the present one */
    Record record;
    Slice raw;
    Buf last; /* path of the entry before */
    bool more;
} Side;

static bool bad(Err *err)
{
    return err_set(err, ERR_CORRUPT, "repo.bad_page",
                   "a manifest page is not valid or out of order; compare another backup");
}

static Text first_of(const Side *side, const Page *page)
{
    return (Text){(const char *)side->paths.at + page->first, page->first_len};
}

static bool add_page(Side *side, const PageRef *ref, Err *err)
{
    if (ref->first.len == 0 || side->count == PAGES_MOST ||
        (side->count > 0 &&
         text_compare(first_of(side, &side->pages[side->count - 1]), ref->first) >= 0))
        return bad(err);
    if (side->count == side->room) {
        side->room = side->room == 0 ? 64 : side->room * 2;
        side->pages = mem_resize(side->pages, side->room * sizeof side->pages[0]);
    }
    side->pages[side->count++] = (Page){ref->id, side->paths.len, ref->first.len, false};
    buf_add_text(&side->paths, ref->first);
    return true;
}

static bool add_pages(Side *side, CanonReader *refs, uint32_t count, Err *err)
{
    PageRef ref;
    for (uint32_t i = 0; i < count; i++)
        if (!pages_read_ref(refs, &ref) || !add_page(side, &ref, err))
            return bad(err);
    return true;
}

static bool open_side(Side *side, RepoReader *r, Err *err)
{
    CanonReader refs = canon_reader(r->manifest.refs);
    *side = (Side){.r = r, .level = r->manifest.levels};
    return add_pages(side, &refs, r->manifest.ref_count, err);
}

static void close_side(Side *side)
{
    if (side->page != NULL)
        reader_drop(side->r->cache, side->page);
    record_free(&side->record);
    mem_free(side->pages);
    buf_free(&side->paths);
    buf_free(&side->last);
}

/* --- levels --------------------------------------------------------------------------------- */

static void share(Side *a, Side *b)
{
    IdMap ids = {0};
    size_t *where = mem_array(size_t, a->count);
    for (size_t i = 0; i < a->count; i++)
        where[idmap_add(&ids, &a->pages[i].id, NULL)] = i;
    for (size_t i = 0; i < b->count; i++) {
        uint32_t at = idmap_find(&ids, &b->pages[i].id);
        if (at != IDMAP_NONE)
            b->pages[i].shared = a->pages[where[at]].shared = true;
    }
    mem_free(where);
    idmap_free(&ids);
}

static void drop_shared(Side *side)
{
    size_t kept = 0;
    for (size_t i = 0; i < side->count; i++)
        if (!side->pages[i].shared)
            side->pages[kept++] = side->pages[i];
    side->count = kept;
}

/* From the pages of one level to those below. Pages that the selection leaves out are not opened.
 */
static bool descend(Side *side, const ReaderSelection *selection, Err *err)
{
    Side below = {.r = side->r, .level = side->level - 1};
    bool fine = true;
    for (size_t i = 0; fine && i < side->count; i++) {
        Decoded *page;
        /* Where the page ends is not known when the one behind it was shared: no end, then. */
        if (!selection_touches(selection, first_of(side, &side->pages[i]), (Text){0}))
            continue;
        fine = reader_take(side->r->cache, &side->pages[i].id, &page, err);
        if (!fine)
            break;
        CanonReader refs = canon_reader((Slice){page->at, page->len});
        uint32_t count = canon_read_array(&refs);
        fine = add_pages(&below, &refs, count, err) && (canon_done(&refs) || bad(err));
        reader_drop(side->r->cache, page);
    }
    mem_free(side->pages);
    buf_free(&side->paths);
    *side = below;
    return fine;
}

static bool to_leaves(Side *a, Side *b, const ReaderSelection *selection, Err *err)
{
    for (;;) {
        if (a->level == b->level) {
            share(a, b);
            drop_shared(a);
            drop_shared(b);
        }
        if (a->level == 0 && b->level == 0)
            return true;
        uint32_t level = a->level > b->level ? a->level : b->level;
        if ((a->level == level && !descend(a, selection, err)) ||
            (b->level == level && !descend(b, selection, err)))
            return false;
    }
}

/* --- entries -------------------------------------------------------------------------------- */

static bool next_page(Side *side, Err *err)
{
    if (side->page != NULL)
        reader_drop(side->r->cache, side->page);
    side->page = NULL;
    if (!reader_take(side->r->cache, &side->pages[side->at++].id, &side->page, err))
        return false;
    side->rest = canon_reader((Slice){side->page->at, side->page->len});
    side->left = canon_read_array(&side->rest);
    return true;
}

static bool next_record(Side *side, Err *err)
{
    side->more = true;
    while (side->left == 0) {
        side->more = side->at < side->count;
        if (!side->more)
            return true;
        if (!next_page(side, err))
            return false;
    }
    side->left--;
    const uint8_t *from = side->rest.at;
    if (!record_read(&side->rest, &side->record, err))
        return false;
    side->raw = (Slice){from, (size_t)(side->rest.at - from)};
    Text path = side->record.entry.path;
    if (side->last.len > 0 && text_compare(buf_text(&side->last), path) >= 0)
        return bad(err);
    buf_clear(&side->last);
    buf_add_text(&side->last, path);
    return true;
}

static bool next_selected(Side *side, const ReaderSelection *selection, Err *err)
{
    do {
        if (!next_record(side, err))
            return false;
    } while (side->more &&
             !selection_takes(selection, side->record.entry.path, side->record.entry.phase));
    return true;
}

static bool keep_bytes(void *ctx, Slice bytes, Err *err)
{
    (void)err;
    buf_add_slice(ctx, bytes);
    return true;
}

static bool keep_zeros(void *ctx, uint64_t count, Err *err)
{
    (void)err;
    memset(buf_extend(ctx, (size_t)count), 0, (size_t)count);
    return true;
}

static bool read_small(const Side *side, Buf *out, Err *err)
{
    ReaderContent content = reader_content_of(&side->record.content);
    ReaderSink sink = {out, keep_bytes, keep_zeros};
    return reader_content(side->r, &content, &sink, err);
}

/* Small files lie in bundles: one that was only touched has a new place and the same bytes. */
static bool contents_differ(const Side *a, const Side *b, bool *differ, Err *err)
{
    const RecordContent *left = &a->record.content, *right = &b->record.content;
    *differ = left->size != right->size || !slice_equal(left->extents, right->extents) ||
              !slice_equal(left->page_ids, right->page_ids);
    if (!*differ || left->size != right->size || left->size >= SMALL)
        return true;
    scoped(buf_free) Buf before = {0};
    scoped(buf_free) Buf after = {0};
    if (!read_small(a, &before, err) || !read_small(b, &after, err))
        return false;
    *differ = !slice_equal(buf_slice(&before), buf_slice(&after));
    return true;
}

/* The same path on both sides. Its place in the store alone is no difference. */
static bool compare(Side *a, Side *b, DiffVisit *visit, void *ctx, bool *stop, Err *err)
{
    bool content;
    scoped(buf_free) Buf before = {0};
    scoped(buf_free) Buf after = {0};
    static const RecordContent NO_CONTENT = {0};
    if (slice_equal(a->raw, b->raw))
        return true;
    if (!contents_differ(a, b, &content, err))
        return false;
    record_add(&before, &a->record.entry, &NO_CONTENT);
    record_add(&after, &b->record.entry, &NO_CONTENT);
    if (!content && slice_equal(buf_slice(&before), buf_slice(&after)))
        return true;
    DiffEntry entry = {&a->record.entry, &b->record.entry, content};
    return visit(ctx, &entry, stop, err);
}

static bool merge(Side *a, Side *b, const ReaderSelection *selection, DiffVisit *visit, void *ctx,
                  Err *err)
{
    bool stop = false;
    if (!next_selected(a, selection, err) || !next_selected(b, selection, err))
        return false;
    while (!stop && (a->more || b->more)) {
        int order = !a->more   ? 1
                    : !b->more ? -1
                               : text_compare(a->record.entry.path, b->record.entry.path);
        DiffEntry entry = {.before = order < 0 ? &a->record.entry : NULL,
                           .after = order > 0 ? &b->record.entry : NULL,
                           .content = true};
        if (order == 0 ? !compare(a, b, visit, ctx, &stop, err) : !visit(ctx, &entry, &stop, err))
            return false;
        if ((order <= 0 && !next_selected(a, selection, err)) ||
            (order >= 0 && !next_selected(b, selection, err)))
            return false;
    }
    return true;
}

bool diff_run(RepoReader *before, RepoReader *after, const ReaderSelection *selection,
              DiffVisit *visit, void *ctx, Err *err)
{
    static const ReaderSelection ALL = {.phase = -1};
    Side a = {0}, b = {0};
    selection = selection == NULL ? &ALL : selection;
    bool good = open_side(&a, before, err) && open_side(&b, after, err) &&
                to_leaves(&a, &b, selection, err) && merge(&a, &b, selection, visit, ctx, err);
    close_side(&a);
    close_side(&b);
    return good;
}
