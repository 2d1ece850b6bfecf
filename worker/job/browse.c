/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/job/browse.h"

#include "common/base/clock.h"
#include "common/base/json.h"
#include "common/repo/diff.h"
#include "worker/job/opened.h"

#include <stdio.h>

enum {
    LISTED = 1000,
    LISTED_MOST = 5000,
    ANSWER_MOST = 900 * 1024,
    NAME_MOST = 256, /* no name has so many bytes of 0xff: behind all that lies below a directory */
};

typedef struct Listing {
    json_t *items;
    size_t bytes;
    uint64_t limit;
    bool more;
    Text prefix;
    ReaderSelection selection;
    Buf behind; /* children only: all that is below the last directory */
} Listing;

static const char *type_name(uint8_t type)
{
    static const char *const names[] = {
        [ENTRY_FILE] = "file",         [ENTRY_DIRECTORY] = "directory", [ENTRY_SYMLINK] = "symlink",
        [ENTRY_HARDLINK] = "hardlink", [ENTRY_FIFO] = "fifo",           [ENTRY_SOCKET] = "socket",
        [ENTRY_CHARDEV] = "chardev",   [ENTRY_BLOCKDEV] = "blockdev",   [ENTRY_STREAM] = "stream",
    };
    return type < sizeof names / sizeof names[0] && names[type] != NULL ? names[type] : "unknown";
}

/* No room for one more; the listing ends before it. */
static bool is_full(Listing *listing, const Entry *entry, bool *stop)
{
    listing->bytes += entry->path.len * 3 + entry->link.len * 3 + 200; /* three for an escape */
    if (json_array_size(listing->items) < listing->limit && listing->bytes <= ANSWER_MOST)
        return false;
    listing->more = *stop = true;
    return true;
}

static json_t *describe(const Entry *entry)
{
    char when[CLOCK_TEXT];
    json_t *row = json_object();
    json_object_set_new(row, "path", json_bytes(slice_of_text(entry->path)));
    json_object_set_new(row, "type", json_string(type_name(entry->type)));
    json_object_set_new(row, "size", json_integer((json_int_t)entry->size));
    if (entry->type != ENTRY_STREAM) {
        clock_rfc3339(entry->mtime_ns, when);
        json_object_set_new(row, "mtime", json_string(when));
        json_object_set_new(row, "mode", json_sprintf("%04o", entry->mode & 07777));
    }
    if (entry->link.len > 0)
        json_object_set_new(row, "link", json_bytes(slice_of_text(entry->link)));
    if (entry->rows > 0)
        json_object_set_new(row, "rows", json_integer((json_int_t)entry->rows));
    return row;
}

static bool list_entry(void *ctx, const Entry *entry, const ReaderContent *content, bool *stop,
                       Err *err)
{
    Listing *listing = ctx;
    (void)content;
    (void)err;
    if (!is_full(listing, entry, stop))
        json_array_append_new(listing->items, describe(entry));
    return true;
}

/* --- one directory -------------------------------------------------------------------------- */

/* Directly below the prefix there is no other slash. What lies deeper is passed over with all that
 * its directory holds, however much that is. */
static bool list_child(void *ctx, const Entry *entry, const ReaderContent *content, bool *stop,
                       Err *err)
{
    Listing *listing = ctx;
    size_t from = listing->prefix.len == 0 ? 0 : listing->prefix.len + 1;
    if (entry->path.len <= from) /* the prefix itself */
        return entry->type == ENTRY_DIRECTORY || list_entry(ctx, entry, content, stop, err);
    const char *slash = memchr(entry->path.at + from, '/', entry->path.len - from);
    if (slash == NULL)
        return list_entry(ctx, entry, content, stop, err);
    buf_clear(&listing->behind);
    buf_add(&listing->behind, entry->path.at, (size_t)(slash - entry->path.at) + 1);
    memset(buf_extend(&listing->behind, NAME_MOST), 0xff, NAME_MOST);
    listing->selection.after = buf_text(&listing->behind);
    return true;
}

/* --- two backups ---------------------------------------------------------------------------- */

static void tell_change(json_t *row, const char *name, bool differs)
{
    if (differs)
        json_array_append_new(json_object_get(row, "what"), json_string(name));
}

static void tell_changes(json_t *row, const DiffEntry *entry)
{
    const Entry *before = entry->before, *after = entry->after;
    json_object_set_new(row, "what", json_array());
    json_object_set_new(row, "size_before", json_integer((json_int_t)before->size));
    bool type = before->type != after->type;
    bool mode = before->mode != after->mode;
    bool owner = before->uid != after->uid || before->gid != after->gid ||
                 !text_equal(before->user, after->user) || !text_equal(before->group, after->group);
    bool link = !text_equal(before->link, after->link);
    bool mtime = before->mtime_ns != after->mtime_ns;
    bool rows = before->rows != after->rows;
    tell_change(row, "type", type);
    tell_change(row, "content", entry->content);
    tell_change(row, "link", link);
    tell_change(row, "mode", mode);
    tell_change(row, "owner", owner);
    tell_change(row, "mtime", mtime);
    tell_change(row, "rows", rows);
    tell_change(row, "attributes",
                !(type || entry->content || link || mode || owner || mtime || rows));
}

static bool list_change(void *ctx, const DiffEntry *entry, bool *stop, Err *err)
{
    Listing *listing = ctx;
    const Entry *shown = entry->after == NULL ? entry->before : entry->after;
    (void)err;
    if (is_full(listing, shown, stop))
        return true;
    json_t *row = describe(shown);
    json_object_set_new(row, "change",
                        json_string(entry->before == NULL  ? "added"
                                    : entry->after == NULL ? "removed"
                                                           : "changed"));
    if (entry->before != NULL && entry->after != NULL)
        tell_changes(row, entry);
    json_array_append_new(listing->items, row);
    return true;
}

static bool list_changes(Opened *opened, Job *job, Listing *listing, Err *err)
{
    Opened before;
    if (!opened_against(&before, job, err))
        return err_note(err, "the other backup");
    bool fine =
        diff_run(before.reader, opened->reader, &listing->selection, list_change, listing, err);
    opened_close(&before);
    return fine;
}

/* -------------------------------------------------------------------------------------------- */

/* A text of the request as bytes without slashes at its start. */
static bool take_path(const Job *job, const char *key, Buf *bytes, Text *path, Err *err)
{
    if (!json_unbytes(json_text_or(job->params, key, TEXT("")), bytes, err))
        return err_note(err, "`%s`", key);
    *path = buf_text(bytes);
    while (path->len > 0 && path->at[0] == '/')
        *path = (Text){path->at + 1, path->len - 1};
    while (path->len > 0 && path->at[path->len - 1] == '/')
        path->len--;
    return true;
}

static json_t *answer_of(const Job *job, const Listing *listing)
{
    size_t count = json_array_size(listing->items);
    json_t *last =
        json_object_get(json_array_get(listing->items, count == 0 ? 0 : count - 1), "path");
    json_t *answer = json_object(), *against = json_object_get(job->params, "against");
    json_object_set(answer, "items", listing->items);
    json_object_set_new(answer, "next_cursor",
                        listing->more && last != NULL ? json_incref(last) : json_null());
    if (against != NULL)
        json_object_set(answer, "against", against);
    return answer;
}

bool browse_run(Job *job, JobResult *result, Err *err)
{
    Opened opened;
    scoped(buf_free) Buf prefix_bytes = {0};
    scoped(buf_free) Buf after_bytes = {0};
    Listing listing = {.limit = json_u64_or(job->params, "limit", LISTED),
                       .selection = {.phase = -1, .no_content = true}};
    if (!take_path(job, "prefix", &prefix_bytes, &listing.prefix, err) ||
        !take_path(job, "after", &after_bytes, &listing.selection.after, err) ||
        !opened_open(&opened, job, err))
        return false;
    if (listing.limit > LISTED_MOST)
        listing.limit = LISTED_MOST;
    listing.selection.paths = &listing.prefix;
    listing.selection.path_count = listing.prefix.len > 0 ? 1 : 0;
    listing.items = json_array();
    bool children = json_bool_or(job->params, "children", false);
    bool fine = json_object_get(job->params, "against") != NULL
                    ? list_changes(&opened, job, &listing, err)
                    : reader_walk(opened.reader, &listing.selection,
                                  children ? list_child : list_entry, &listing, err);
    opened_close(&opened);
    if (fine)
        result->answer = answer_of(job, &listing);
    json_decref(listing.items);
    buf_free(&listing.behind);
    return fine;
}
