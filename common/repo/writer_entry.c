/* SPDX-License-Identifier: Apache-2.0
 * writer_entry.c — entries whose content is named become records, records become pages.
 * Each lane's entries wait in order until the ids of their chunks are known; then the record is
 * written, either straight into the pages (entries come in path order) or into a list that is
 * sorted at the end. */
#include "common/base/clock.h"
#include "common/base/mem.h"
#include "common/base/wait.h"
#include "common/repo/writer_internal.h"

#include <stdlib.h>

enum {
    EXTENT_SPREAD = 512, /* extents a page of them, behind the first RECORD_EXTENTS */
    EXTENTS_MAX = 8192,  /* of one page, about 350 KiB */
    RECORD_MAX = 2 * 1024 * 1024,
    PAGES_BATCH = 64,                /* pages that wait for one lookup, */
    PAGES_BATCH_BYTES = 1024 * 1024, /* or so many bytes of them */
};

void writer_pending_free(RepoWriter *w, Pending *pending)
{
    if (pending->known_part != NULL)
        writer_known_drop(w, pending);
    for (size_t i = pending->pieces_done; i < pending->piece_count; i++)
        if (pending->pieces[i].chunk != NULL)
            writer_release(pending->pieces[i].chunk);
    mem_free(pending->pieces);
    mem_free((void *)(uintptr_t)pending->entry.attributes);
    mem_free(pending->pages);
    buf_free(&pending->extents);
    buf_free(&pending->parent_row);
    mem_free(pending);
}

/* Closes the page of extents that is being filled. */
static bool extents_page(RepoWriter *w, Pending *pending, Err *err)
{
    scoped(buf_free) Buf page = {0};
    canon_array(&page, pending->extent_count);
    buf_add_slice(&page, buf_slice(&pending->extents));
    if (pending->page_count == pending->page_room) {
        pending->page_room = pending->page_room == 0 ? 8 : pending->page_room * 2;
        pending->pages = mem_resize(pending->pages, pending->page_room * sizeof(ChunkId));
    }
    buf_clear(&pending->extents);
    pending->extent_count = 0;
    return writer_page(w, buf_slice(&page), &pending->pages[pending->page_count++], err);
}

/* Ids are random enough to say where a page of extents ends; so a change in the middle of an image
 * changes the page it is on and no other. */
static bool extent_ends_page(const Pending *pending, const Extent *extent)
{
    uint32_t dice = (uint32_t)extent->id.bytes[30] << 8 | extent->id.bytes[31];
    return pending->extent_count > RECORD_EXTENTS &&
           ((!extent->zeros && dice % EXTENT_SPREAD == 0) || pending->extent_count >= EXTENTS_MAX);
}

static bool add_extent(RepoWriter *w, Pending *pending, const Extent *extent, Err *err)
{
    record_add_extent(&pending->extents, extent);
    pending->extent_count++;
    if (pending->parent_part == NULL)
        pending->parent_part = today_join(w->today);
    if (!pending->parent_full)
        pending->parent_full = !parents_extent(pending->parent_part, &pending->parent_row, extent);
    return !extent_ends_page(pending, extent) || extents_page(w, pending, err);
}

/* Moves the pieces that have a name behind one another into the extents; *all tells whether none
 * is left. Caller holds manifest_lock. */
static bool take_pieces(RepoWriter *w, Pending *pending, bool *all, Err *err)
{
    *all = false;
    while (pending->pieces_done < pending->piece_count) {
        Piece *piece = &pending->pieces[pending->pieces_done];
        /* The last run of zeros may still grow. */
        if (piece->chunk == NULL && !pending->ended &&
            pending->pieces_done + 1 == pending->piece_count)
            return true;
        if (piece->chunk != NULL &&
            !atomic_load_explicit(&piece->chunk->named, memory_order_acquire))
            return true;
        Extent extent = {.zeros = piece->chunk == NULL, .length = piece->length};
        if (piece->chunk != NULL) {
            extent.id = piece->chunk->id;
            extent.offset = piece->offset;
            writer_release(piece->chunk);
        }
        pending->pieces_done++;
        if (!add_extent(w, pending, &extent, err))
            return false;
    }
    *all = true;
    return true;
}

static bool take_known(RepoWriter *w, Pending *pending, Err *err)
{
    ParentsRow row = pending->known_row;
    Extent extent;
    uint32_t index;
    while (parents_next(pending->known_part->parents, &row, &extent, &index)) {
        if (index != IDMAP_NONE)
            writer_known_use(w, pending->known_part, index);
        if (!add_extent(w, pending, &extent, err))
            return false;
    }
    return true;
}

static void keep_record(RepoWriter *w, const Entry *entry, Slice record)
{
    if (w->record_count == w->record_room) {
        w->record_room = w->record_room == 0 ? 256 : w->record_room * 2;
        w->records = mem_resize(w->records, w->record_room * sizeof w->records[0]);
    }
    KeptRecord *kept = &w->records[w->record_count++];
    kept->path_len = (uint32_t)entry->path.len;
    kept->record_len = (uint32_t)record.len;
    kept->bytes = entry->size;
    kept->at = mem_zeroed(1, entry->path.len + record.len);
    memcpy(kept->at, entry->path.at, entry->path.len);
    memcpy(kept->at + entry->path.len, record.at, record.len);
}

static bool page_record(RepoWriter *w, Text path, Slice record, uint64_t bytes, Err *err)
{
    if (w->last_path.len > 0 && text_compare(buf_text(&w->last_path), path) >= 0)
        return err_set(err, ERR_BUG, "writer.order",
                       "entries came twice or out of order: \"%.*s\" behind \"%.*s\"",
                       (int)(path.len < 80 ? path.len : 80), path.at,
                       (int)(w->last_path.len < 80 ? w->last_path.len : 80),
                       (const char *)w->last_path.at);
    buf_clear(&w->last_path);
    buf_add_text(&w->last_path, path);
    return pages_add(w->pages, path, record, bytes, err);
}

/* What changed while it was read, or just before, is read again tomorrow: its row has no stamp that
 * a file could have, and is found by the mark alone. */
static void remember(RepoWriter *w, Pending *pending)
{
    const Entry *entry = &pending->entry;
    bool steady = entry->size == pending->began_size && entry->inode == pending->began_inode &&
                  entry->mtime_ns == pending->began_mtime_ns &&
                  entry->ctime_ns == pending->began_ctime_ns &&
                  parents_worthy(entry, clock_wall_ns());
    if (!pending->has_key || pending->parent_full || (!steady && !pending->facts.marked))
        return;
    if (!steady)
        memcpy(pending->key.bytes, pending->facts.mark, PARENTS_STAMP);
    if (pending->parent_part == NULL)
        pending->parent_part = today_join(w->today);
    pending->facts.bare = entry->attribute_count == 0 && !entry->attributes_unsure;
    today_add(w->today, pending->parent_part, &pending->key, &pending->facts,
              buf_slice(&pending->parent_row));
}

static bool leave_today(RepoWriter *w, Pending *pending, Err *err)
{
    Parents *part = pending->parent_part;
    pending->parent_part = NULL;
    if (part == NULL || today_leave(w->today, part, err))
        return true;
    return err_note(err, "storing the parent list");
}

/* The entry is whole: writes its record. Caller holds manifest_lock. */
static bool finish_entry(RepoWriter *w, Pending *pending, Err *err)
{
    if (pending->known_part != NULL && !take_known(w, pending, err))
        return false;
    if (pending->page_count > 0 && pending->extent_count > 0 && !extents_page(w, pending, err))
        return false;
    if (pending->extent_count > RECORD_EXTENTS && !extents_page(w, pending, err))
        return false;
    RecordContent content = {.size = pending->entry.size,
                             .extents = buf_slice(&pending->extents),
                             .extent_count = pending->extent_count,
                             .pages = pending->pages,
                             .page_count = pending->page_count};
    scoped(buf_free) Buf record = {0};
    record_add(&record, &pending->entry, &content);
    if (record.len > RECORD_MAX)
        return err_set(err, ERR_INVALID, "repo.entry_too_large",
                       "\"%.*s\" has more content or attributes than a manifest can name: exclude "
                       "it or split it",
                       (int)(pending->entry.path.len < 120 ? pending->entry.path.len : 120),
                       pending->entry.path.at);
    if (pending->entry.phase > w->last_phase)
        w->last_phase = pending->entry.phase;
    remember(w, pending);
    if (w->params.ordered)
        return page_record(w, pending->entry.path, buf_slice(&record), pending->entry.size, err);
    keep_record(w, &pending->entry, buf_slice(&record));
    return true;
}

/* Waits until the first piece has its name; false: failed or stopped. */
static bool await_name(RepoWriter *w, const Pending *pending, Err *err)
{
    const Chunk *chunk = pending->pieces[pending->pieces_done].chunk;
    pthread_mutex_lock(&w->lock);
    while (!atomic_load(&chunk->named) && !w->failed)
        wait_signal(&w->named, &w->lock);
    pthread_mutex_unlock(&w->lock);
    return !writer_failed(w, err);
}

static bool drain_first(RepoWriter *w, Lane *lane, bool wait, bool *more, Err *err)
{
    Pending *pending = lane->first;
    bool all, good;
    pthread_mutex_lock(&w->manifest_lock);
    good = take_pieces(w, pending, &all, err);
    if (good && all && pending->ended && pending->keep)
        good = finish_entry(w, pending, err);
    if (good && all && pending->ended)
        good = leave_today(w, pending, err);
    pthread_mutex_unlock(&w->manifest_lock);
    *more = good && all && pending->ended;
    if (!good)
        return false;
    if (!*more && wait) {
        *more = true;
        return await_name(w, pending, err);
    }
    if (!*more)
        return true;
    lane->first = pending->next;
    if (lane->first == NULL)
        lane->last = &lane->first;
    lane->pending--;
    writer_pending_free(w, pending);
    return true;
}

bool writer_drain(RepoWriter *w, Lane *lane, bool wait, Err *err)
{
    bool more = true;
    while (more && lane->first != NULL)
        if (!drain_first(w, lane, wait, &more, err))
            return writer_fail(w, err);
    return true;
}

/* One lookup for all pages that wait; those that are new go to the packing thread. */
static bool flush_pages(RepoWriter *w, Err *err)
{
    size_t count = w->meta.count;
    Chunk **chunks = mem_array(Chunk *, count);
    for (size_t i = 0; i < count; i++)
        chunks[i] = writer_queue_pop(&w->meta);
    bool good = writer_sift(w, chunks, &count, err);
    for (size_t i = 0; i < count; i++) {
        if (good)
            good = writer_to_pack(w, chunks[i], err);
        else
            writer_release(chunks[i]);
    }
    mem_free(chunks);
    return good;
}

bool writer_page(void *writer, Slice page, ChunkId *id, Err *err)
{
    RepoWriter *w = writer;
    Chunk *chunk = writer_chunk(NULL, 0, 0, PACK_META);
    buf_add_slice(&chunk->page, page);
    chunk->at = chunk->page.at;
    chunk->len = (uint32_t)page.len;
    writer_name(w, chunk);
    *id = chunk->id;
    writer_queue_push(&w->meta, chunk);
    if (!today_page(w->today, id, err))
        return err_note(err, "storing the parent list");
    if (w->meta.count < PAGES_BATCH && w->meta.bytes < PAGES_BATCH_BYTES)
        return true;
    return flush_pages(w, err);
}

static int compare_records(const void *a, const void *b)
{
    const KeptRecord *left = a, *right = b;
    return text_compare((Text){(const char *)left->at, left->path_len},
                        (Text){(const char *)right->at, right->path_len});
}

static bool page_issues(RepoWriter *w, Err *err)
{
    if (w->issue_kept == 0)
        return true;
    scoped(buf_free) Buf page = {0};
    canon_array(&page, w->issue_kept);
    buf_add_slice(&page, buf_slice(&w->issues));
    w->issue_pages =
        mem_resize(w->issue_pages, (w->issue_page_count + 1) * sizeof w->issue_pages[0]);
    buf_clear(&w->issues);
    w->issue_kept = 0;
    return writer_page(w, buf_slice(&page), &w->issue_pages[w->issue_page_count++], err);
}

bool writer_finish_pages(RepoWriter *w, PagesRoot *root, Err *err)
{
    pthread_mutex_lock(&w->manifest_lock);
    if (w->record_count > 0)
        qsort(w->records, w->record_count, sizeof w->records[0], compare_records);
    bool good = true;
    for (size_t i = 0; good && i < w->record_count; i++) {
        const KeptRecord *kept = &w->records[i];
        good = page_record(w, (Text){(const char *)kept->at, kept->path_len},
                           (Slice){kept->at + kept->path_len, kept->record_len}, kept->bytes, err);
    }
    good = good && page_issues(w, err) && pages_finish(w->pages, root, err) && flush_pages(w, err);
    pthread_mutex_unlock(&w->manifest_lock);
    return good;
}

void writer_issue(RepoWriter *w, const Issue *issue)
{
    enum { KEPT_MAX = 100000, PAGE_ISSUES = 5000, TEXT_LIMIT = 512 };
    uint64_t number = atomic_fetch_add(&w->issue_count, 1);
    if (number >= KEPT_MAX)
        return;
    Issue kept = *issue;
    if (kept.text.len > TEXT_LIMIT)
        kept.text.len = TEXT_LIMIT;
    if (kept.path.len > 8 * TEXT_LIMIT)
        kept.path.len = 8 * TEXT_LIMIT;
    Err err = {0};
    pthread_mutex_lock(&w->manifest_lock);
    manifest_add_issue(&w->issues, &kept);
    w->issue_kept++;
    bool good = true;
    if (w->issue_kept >= PAGE_ISSUES || w->issues.len > 1024 * 1024)
        good = page_issues(w, &err);
    pthread_mutex_unlock(&w->manifest_lock);
    if (!good)
        writer_fail(w, &err);
}
