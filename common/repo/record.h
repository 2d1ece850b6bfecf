/* SPDX-License-Identifier: Apache-2.0
 * record.h — one entry as a manifest page keeps it, and the extents of its content.
 * Written in canonical msgpack with nothing in it that changes from run to run, so an unchanged
 * directory is an unchanged page and costs nothing. Read strictly: a path that could leave a
 * restore's target, or content that does not add up, is refused here and nowhere else.
 * To add a field: the next key, absent when it is zero; readers skip keys they do not know. */
#ifndef COMMON_REPO_RECORD_H
#define COMMON_REPO_RECORD_H

#include "common/base/buf.h"
#include "common/repo/canon.h"
#include "protocol/entry.h"
#include "protocol/ids.h"

typedef struct Extent {
    bool zeros; /* length zero bytes; id and offset do not count */
    ChunkId id;
    uint32_t offset; /* in the chunk's content */
    uint64_t length;
} Extent;

/* More extents than this lie in pages of their own, which the record names. */
enum { RECORD_EXTENTS = 48 };

void record_add_extent(Buf *out, const Extent *extent);
MUST_CHECK bool record_read_extent(CanonReader *r, Extent *extent); /* false: r is bad */

/* extents: `extent_count` of them as record_add_extent wrote them; or pages: ids of chunks that
 * each hold an array of extents. At most one of the two is not empty. */
typedef struct RecordContent {
    uint64_t size;
    Slice extents;
    uint32_t extent_count;
    const ChunkId *pages; /* for writing */
    Slice page_ids;       /* when read: the ids, a bin of 32 each, as msgpack */
    uint32_t page_count;
} RecordContent;

void record_add(Buf *out, const Entry *entry, const RecordContent *content);

/* A record read from a page; borrows the page's bytes, owns the attribute array. */
typedef struct Record {
    Entry entry;
    RecordContent content;
    EntryAttribute *attributes;
    size_t attribute_room;
} Record;
MUST_CHECK bool record_read(CanonReader *r, Record *record, Err *err);
void record_free(Record *record);

/* Relative, not empty, no empty part, no "." or "..", no NUL, at most 64 KiB. */
bool record_path_ok(Text path);

#endif
