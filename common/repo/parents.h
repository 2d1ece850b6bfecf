/* SPDX-License-Identifier: Apache-2.0
 * parents.h — what a writer must know of yesterday, and nothing more.
 * A row an entry: keyed hashes of its path, of the stat fields that change with its content and of
 * its device, for small files a keyed hash of the content, whether it had attributes, and its
 * extents; chunk ids stand once each in a table. No names, no content. It is a
 * hint: every id is looked up again before it is used, and a missing or unreadable list costs only
 * reading. A list is a row of parts of bounded size, so that neither side ever holds more of it
 * than a few: today.h writes them, yesterday.h reads them. This is one part. */
#ifndef COMMON_REPO_PARENTS_H
#define COMMON_REPO_PARENTS_H

#include "common/base/buf.h"
#include "common/repo/idmap.h"
#include "common/repo/record.h"

enum {
    PARENTS_FORMAT = 4,            /* of 1 to 3 the rows were others: they are read as no list */
    PARENTS_IDS_MAX = 1024 * 1024, /* of a part, for the sake of one entry with as many extents;
                                      one with more is left out and read again */
    PARENTS_STAMP = 12,            /* of a key: keyed hash of type, size, mtime, ctime and inode, */
    PARENTS_NAME = 8,              /* of the path, */
    PARENTS_DEVICE = 4,            /* and of the device */
    PARENTS_KEY = PARENTS_STAMP + PARENTS_NAME + PARENTS_DEVICE,
    PARENTS_SIGN = 12, /* a path's token and the number of its part */
    PARENTS_MARK = 16, /* keyed hash of content */
};

/* Stamp and name are equal only when path, type, size, mtime, ctime and inode are. Devices have
 * other numbers after a restart of the machine, so only a file that moved is asked for its own. */
typedef struct ParentsKey {
    uint8_t bytes[PARENTS_KEY];
    uint64_t token; /* of the path: the name as a number; the rest is not stored with the row */
    int64_t ctime_ns;
    bool movable; /* known by its stamp and device wherever it lies: its file system counts parts of
                     a second, so an inode that was given out again has another ctime */
} ParentsKey;
void parents_key(ParentsKey *out, const uint8_t key[32], const Entry *entry);

/* Can this entry be recognised another day? Only a file whose ctime is known and old enough that a
 * later change must move it. */
bool parents_worthy(const Entry *entry, int64_t now_ns);

/* Being written. Not thread-safe. */
typedef struct Parents Parents;
Parents *parents_new(void);
/* What a row says besides where the content is. */
typedef struct ParentsFacts {
    bool bare;   /* it had no attributes */
    bool marked; /* mark is of its content: a file that was touched is known by it */
    uint8_t mark[PARENTS_MARK];
} ParentsFacts;
/* Appends one extent to a row under construction; false when row or table have no room for it. */
bool parents_extent(Parents *parents, Buf *row, const Extent *extent);
/* Left out when the part has no room for it. */
void parents_add(Parents *parents, const ParentsKey *key, const ParentsFacts *facts, Slice row);
void parents_add_page(Parents *parents, const ChunkId *id); /* a page of the manifest */
bool parents_full(const Parents *parents);                  /* time for the next part */
/* What only the last part says; zeroes in the others. */
typedef struct ParentsEnd {
    uint64_t parts;    /* how many others there are */
    Slice signs;       /* of what is where, PARENTS_SIGN bytes each */
    int64_t newest_ns; /* of the ctimes of all rows */
} ParentsEnd;
/* What is stored, far below DISK_OBJECT_MOST. */
void parents_body(const Parents *parents, const ParentsEnd *end, Buf *out);

/* Being read. */
MUST_CHECK bool parents_read(Parents **out, Slice body, Err *err);
ParentsEnd parents_end(const Parents *parents);
const IdMap *parents_ids(const Parents *parents);
typedef struct ParentsRow {
    const uint8_t *at; /* its extents */
    size_t left;
    ParentsFacts facts;
} ParentsRow;
bool parents_find(const Parents *parents, const ParentsKey *key, ParentsRow *row);
/* The row of a file that had another path, if the key is one of a movable file. */
bool parents_find_moved(const Parents *parents, const ParentsKey *key, ParentsRow *row);
/* The row of a file of that path with that content, whatever its stamp is. */
bool parents_find_marked(Parents *parents, const ParentsKey *key, const uint8_t mark[PARENTS_MARK],
                         ParentsRow *row);
/* One stamp after the other, as numbers; *at begins as 0. False: there are no more. */
bool parents_stamps(const Parents *parents, size_t *at, uint64_t *stamp);
uint64_t parents_stamp(const ParentsKey *key);
/* The next extent; index says which id of the table it is (IDMAP_NONE for zeros). */
bool parents_next(const Parents *parents, ParentsRow *row, Extent *extent, uint32_t *index);

void parents_free(Parents *parents); /* NULL is fine */

#endif
