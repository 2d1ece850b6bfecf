/* SPDX-License-Identifier: Apache-2.0
 * pool.h — the bounded memory that content lives in while it is being written.
 * Segments of 4 MiB, as many as were asked for and no more. Whoever needs one while none is free
 * waits: that is how a slow store slows down the reading. The segment used last is given out first,
 * so a small backup touches little memory (the first touch of a page is what costs). */
#ifndef COMMON_REPO_POOL_H
#define COMMON_REPO_POOL_H

#include "protocol/err.h"

enum { POOL_SEGMENT = 4 * 1024 * 1024 };

typedef struct Pool Pool;
typedef struct Segment {
    uint8_t *at;
    Pool *pool;
    unsigned refs; /* guarded by the pool */
} Segment;

MUST_CHECK bool pool_new(Pool **out, unsigned segments, Err *err);
/* With one reference; NULL when the pool was stopped. */
Segment *pool_take(Pool *pool);
void pool_keep(Segment *segment);    /* one reference more */
void pool_release(Segment *segment); /* one less; NULL is fine */
void pool_stop(Pool *pool);          /* wakes and refuses everybody who waits */
void pool_free(Pool *pool);          /* after every segment came back */

#endif
