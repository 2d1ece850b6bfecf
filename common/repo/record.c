/* SPDX-License-Identifier: Apache-2.0
 * record.c — entry records. */
#include "common/repo/record.h"

#include "common/base/mem.h"
#include "common/repo/chunker.h"

enum {
    KEY_PATH = 1,
    KEY_TYPE = 2,
    KEY_MODE = 3,
    KEY_UID = 4,
    KEY_GID = 5,
    KEY_USER = 6,
    KEY_GROUP = 7,
    KEY_MTIME = 8,
    KEY_SIZE = 9,
    KEY_EXTENTS = 10,
    KEY_EXTENT_PAGES = 11,
    KEY_LINK = 12,
    KEY_ATTRIBUTES = 13,
    KEY_RDEV_MAJOR = 14,
    KEY_RDEV_MINOR = 15,
    KEY_CUT = 16,
    KEY_PHASE = 17,
    KEY_ROWS = 18,
    KEY_NOTE = 19,
    PATH_MAX_BYTES = 64 * 1024,
    ATTRIBUTES_MAX = 4096,
};

void record_add_extent(Buf *out, const Extent *extent)
{
    if (extent->zeros) {
        canon_array(out, 1);
        canon_uint(out, extent->length);
        return;
    }
    canon_array(out, 3);
    canon_bin(out, (Slice){extent->id.bytes, sizeof extent->id.bytes});
    canon_uint(out, extent->offset);
    canon_uint(out, extent->length);
}

bool record_read_extent(CanonReader *r, Extent *extent)
{
    memset(extent, 0, sizeof *extent);
    uint32_t parts = canon_read_array(r);
    if (parts == 1) {
        extent->zeros = true;
        extent->length = canon_read_uint(r);
        /* More would let sums of lengths wrap round. */
        if (extent->length >= 1ull << 62)
            r->bad = true;
    } else if (parts == 3) {
        canon_read_exact(r, extent->id.bytes, sizeof extent->id.bytes);
        uint64_t offset = canon_read_uint(r);
        extent->length = canon_read_uint(r);
        if (offset > CHUNK_PLAIN_MAX || extent->length > CHUNK_PLAIN_MAX - offset)
            r->bad = true;
        extent->offset = (uint32_t)offset;
    } else {
        r->bad = true;
    }
    if (extent->length == 0)
        r->bad = true;
    return !r->bad;
}

static void add_uint_field(Buf *out, uint32_t *fields, uint64_t key, uint64_t value)
{
    if (value == 0)
        return;
    canon_uint(out, key);
    canon_uint(out, value);
    (*fields)++;
}

static void add_text_field(Buf *out, uint32_t *fields, uint64_t key, Text value)
{
    if (value.len == 0)
        return;
    canon_uint(out, key);
    canon_text(out, value);
    (*fields)++;
}

static void add_content(Buf *out, uint32_t *fields, const RecordContent *content)
{
    add_uint_field(out, fields, KEY_SIZE, content->size);
    if (content->page_count > 0) {
        canon_uint(out, KEY_EXTENT_PAGES);
        canon_array(out, content->page_count);
        for (uint32_t i = 0; i < content->page_count; i++)
            canon_bin(out, (Slice){content->pages[i].bytes, sizeof content->pages[i].bytes});
        (*fields)++;
    } else if (content->extent_count > 0) {
        canon_uint(out, KEY_EXTENTS);
        canon_array(out, content->extent_count);
        buf_add_slice(out, content->extents);
        (*fields)++;
    }
}

static void add_attributes(Buf *out, uint32_t *fields, const Entry *entry)
{
    if (entry->attribute_count == 0)
        return;
    canon_uint(out, KEY_ATTRIBUTES);
    canon_array(out, (uint32_t)entry->attribute_count);
    for (size_t i = 0; i < entry->attribute_count; i++) {
        canon_array(out, 2);
        canon_text(out, entry->attributes[i].name);
        canon_bin(out, entry->attributes[i].value);
    }
    (*fields)++;
}

/* The fields are counted while they are written; the map's head goes in front afterwards. */
void record_add(Buf *out, const Entry *entry, const RecordContent *content)
{
    scoped(buf_free) Buf body = {0};
    uint32_t fields = 0;
    add_text_field(&body, &fields, KEY_PATH, entry->path);
    add_uint_field(&body, &fields, KEY_TYPE, entry->type);
    add_uint_field(&body, &fields, KEY_MODE, entry->mode);
    add_uint_field(&body, &fields, KEY_UID, entry->uid);
    add_uint_field(&body, &fields, KEY_GID, entry->gid);
    add_text_field(&body, &fields, KEY_USER, entry->user);
    add_text_field(&body, &fields, KEY_GROUP, entry->group);
    if (entry->mtime_ns != 0) {
        canon_uint(&body, KEY_MTIME);
        canon_int(&body, entry->mtime_ns);
        fields++;
    }
    add_content(&body, &fields, content);
    add_text_field(&body, &fields, KEY_LINK, entry->link);
    add_attributes(&body, &fields, entry);
    add_uint_field(&body, &fields, KEY_RDEV_MAJOR, entry->rdev_major);
    add_uint_field(&body, &fields, KEY_RDEV_MINOR, entry->rdev_minor);
    add_uint_field(&body, &fields, KEY_CUT, entry->cut);
    add_uint_field(&body, &fields, KEY_PHASE, entry->phase);
    add_uint_field(&body, &fields, KEY_ROWS, entry->rows);
    add_text_field(&body, &fields, KEY_NOTE, entry->note);
    canon_map(out, fields);
    buf_add_slice(out, buf_slice(&body));
}

bool record_path_ok(Text path)
{
    if (path.len == 0 || path.len > PATH_MAX_BYTES || memchr(path.at, 0, path.len) != NULL)
        return false;
    size_t from = 0;
    for (size_t i = 0; i <= path.len; i++) {
        if (i < path.len && path.at[i] != '/')
            continue;
        Text part = {path.at + from, i - from};
        if (part.len == 0 || text_equal(part, TEXT(".")) || text_equal(part, TEXT("..")))
            return false;
        from = i + 1;
    }
    return true;
}

static void read_attributes(CanonReader *r, Record *record)
{
    uint32_t count = canon_read_array(r);
    if (count > ATTRIBUTES_MAX) {
        r->bad = true;
        return;
    }
    if (count > record->attribute_room) {
        record->attributes = mem_resize(record->attributes, count * sizeof record->attributes[0]);
        record->attribute_room = count;
    }
    for (uint32_t i = 0; i < count; i++) {
        if (canon_read_array(r) != 2)
            r->bad = true;
        record->attributes[i].name = text_of_slice(canon_read_bin(r));
        record->attributes[i].value = canon_read_bin(r);
    }
    record->entry.attributes = record->attributes;
    record->entry.attribute_count = count;
}

/* Every extent is looked at once, so that whoever walks them later meets no fault and no sum but
 * the size. */
static void read_extents(CanonReader *r, RecordContent *content)
{
    content->extent_count = canon_read_array(r);
    const uint8_t *from = r->at;
    uint64_t sum = 0;
    for (uint32_t i = 0; i < content->extent_count && !r->bad; i++) {
        Extent extent;
        if (!record_read_extent(r, &extent) || (sum += extent.length) > content->size)
            r->bad = true;
    }
    content->extents = (Slice){from, r->bad ? 0 : (size_t)(r->at - from)};
    if (sum != content->size)
        r->bad = true;
}

static void read_extent_pages(CanonReader *r, RecordContent *content)
{
    content->page_count = canon_read_array(r);
    const uint8_t *from = r->at;
    for (uint32_t i = 0; i < content->page_count && !r->bad; i++) {
        ChunkId id;
        canon_read_exact(r, id.bytes, sizeof id.bytes);
    }
    content->page_ids = (Slice){from, r->bad ? 0 : (size_t)(r->at - from)};
}

static uint64_t read_below(CanonReader *r, uint64_t limit)
{
    uint64_t value = canon_read_uint(r);
    if (value > limit)
        r->bad = true;
    return r->bad ? 0 : value;
}

static void read_number(CanonReader *r, uint64_t key, Entry *entry)
{
    switch (key) {
    case KEY_TYPE:
        entry->type = (uint8_t)read_below(r, UINT8_MAX);
        break;
    case KEY_MODE:
        entry->mode = (uint32_t)read_below(r, 07777);
        break;
    case KEY_UID:
        entry->uid = (uint32_t)read_below(r, UINT32_MAX);
        break;
    case KEY_GID:
        entry->gid = (uint32_t)read_below(r, UINT32_MAX);
        break;
    case KEY_RDEV_MAJOR:
        entry->rdev_major = (uint32_t)read_below(r, UINT32_MAX);
        break;
    case KEY_RDEV_MINOR:
        entry->rdev_minor = (uint32_t)read_below(r, UINT32_MAX);
        break;
    case KEY_CUT:
        entry->cut = (uint8_t)read_below(r, UINT8_MAX);
        break;
    case KEY_PHASE:
        entry->phase = (uint8_t)read_below(r, UINT8_MAX);
        break;
    case KEY_ROWS:
        entry->rows = canon_read_uint(r);
        break;
    default:
        canon_skip(r); /* a field of a later release */
    }
}

static void read_field(CanonReader *r, uint64_t key, Record *record)
{
    Entry *entry = &record->entry;
    switch (key) {
    case KEY_PATH:
        entry->path = text_of_slice(canon_read_bin(r));
        break;
    case KEY_USER:
        entry->user = text_of_slice(canon_read_bin(r));
        break;
    case KEY_GROUP:
        entry->group = text_of_slice(canon_read_bin(r));
        break;
    case KEY_MTIME:
        entry->mtime_ns = canon_read_int(r);
        break;
    case KEY_SIZE:
        record->content.size = entry->size = read_below(r, INT64_MAX);
        break;
    case KEY_EXTENTS:
        read_extents(r, &record->content);
        break;
    case KEY_EXTENT_PAGES:
        read_extent_pages(r, &record->content);
        break;
    case KEY_LINK:
        entry->link = text_of_slice(canon_read_bin(r));
        break;
    case KEY_ATTRIBUTES:
        read_attributes(r, record);
        break;
    case KEY_NOTE:
        entry->note = text_of_slice(canon_read_bin(r));
        break;
    default:
        read_number(r, key, entry);
    }
}

bool record_read(CanonReader *r, Record *record, Err *err)
{
    memset(&record->entry, 0, sizeof record->entry);
    memset(&record->content, 0, sizeof record->content);
    uint32_t fields = canon_read_map(r);
    uint64_t last = 0;
    for (uint32_t i = 0; i < fields && !r->bad; i++)
        read_field(r, canon_read_key(r, &last), record);
    const Entry *entry = &record->entry;
    const RecordContent *content = &record->content;
    if (r->bad || entry->type == 0)
        return err_set(err, ERR_CORRUPT, "repo.bad_record",
                       "a manifest page holds a record that is not valid; restore another backup, "
                       "or this one without the damaged page");
    if (!record_path_ok(entry->path) ||
        (entry->type == ENTRY_HARDLINK && !record_path_ok(entry->link)))
        return err_set(err, ERR_CORRUPT, "repo.bad_path",
                       "a manifest names a path that could leave the restore's target: refused");
    if (content->size > 0 && content->extent_count == 0 && content->page_count == 0)
        return err_set(err, ERR_CORRUPT, "repo.bad_record",
                       "a manifest gives an entry %llu bytes and no content: refused",
                       (unsigned long long)content->size);
    return true;
}

void record_free(Record *record)
{
    mem_free(record->attributes);
    memset(record, 0, sizeof *record);
}
