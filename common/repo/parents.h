/* SPDX-License-Identifier: Apache-2.0
 * parents.h — what a writer must know of yesterday, and nothing more.
 * A row an entry: a keyed hash over its path and the stat fields that change with its content, and
 * its extents; chunk ids stand once each in a table. No names, no content. It is a
 * hint: every id is looked up again before it is used, and a missing or unreadable list costs only
 * reading. Stored as parents/<backup>, sealed under a key of the source. */
#ifndef COMMON_REPO_PARENTS_H
#define COMMON_REPO_PARENTS_H

#include "common/base/buf.h"
#include "common/repo/idmap.h"
#include "common/repo/record.h"

enum {
    PARENTS_FORMAT = 1,
    PARENTS_IDS_MAX = 1024 * 1024, /* entries with ids beyond are left out: the list is held in
                                      memory, and reading a little more is no harm */
    PARENTS_KEY = 24,
};

/* Equal only when path, type, size, mtime, ctime and inode are. */
typedef struct ParentsKey {
    uint8_t bytes[PARENTS_KEY];
} ParentsKey;
void parents_key(ParentsKey *out, const uint8_t key[32], const Entry *entry);

/* Can this entry be recognised another day? Only a file whose ctime is known and old enough that a
 * later change must move it. */
bool parents_worthy(const Entry *entry, int64_t now_ns);

/* Being written. Not thread-safe. */
typedef struct Parents Parents;
Parents *parents_new(void);
/* Appends one extent to a row under construction; false when the table is full. */
bool parents_extent(Parents *parents, Buf *row, const Extent *extent);
void parents_add(Parents *parents, const ParentsKey *key, Slice row);
void parents_add_page(Parents *parents, const ChunkId *id); /* a page of the manifest */
void parents_body(const Parents *parents, Buf *out);

/* Being read. */
MUST_CHECK bool parents_read(Parents **out, Slice body, Err *err);
const IdMap *parents_ids(const Parents *parents);
typedef struct ParentsRow {
    const uint8_t *at;
    size_t left;
} ParentsRow;
bool parents_find(const Parents *parents, const ParentsKey *key, ParentsRow *row);
/* The next extent; index says which id of the table it is (IDMAP_NONE for zeros). */
bool parents_next(const Parents *parents, ParentsRow *row, Extent *extent, uint32_t *index);

void parents_free(Parents *parents); /* NULL is fine */

#endif
