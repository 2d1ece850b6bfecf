/* SPDX-License-Identifier: Apache-2.0
 * canon.h — canonical msgpack: one way to write each value, and a reader that takes no other.
 * Integers in their shortest form, lengths in their shortest form, map keys as ascending unsigned
 * integers, byte strings as bin. So equal records are equal bytes, and equal bytes one chunk.
 * The reader copies nothing and allocates nothing: a length that the bytes do not have is refused
 * before anybody believes it. The first fault sticks; values read after it are zero. */
#ifndef COMMON_REPO_CANON_H
#define COMMON_REPO_CANON_H

#include "common/base/buf.h"

void canon_map(Buf *out, uint32_t pairs);
void canon_array(Buf *out, uint32_t count);
void canon_uint(Buf *out, uint64_t value);
void canon_int(Buf *out, int64_t value);
void canon_bin(Buf *out, Slice bytes);
void canon_text(Buf *out, Text text); /* as bin: paths and names are bytes */

typedef struct CanonReader {
    const uint8_t *at;
    size_t left;
    bool bad;
} CanonReader;

CanonReader canon_reader(Slice bytes);
uint32_t canon_read_map(CanonReader *r);
uint32_t canon_read_array(CanonReader *r);
uint64_t canon_read_uint(CanonReader *r);
int64_t canon_read_int(CanonReader *r);
Slice canon_read_bin(CanonReader *r);
bool canon_read_exact(CanonReader *r, uint8_t *out, size_t len); /* a bin of just that length */
/* The next key of a map, which must be above *last (start with 0; keys begin at 1). */
uint64_t canon_read_key(CanonReader *r, uint64_t *last);
/* Steps over one value of any kind, nested at most 16 deep. */
void canon_skip(CanonReader *r);
/* Everything was read and nothing was wrong. */
bool canon_done(const CanonReader *r);

#endif
