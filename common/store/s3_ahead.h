/* SPDX-License-Identifier: Apache-2.0
 * s3_ahead.h — parts of an object that lie close together, fetched together.
 * Whoever restores asks a pack for one chunk after the other, from several threads, and not in the
 * order in which they lie there: a bundle of small files closes behind the large ones among them. A
 * request a chunk would spend most of its time on the way to the server. So an object that is read
 * again and again is fetched in aligned blocks, of which a few are kept, and each part is given
 * from them once: who asks for a part again does not believe what came, and gets it from the
 * server. From any thread. */
#ifndef COMMON_STORE_S3_AHEAD_H
#define COMMON_STORE_S3_AHEAD_H

#include "protocol/bytes.h"
#include "protocol/err.h"

/* Fetches what there is of [offset, offset + most); fewer than `least` bytes are a failure. */
typedef bool S3Fetch(void *ctx, const char *name, uint64_t offset, size_t least, size_t most,
                     uint8_t *at, size_t *got, Err *err);

typedef struct S3Ahead S3Ahead;
S3Ahead *s3_ahead_new(S3Fetch *fetch, void *ctx);
/* Exactly len bytes, as fetch would give them. */
MUST_CHECK bool s3_ahead_read(S3Ahead *ahead, const char *name, uint64_t offset, size_t len,
                              uint8_t *at, Err *err);
void s3_ahead_free(S3Ahead *ahead); /* NULL is fine */

#endif
