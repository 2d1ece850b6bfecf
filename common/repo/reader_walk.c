/* SPDX-License-Identifier: Apache-2.0
 * reader_walk.c — the pages of a manifest, in path order.
 * Nothing that a page says is believed before it is checked: paths ascend over the whole walk, so
 * no page can be entered twice and no path come twice; a page begins with the path its parent
 * says; levels end. A hostile manifest can lie about content, but not make a reader loop. */
#include "common/base/mem.h"
#include "common/repo/reader_internal.h"
#include "common/repo/selection.h"

typedef struct Walk {
    RepoReader *r;
    const ReaderSelection *selection;
    ReaderVisit *visit;
    ReaderPageVisit *page_visit; /* may be NULL */
    void *ctx;
    Buf last;       /* path of the last entry or page passed */
    bool last_page; /* it was a page's first path: the entry of that path is still to come */
    bool stop;
    bool locate;
    Record record;
} Walk;

static bool bad_page(Err *err, const char *what)
{
    return err_set(err, ERR_CORRUPT, "repo.bad_page",
                   "a manifest page %s; restore another backup, or this one without the page",
                   what);
}

/* Paths ascend; a page's first path may come once more, as its first page or entry. */
static bool pass(Walk *walk, Text path, bool page, Err *err)
{
    int order = text_compare(buf_text(&walk->last), path);
    if (order > 0 || (order == 0 && walk->last.len > 0 && !walk->last_page))
        return bad_page(err, "is out of order");
    buf_clear(&walk->last);
    buf_add_text(&walk->last, path);
    walk->last_page = page;
    return true;
}

/* The chunks of a page's entries are located together: one question instead of hundreds. */
static bool locate_contents(Walk *walk, Slice page, Err *err)
{
    CanonReader r = canon_reader(page);
    scoped(buf_free) Buf ids = {0};
    uint32_t count = canon_read_array(&r);
    for (uint32_t i = 0; i < count; i++) {
        if (!record_read(&r, &walk->record, err))
            return false;
        if (!selection_takes(walk->selection, walk->record.entry.path, walk->record.entry.phase))
            continue;
        CanonReader extents = canon_reader(walk->record.content.extents);
        for (uint32_t e = 0; e < walk->record.content.extent_count; e++) {
            Extent extent;
            if (record_read_extent(&extents, &extent) && !extent.zeros)
                buf_add(&ids, extent.id.bytes, sizeof extent.id.bytes);
        }
    }
    if (ids.len == 0)
        return true;
    return reader_locate(walk->r->cache, (const ChunkId *)(const void *)ids.at,
                         ids.len / sizeof(ChunkId), err);
}

static bool visit_record(Walk *walk, Err *err)
{
    const Record *record = &walk->record;
    ReaderContent content = reader_content_of(&record->content);
    if (!pass(walk, record->entry.path, false, err))
        return false;
    if (!selection_takes(walk->selection, record->entry.path, record->entry.phase))
        return true;
    return walk->visit(walk->ctx, &record->entry, &content, &walk->stop, err);
}

static bool walk_leaf(Walk *walk, Slice page, Text first, Err *err)
{
    CanonReader r = canon_reader(page);
    uint32_t count = canon_read_array(&r);
    for (uint32_t i = 0; i < count && !walk->stop; i++) {
        if (!record_read(&r, &walk->record, err))
            return false;
        if (i == 0 && !text_equal(walk->record.entry.path, first))
            return bad_page(err, "begins with another path than the manifest says");
        if (!visit_record(walk, err))
            return false;
    }
    return true;
}

static bool walk_refs(Walk *walk, CanonReader *refs, uint32_t count, uint32_t level, Text end,
                      Err *err);

static bool walk_branch(Walk *walk, Slice page, Text first, uint32_t level, Text end, Err *err)
{
    CanonReader r = canon_reader(page), peek;
    uint32_t count = canon_read_array(&r);
    PageRef ref;
    peek = r;
    if (count == 0 || !pages_read_ref(&peek, &ref) || !text_equal(ref.first, first))
        return bad_page(err, "begins with another path than the manifest says");
    return walk_refs(walk, &r, count, level - 1, end, err);
}

/* Is every record readable? Asked before the first is visited, so that a damaged page is skipped
 * as a whole and nothing is visited twice or by half. */
static bool check_page(Walk *walk, Slice page, uint32_t level, Err *err)
{
    if (level == 0) {
        CanonReader r = canon_reader(page);
        uint32_t count = canon_read_array(&r);
        for (uint32_t i = 0; i < count; i++)
            if (!record_read(&r, &walk->record, err))
                return false;
        return (count > 0 && canon_done(&r)) || bad_page(err, "is not a valid record");
    }
    CanonReader r = canon_reader(page);
    uint32_t count = canon_read_array(&r);
    PageRef ref;
    for (uint32_t i = 0; i < count; i++)
        if (!pages_read_ref(&r, &ref))
            return bad_page(err, "is not a valid record");
    return canon_done(&r) || bad_page(err, "is not a valid record");
}

static bool is_damage(const Err *err)
{
    return err->code == ERR_CORRUPT;
}

static bool skip_damage(Walk *walk, Text first, Err *err)
{
    RepoReader *r = walk->r;
    if (!is_damage(err) || r->damage == NULL)
        return false;
    r->damage(r->damage_ctx, first, err);
    memset(err, 0, sizeof *err);
    return true;
}

static bool walk_page(Walk *walk, const PageRef *ref, uint32_t level, Text end, Err *err)
{
    Decoded *page;
    if (walk->page_visit != NULL && !walk->page_visit(walk->ctx, &ref->id, err))
        return false;
    if (!reader_take(walk->r->cache, &ref->id, &page, err))
        return skip_damage(walk, ref->first, err);
    Slice bytes = {page->at, page->len};
    bool good = check_page(walk, bytes, level, err);
    if (!good)
        good = skip_damage(walk, ref->first, err);
    else if (level > 0)
        good = walk_branch(walk, bytes, ref->first, level, end, err);
    else
        good = (!walk->locate || locate_contents(walk, bytes, err)) &&
               walk_leaf(walk, bytes, ref->first, err);
    reader_drop(walk->r->cache, page);
    return good;
}

/* Where the pages of one branch lie: one question for all that may be opened. */
static bool locate_pages(const Walk *walk, CanonReader refs, uint32_t count, Err *err)
{
    PageRef ref;
    scoped(buf_free) Buf ids = {0};
    for (uint32_t i = 0; i < count && pages_read_ref(&refs, &ref); i++)
        if (selection_touches(walk->selection, ref.first, (Text){0}))
            buf_add(&ids, ref.id.bytes, sizeof ref.id.bytes);
    return ids.len == 0 || reader_locate(walk->r->cache, (const ChunkId *)(const void *)ids.at,
                                         ids.len / sizeof(ChunkId), err);
}

static bool walk_refs(Walk *walk, CanonReader *refs, uint32_t count, uint32_t level, Text end,
                      Err *err)
{
    PageRef ref, next;
    if (!locate_pages(walk, *refs, count, err))
        return false;
    bool more = count > 0 && pages_read_ref(refs, &ref);
    for (uint32_t i = 0; more && !walk->stop; i++) {
        more = i + 1 < count && pages_read_ref(refs, &next);
        Text until = more ? next.first : end;
        if (ref.first.len == 0 || !pass(walk, ref.first, true, err))
            return ref.first.len > 0 ? false : bad_page(err, "has no first path");
        if (selection_touches(walk->selection, ref.first, until) &&
            !walk_page(walk, &ref, level, until, err))
            return false;
        ref = next;
    }
    return refs->bad ? bad_page(err, "is not a valid record") : true;
}

bool reader_walk_pages(RepoReader *r, const ReaderSelection *selection, ReaderVisit *visit,
                       ReaderPageVisit *page_visit, void *ctx, Err *err)
{
    Walk walk = {.r = r,
                 .selection = selection,
                 .visit = visit,
                 .page_visit = page_visit,
                 .ctx = ctx,
                 .locate = page_visit == NULL && !selection->no_content};
    CanonReader refs = canon_reader(r->manifest.refs);
    bool good = walk_refs(&walk, &refs, r->manifest.ref_count, r->manifest.levels, (Text){0}, err);
    record_free(&walk.record);
    buf_free(&walk.last);
    return good;
}

bool reader_walk(RepoReader *r, const ReaderSelection *selection, ReaderVisit *visit, void *ctx,
                 Err *err)
{
    static const ReaderSelection ALL = {.phase = -1};
    return reader_walk_pages(r, selection == NULL ? &ALL : selection, visit, NULL, ctx, err);
}
