/* SPDX-License-Identifier: Apache-2.0
 * writer_lane.c — the reading side of the writer: content comes in, chunks are cut from it.
 * A lane fills a segment and cuts what can be cut; what is left at its end moves to the front of
 * the next one. Small files are laid behind one another in a segment of their own, the bundle. */
#include "common/base/mem.h"
#include "common/repo/writer_internal.h"

enum {
    ROOM_LEAST = 128 * 1024, /* reads into less than this waste system calls */
    WAITING_MOST = 4096, /* entries that may wait for the name of a bundle which is not full; twice
                            as many for one that is being named */
};

static Pending *pending_new(Lane *lane)
{
    Pending *pending = mem_new(Pending);
    *lane->last = pending;
    lane->last = &pending->next;
    lane->pending++;
    return pending;
}

static void add_piece(Pending *pending, Chunk *chunk, uint32_t offset, uint64_t length)
{
    if (chunk == NULL && pending->piece_count > pending->pieces_done &&
        pending->pieces[pending->piece_count - 1].chunk == NULL) {
        pending->pieces[pending->piece_count - 1].length += length;
        return;
    }
    if (pending->pieces_done == pending->piece_count)
        pending->pieces_done = pending->piece_count = 0;
    if (pending->piece_count == pending->piece_room) {
        pending->piece_room = pending->piece_room == 0 ? 4 : pending->piece_room * 2;
        pending->pieces =
            mem_resize(pending->pieces, pending->piece_room * sizeof pending->pieces[0]);
    }
    if (chunk != NULL)
        atomic_fetch_add(&chunk->refs, 1);
    pending->pieces[pending->piece_count++] = (Piece){chunk, offset, length};
}

static bool take_segment(RepoWriter *w, Segment **out, Err *err)
{
    *out = pool_take(w->pool);
    if (*out != NULL)
        return true;
    if (!writer_failed(w, err))
        err_set(err, ERR_CANCELLED, "job.cancelled", "the backup was cancelled");
    return false;
}

/* Queues the bundle; entries that lie in it wait for its name. */
static bool bundle_flush(RepoWriter *w, Lane *lane, Err *err)
{
    Chunk *bundle = lane->bundle;
    if (bundle == NULL)
        return true;
    lane->bundle = NULL;
    bundle->len = (uint32_t)lane->bundle_fill - (uint32_t)(bundle->at - bundle->segment->at);
    bool good = true;
    if (bundle->len > 0)
        good = writer_submit(w, bundle, err);
    else
        writer_release(bundle);
    /* The next bundle goes on in the same segment while it has room for small files. */
    if (POOL_SEGMENT - lane->bundle_fill < 2 * SMALL_FILE) {
        pool_release(lane->bundle_segment);
        lane->bundle_segment = NULL;
    }
    return good;
}

/* A bundle that was lost (its pack is damaged) is made again out of the same files, alone and from
 * the front of a segment, so that nothing but their content says where it ends: it gets the name
 * that it had, and backups that need it are whole again. */
static bool bundle_apart(RepoWriter *w, Lane *lane, Err *err)
{
    const Pending *entry = lane->current;
    bool goes_on = entry->heals == lane->heals &&
                   (!entry->heals || memcmp(&entry->lost, &lane->lost, sizeof lane->lost) == 0);
    if (goes_on)
        return true;
    if (!bundle_flush(w, lane, err))
        return false;
    if (entry->heals && lane->bundle_segment != NULL && lane->bundle_fill > 0) {
        pool_release(lane->bundle_segment);
        lane->bundle_segment = NULL;
    }
    lane->heals = entry->heals;
    lane->lost = entry->lost;
    return true;
}

static bool bundle_begin(RepoWriter *w, Lane *lane, Err *err)
{
    if (!bundle_apart(w, lane, err))
        return false;
    if (lane->bundle != NULL && POOL_SEGMENT - lane->bundle_fill < SMALL_FILE + 1 &&
        !bundle_flush(w, lane, err))
        return false;
    if (lane->bundle == NULL) {
        if (lane->bundle_segment == NULL) {
            if (!take_segment(w, &lane->bundle_segment, err))
                return false;
            lane->bundle_fill = 0;
        }
        lane->bundle = writer_chunk(lane->bundle_segment, lane->bundle_fill, 0, PACK_DATA);
    }
    lane->bundle_start = lane->bundle_fill;
    return true;
}

/* Cuts what is decided of [from, fill). */
static bool cut(RepoWriter *w, Lane *lane, bool end, Err *err)
{
    while (lane->from < lane->fill) {
        size_t taken;
        uint8_t *at = lane->segment->at + lane->from;
        ChunkerStep step =
            chunker_step(&w->chunker, &lane->cutting, at, lane->fill - lane->from, end, &taken);
        if (step == CHUNKER_MORE)
            return true;
        if (step == CHUNKER_ZEROS) {
            add_piece(lane->current, NULL, 0, taken);
        } else {
            Chunk *chunk = writer_chunk(lane->segment, lane->from, taken, PACK_DATA);
            add_piece(lane->current, chunk, 0, taken);
            lane->shared = true;
            if (!writer_submit(w, chunk, err))
                return false;
        }
        lane->from += taken;
    }
    return true;
}

/* A fresh segment with the uncut rest at its front. */
static bool move_on(RepoWriter *w, Lane *lane, Err *err)
{
    size_t rest = lane->segment == NULL ? 0 : lane->fill - lane->from;
    if (lane->segment != NULL && !lane->shared) {
        memmove(lane->segment->at, lane->segment->at + lane->from, rest);
    } else {
        Segment *next;
        if (!take_segment(w, &next, err))
            return false;
        if (rest > 0)
            memcpy(next->at, lane->segment->at + lane->from, rest);
        pool_release(lane->segment);
        lane->segment = next;
        lane->shared = false;
    }
    lane->from = 0;
    lane->fill = rest;
    return true;
}

/* A file that grew while it was read is no small file any more. */
static bool leave_bundle(RepoWriter *w, Lane *lane, Err *err)
{
    size_t len = lane->bundle_fill - lane->bundle_start;
    if ((lane->segment == NULL || POOL_SEGMENT - lane->fill < len + ROOM_LEAST) &&
        !move_on(w, lane, err))
        return false;
    memcpy(lane->segment->at + lane->fill, lane->bundle_segment->at + lane->bundle_start, len);
    lane->fill += len;
    lane->bundle_fill = lane->bundle_start;
    lane->bundled = false;
    return true;
}

static bool wants_content(const Entry *entry)
{
    return entry->type == ENTRY_FILE || entry->type == ENTRY_STREAM;
}

static bool recognise(RepoWriter *w, Pending *pending, const Entry *entry, bool *known, Err *err)
{
    pending->has_key = entry->type == ENTRY_FILE && entry->ctime_ns != 0;
    if (!pending->has_key)
        return true;
    parents_key(&pending->key, w->parents_secret, entry);
    pending->began_size = entry->size;
    pending->began_inode = entry->inode;
    pending->began_mtime_ns = entry->mtime_ns;
    pending->began_ctime_ns = entry->ctime_ns;
    if (!writer_known_row(w, entry, pending, err))
        return false;
    *known = pending->known;
    return true;
}

bool writer_entry_begin(RepoWriter *w, unsigned lane_index, const Entry *entry, bool *known,
                        Err *err)
{
    Lane *lane = &w->lanes[lane_index];
    *known = false;
    if (writer_failed(w, err))
        return false;
    if (lane->open || !record_path_ok(entry->path))
        return err_set(err, ERR_BUG, "writer.entry",
                       lane->open ? "an entry begins before the last one of its lane ended"
                                  : "an entry has a path that no backup may hold");
    lane->current = pending_new(lane);
    if (!recognise(w, lane->current, entry, known, err))
        return false;
    lane->cutting = (ChunkerState){.cut = entry->cut};
    lane->bundled =
        !*known && entry->type == ENTRY_FILE && !entry->alone && entry->size < SMALL_FILE;
    lane->open = true;
    return !lane->bundled || bundle_begin(w, lane, err);
}

bool writer_entry_bare(const RepoWriter *w, unsigned lane_index)
{
    const Pending *pending = w->lanes[lane_index].current;
    return pending->known && pending->facts.bare;
}

bool writer_reserve(RepoWriter *w, unsigned lane_index, uint8_t **at, size_t *room, Err *err)
{
    Lane *lane = &w->lanes[lane_index];
    if (writer_failed(w, err))
        return false;
    if (!lane->open || lane->current->known)
        return err_set(err, ERR_BUG, "writer.entry", "content was given to an entry without any");
    if (lane->bundled && lane->bundle_fill - lane->bundle_start >= SMALL_FILE &&
        !leave_bundle(w, lane, err))
        return false;
    if (lane->bundled) {
        *at = lane->bundle_segment->at + lane->bundle_fill;
        *room = SMALL_FILE - (lane->bundle_fill - lane->bundle_start);
        return true;
    }
    if (lane->segment == NULL ||
        (lane->from == lane->fill && POOL_SEGMENT - lane->fill < ROOM_LEAST)) {
        if (!move_on(w, lane, err))
            return false;
    } else if (lane->fill == POOL_SEGMENT) {
        if (!cut(w, lane, false, err) || !move_on(w, lane, err) ||
            !writer_drain(w, lane, false, err))
            return false;
    }
    *at = lane->segment->at + lane->fill;
    *room = POOL_SEGMENT - lane->fill;
    return true;
}

bool writer_advance(RepoWriter *w, unsigned lane_index, size_t filled, Err *err)
{
    Lane *lane = &w->lanes[lane_index];
    if (lane->bundled)
        lane->bundle_fill += filled;
    else
        lane->fill += filled;
    lane->current->size += filled;
    atomic_fetch_add(&w->read, filled);
    atomic_fetch_add(&w->bytes, filled);
    return !writer_failed(w, err);
}

/* Short runs are written out, so that a file is cut alike whether or not it was sparse. */
static bool write_zeros(RepoWriter *w, unsigned lane_index, uint64_t count, Err *err)
{
    while (count > 0) {
        uint8_t *at = NULL;
        size_t room = 0;
        if (!writer_reserve(w, lane_index, &at, &room, err))
            return false;
        size_t part = count < room ? (size_t)count : room;
        /* What err_set returns is not known to it. NOLINTNEXTLINE(clang-analyzer-core*) */
        memset(at, 0, part);
        if (!writer_advance(w, lane_index, part, err))
            return false;
        count -= part;
    }
    return true;
}

/* Some zeros are given as bytes until the chunker stands on a run; the rest needs no bytes. */
bool writer_zeros(RepoWriter *w, unsigned lane_index, uint64_t count, Err *err)
{
    Lane *lane = &w->lanes[lane_index];
    const uint64_t lead = CHUNK_PLAIN_MAX + CHUNKER_ZERO_RUN + CHUNKER_PAGE;
    if (lane->bundled && count >= SMALL_FILE && !leave_bundle(w, lane, err))
        return false;
    if (lane->bundled || count < 2 * lead)
        return write_zeros(w, lane_index, count, err);
    /* Whole pages are left out, so that page alignment stays what it was. */
    if (!write_zeros(w, lane_index, lead, err) || !cut(w, lane, false, err))
        return false;
    count -= lead;
    uint64_t skipped = lane->cutting.zeros ? count - count % CHUNKER_PAGE : 0;
    if (skipped > 0) {
        add_piece(lane->current, NULL, 0, skipped);
        lane->current->size += skipped;
        atomic_fetch_add(&w->bytes, skipped);
    }
    return write_zeros(w, lane_index, count - skipped, err);
}

static void copy_text(Text *text, char **to)
{
    if (text->len > 0)
        memcpy(*to, text->at, text->len);
    text->at = *to;
    *to += text->len;
}

/* One block holds the entry's strings: attributes first, for their alignment. */
static void entry_copy(Pending *pending, const Entry *entry)
{
    size_t attributes = entry->attribute_count * sizeof(EntryAttribute);
    size_t len = attributes + entry->path.len + entry->user.len + entry->group.len +
                 entry->link.len + entry->note.len;
    for (size_t i = 0; i < entry->attribute_count; i++)
        len += entry->attributes[i].name.len + entry->attributes[i].value.len;
    pending->entry = *entry;
    EntryAttribute *copies = mem_zeroed(1, len + 1);
    char *to = (char *)copies + attributes;
    pending->entry.attributes = copies;
    copy_text(&pending->entry.path, &to);
    copy_text(&pending->entry.user, &to);
    copy_text(&pending->entry.group, &to);
    copy_text(&pending->entry.link, &to);
    copy_text(&pending->entry.note, &to);
    for (size_t i = 0; i < entry->attribute_count; i++) {
        copies[i] = entry->attributes[i];
        Text value = text_of_slice(copies[i].value);
        copy_text(&copies[i].name, &to);
        copy_text(&value, &to);
        copies[i].value = slice_of_text(value);
    }
}

static bool end_content(RepoWriter *w, Lane *lane, bool keep, Err *err)
{
    Pending *pending = lane->current;
    if (!lane->bundled)
        return lane->segment == NULL || cut(w, lane, true, err);
    size_t len = lane->bundle_fill - lane->bundle_start;
    if (keep && len > 0 && pending->has_key) {
        seal_mark(lane->marker, (Slice){lane->bundle_segment->at + lane->bundle_start, len},
                  pending->facts.mark);
        pending->facts.marked = true;
        if (!writer_known_again(w, len, pending, err))
            return false;
    }
    if (!keep || pending->known_part != NULL)
        lane->bundle_fill = lane->bundle_start;
    len = lane->bundle_fill - lane->bundle_start;
    if (len > 0)
        add_piece(pending, lane->bundle,
                  (uint32_t)lane->bundle_start -
                      (uint32_t)(lane->bundle->at - lane->bundle_segment->at),
                  len);
    return true;
}

bool writer_entry_end(RepoWriter *w, unsigned lane_index, const Entry *entry, bool keep, Err *err)
{
    Lane *lane = &w->lanes[lane_index];
    if (writer_failed(w, err))
        return false;
    if (!lane->open || !record_path_ok(entry->path))
        return err_set(err, ERR_BUG, "writer.entry", "an entry ends that did not begin");
    Pending *pending = lane->current;
    if (!end_content(w, lane, keep, err))
        return false;
    entry_copy(pending, entry);
    if (pending->known) {
        pending->size = entry->size;
        atomic_fetch_add(&w->bytes, keep ? entry->size : 0);
        atomic_fetch_add(&w->known, keep ? 1 : 0);
    }
    pending->entry.size = wants_content(entry) ? pending->size : 0;
    pending->ended = true;
    pending->keep = keep;
    atomic_fetch_add(&w->entries, keep ? 1 : 0);
    /* What is not in the bundle does not end it, as a few edited files of a large tree should lie
     * together; but all that comes behind it waits for its name. */
    bool ends = (lane->bundled && chunker_bundle_ends(&w->chunker, entry->path)) ||
                lane->pending > WAITING_MOST;
    lane->open = lane->bundled = false;
    lane->current = NULL;
    return (!ends || bundle_flush(w, lane, err)) &&
           writer_drain(w, lane, lane->pending > 2 * WAITING_MOST, err);
}

bool writer_lane_flush(RepoWriter *w, Lane *lane, Err *err)
{
    if (lane->open)
        return err_set(err, ERR_BUG, "writer.entry", "the backup ends inside an entry");
    if (!bundle_flush(w, lane, err))
        return false;
    pool_release(lane->segment);
    pool_release(lane->bundle_segment);
    lane->segment = lane->bundle_segment = NULL;
    return true;
}

void writer_lane_free(RepoWriter *w, Lane *lane)
{
    if (lane->bundle != NULL)
        writer_release(lane->bundle);
    seal_marker_free(lane->marker);
    pool_release(lane->segment);
    pool_release(lane->bundle_segment);
    while (lane->first != NULL) {
        Pending *pending = lane->first;
        lane->first = pending->next;
        writer_pending_free(w, pending);
    }
}
