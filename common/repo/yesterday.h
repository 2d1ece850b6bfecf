/* SPDX-License-Identifier: Apache-2.0
 * yesterday.h — the parent list of the backup before, read along with today's walk.
 * Both lists were made in the order of paths, so two parts and the last one are all that is ever
 * held: a row found in the second lets go of the first. Where the two walks lost each other (what
 * lay between was deleted, or all changed), the next sign leads on. A file that lies in a folder
 * which was renamed or moved is found by what its inode says, in a part that is held beside the
 * others. A small file that was written anew with what it had is found by its content once that was
 * read. What is not found costs reading, nothing else. Not thread-safe. */
#ifndef COMMON_REPO_YESTERDAY_H
#define COMMON_REPO_YESTERDAY_H

#include "common/repo/parents.h"

/* Part of a list in memory, with room for what its user learns about each id. */
typedef struct YesterdayPart {
    Parents *parents;
    uint8_t *state;     /* of each id; 0 at first */
    uint64_t *pack_nos; /* of each id; 0 at first */
    uint64_t number;
    unsigned holders;
} YesterdayPart;

/* Reads one part into an empty body; part 0 is the last one. False: it is not there, or not good.
 */
typedef bool YesterdayLoad(void *ctx, uint64_t part, Buf *body);

typedef struct Yesterday Yesterday;
/* NULL when there is no list. in_order: keys come in the order of their paths. */
Yesterday *yesterday_open(YesterdayLoad *load, void *ctx, bool in_order);

/* The part that holds the row, lent until yesterday_release; NULL: it is not known. */
YesterdayPart *yesterday_row(Yesterday *yesterday, const ParentsKey *key, ParentsRow *row);
/* The same for a file whose stamp is not known, with the mark of what it holds; looks only into the
 * parts that are held. */
YesterdayPart *yesterday_marked(Yesterday *yesterday, const ParentsKey *key,
                                const uint8_t mark[PARENTS_MARK], ParentsRow *row);
/* A part in memory that has the id, good until the next call. */
YesterdayPart *yesterday_id(Yesterday *yesterday, const ChunkId *id, uint32_t *index);
void yesterday_release(YesterdayPart *part); /* NULL is fine */

void yesterday_free(Yesterday *yesterday); /* NULL is fine */

#endif
