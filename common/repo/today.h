/* SPDX-License-Identifier: Apache-2.0
 * today.h — the parent list that a writer leaves for tomorrow, part by part.
 * An entry joins a part before its first extent and leaves it behind its row; a part that is full
 * and left by all is handed over and forgotten, so a list of any length takes the memory of a few
 * parts. Not thread-safe. */
#ifndef COMMON_REPO_TODAY_H
#define COMMON_REPO_TODAY_H

#include "common/repo/parents.h"

/* part: from 1; 0 is the last one, which says how many there are and where to look. */
typedef bool TodayPut(void *ctx, uint64_t part, Slice body, Err *err);

typedef struct Today Today;
Today *today_new(TodayPut *put, void *ctx);

Parents *today_join(Today *today);
void today_add(Today *today, Parents *part, const ParentsKey *key, const ParentsFacts *facts,
               Slice row);
MUST_CHECK bool today_leave(Today *today, Parents *part, Err *err);
MUST_CHECK bool today_page(Today *today, const ChunkId *id, Err *err); /* of the manifest */

/* Everyone left: hands over what is there, the last part at the end. */
MUST_CHECK bool today_finish(Today *today, Err *err);
void today_free(Today *today); /* NULL is fine */

#endif
