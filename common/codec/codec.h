/* SPDX-License-Identifier: Apache-2.0
 * codec.h — compression of one chunk. The id is written beside every chunk and never reused.
 * Decoding is bounded by the authenticated plain length: a lying frame cannot grow a buffer. */
#ifndef COMMON_CODEC_CODEC_H
#define COMMON_CODEC_CODEC_H

#include "protocol/err.h"

typedef enum CodecId {
    CODEC_NONE = 1, /* what does not shrink is kept as it is */
    CODEC_ZSTD = 2,
    CODEC_ZLIB = 3,
} CodecId;

/* What a thread keeps between chunks; not shared. */
typedef struct CodecWork CodecWork;
CodecWork *codec_work_new(void);
void codec_work_free(CodecWork *work); /* NULL is fine */

/* The most that codec_encode may need for so much input. */
size_t codec_bound(size_t plain);

/* Level 0 is what pays for chunks. For zstd that is a search of its own: the fast strategy with a
 * table that remembers nearly all of a chunk and still lies in a processor's own cache (512 KiB),
 * and matches from five bytes. Beside level 3 it takes two thirds of the processor for chunks of an
 * image or a large file (100 KiB; 0 to 2 % longer), and two thirds to four fifths for bundles of
 * small files (1 MiB; 3 %): twice the table takes a tenth more for them and finds half of one per
 * cent, half of it takes a twelfth less and loses one. Levels 1 and 2, whose tables are small, find
 * 1 to 11 % less. For zlib it is 6.
 * Encodes into `out` (codec_bound(plain.len) bytes at least). *used is CODEC_NONE, with the bytes
 * as they came, when encoding saves less than 1/32: a reader then saves the decoding. */
MUST_CHECK bool codec_encode(CodecWork *work, uint8_t codec, int level, Slice plain, uint8_t *out,
                             size_t *len, uint8_t *used, Err *err);

/* Decodes to exactly plain_len bytes, else ERR_CORRUPT codec.damaged. */
MUST_CHECK bool codec_decode(CodecWork *work, uint8_t codec, Slice coded, uint8_t *plain,
                             size_t plain_len, Err *err);

const char *codec_name(uint8_t codec);                           /* NULL: no such codec */
MUST_CHECK bool codec_find(Text name, uint8_t *codec, Err *err); /* "zstd", "zlib", "none" */

#endif
