/* SPDX-License-Identifier: Apache-2.0
 * canon.c — the msgpack subset of repository records: maps, arrays, integers, bin. */
#include "common/repo/canon.h"

enum { CANON_DEPTH = 16 };

static void add_be(Buf *out, uint8_t head, uint64_t value, unsigned width)
{
    uint8_t *at = buf_extend(out, width + 1);
    at[0] = head;
    for (unsigned i = 0; i < width; i++)
        at[1 + i] = (uint8_t)(value >> (8 * (width - 1 - i)));
}

void canon_map(Buf *out, uint32_t pairs)
{
    if (pairs < 16)
        buf_add_byte(out, (uint8_t)(0x80 | pairs));
    else if (pairs <= UINT16_MAX)
        add_be(out, 0xde, pairs, 2);
    else
        add_be(out, 0xdf, pairs, 4);
}

void canon_array(Buf *out, uint32_t count)
{
    if (count < 16)
        buf_add_byte(out, (uint8_t)(0x90 | count));
    else if (count <= UINT16_MAX)
        add_be(out, 0xdc, count, 2);
    else
        add_be(out, 0xdd, count, 4);
}

void canon_uint(Buf *out, uint64_t value)
{
    if (value < 128)
        buf_add_byte(out, (uint8_t)value);
    else if (value <= UINT8_MAX)
        add_be(out, 0xcc, value, 1);
    else if (value <= UINT16_MAX)
        add_be(out, 0xcd, value, 2);
    else if (value <= UINT32_MAX)
        add_be(out, 0xce, value, 4);
    else
        add_be(out, 0xcf, value, 8);
}

void canon_int(Buf *out, int64_t value)
{
    if (value >= 0)
        canon_uint(out, (uint64_t)value);
    else if (value >= -32)
        buf_add_byte(out, (uint8_t)value);
    else if (value >= INT8_MIN)
        add_be(out, 0xd0, (uint64_t)value & 0xff, 1);
    else if (value >= INT16_MIN)
        add_be(out, 0xd1, (uint64_t)value & 0xffff, 2);
    else if (value >= INT32_MIN)
        add_be(out, 0xd2, (uint64_t)value & 0xffffffff, 4);
    else
        add_be(out, 0xd3, (uint64_t)value, 8);
}

void canon_bin(Buf *out, Slice bytes)
{
    if (bytes.len <= UINT8_MAX)
        add_be(out, 0xc4, bytes.len, 1);
    else if (bytes.len <= UINT16_MAX)
        add_be(out, 0xc5, bytes.len, 2);
    else
        add_be(out, 0xc6, bytes.len, 4);
    buf_add_slice(out, bytes);
}

void canon_text(Buf *out, Text text)
{
    canon_bin(out, slice_of_text(text));
}

CanonReader canon_reader(Slice bytes)
{
    return (CanonReader){.at = bytes.at, .left = bytes.len};
}

static uint64_t fail(CanonReader *r)
{
    r->bad = true;
    r->left = 0;
    return 0;
}

static uint8_t take_byte(CanonReader *r)
{
    if (r->left == 0)
        return (uint8_t)fail(r);
    r->left--;
    return *r->at++;
}

/* A big-endian integer that would not have fit a shorter form: at least `least`. */
static uint64_t take_be(CanonReader *r, unsigned width, uint64_t least)
{
    if (r->left < width)
        return fail(r);
    uint64_t value = 0;
    for (unsigned i = 0; i < width; i++)
        value = value << 8 | r->at[i];
    r->at += width;
    r->left -= width;
    return value < least ? fail(r) : value;
}

/* count of a map or array; every element takes a byte at least, so a count above what is left is
 * a lie. */
static uint32_t take_count(CanonReader *r, uint8_t small, uint8_t wide, unsigned bytes_each)
{
    uint8_t head = take_byte(r);
    uint64_t count;
    if ((head & 0xf0) == small)
        count = head & 0x0f;
    else if (head == wide)
        count = take_be(r, 2, 16);
    else if (head == wide + 1)
        count = take_be(r, 4, UINT16_MAX + 1ull);
    else
        return (uint32_t)fail(r);
    return count * bytes_each > r->left ? (uint32_t)fail(r) : (uint32_t)count;
}

uint32_t canon_read_map(CanonReader *r)
{
    return take_count(r, 0x80, 0xde, 2);
}

uint32_t canon_read_array(CanonReader *r)
{
    return take_count(r, 0x90, 0xdc, 1);
}

uint64_t canon_read_uint(CanonReader *r)
{
    uint8_t head = take_byte(r);
    if (head < 0x80)
        return head;
    if (head == 0xcc)
        return take_be(r, 1, 0x80);
    if (head == 0xcd)
        return take_be(r, 2, 0x100);
    if (head == 0xce)
        return take_be(r, 4, 0x10000);
    if (head == 0xcf)
        return take_be(r, 8, 0x100000000);
    return fail(r);
}

static int64_t take_negative(CanonReader *r, unsigned width, int64_t below)
{
    uint64_t raw = take_be(r, width, 0);
    unsigned shift = 64 - 8 * width;
    int64_t value = (int64_t)(raw << shift) >> shift;
    return value >= below ? (int64_t)fail(r) : value;
}

int64_t canon_read_int(CanonReader *r)
{
    uint8_t head = r->left > 0 ? *r->at : 0;
    if (head < 0x80 || (head >= 0xcc && head <= 0xcf)) {
        uint64_t value = canon_read_uint(r);
        return value > INT64_MAX ? (int64_t)fail(r) : (int64_t)value;
    }
    take_byte(r);
    if (head >= 0xe0)
        return (int8_t)head;
    if (head == 0xd0)
        return take_negative(r, 1, -32);
    if (head == 0xd1)
        return take_negative(r, 2, INT8_MIN);
    if (head == 0xd2)
        return take_negative(r, 4, INT16_MIN);
    if (head == 0xd3)
        return take_negative(r, 8, INT32_MIN);
    return (int64_t)fail(r);
}

Slice canon_read_bin(CanonReader *r)
{
    uint8_t head = take_byte(r);
    uint64_t len = 0;
    if (head == 0xc4)
        len = take_be(r, 1, 0);
    else if (head == 0xc5)
        len = take_be(r, 2, 0x100);
    else if (head == 0xc6)
        len = take_be(r, 4, 0x10000);
    else
        fail(r);
    if (r->bad || len > r->left) {
        fail(r);
        return (Slice){0};
    }
    Slice bytes = {r->at, (size_t)len};
    r->at += len;
    r->left -= (size_t)len;
    return bytes;
}

bool canon_read_exact(CanonReader *r, uint8_t *out, size_t len)
{
    Slice bytes = canon_read_bin(r);
    if (r->bad || bytes.len != len) {
        fail(r);
        memset(out, 0, len);
        return false;
    }
    memcpy(out, bytes.at, len);
    return true;
}

uint64_t canon_read_key(CanonReader *r, uint64_t *last)
{
    uint64_t key = canon_read_uint(r);
    if (!r->bad && key <= *last)
        fail(r);
    *last = key;
    return r->bad ? 0 : key;
}

static void skip_value(CanonReader *r, unsigned depth)
{
    uint8_t head = r->left > 0 ? *r->at : 0xc1;
    bool map = (head & 0xf0) == 0x80 || head == 0xde || head == 0xdf;
    bool array = (head & 0xf0) == 0x90 || head == 0xdc || head == 0xdd;
    if (depth == 0) {
        fail(r);
    } else if (map || array) {
        uint64_t count = map ? 2ull * canon_read_map(r) : canon_read_array(r);
        for (uint64_t i = 0; i < count && !r->bad; i++)
            skip_value(r, depth - 1);
    } else if (head >= 0xc4 && head <= 0xc6) {
        canon_read_bin(r);
    } else {
        canon_read_int(r);
    }
}

/* An unsigned value above INT64_MAX is refused too: no record of ours has one. */
void canon_skip(CanonReader *r)
{
    skip_value(r, CANON_DEPTH);
}

bool canon_done(const CanonReader *r)
{
    return !r->bad && r->left == 0;
}
