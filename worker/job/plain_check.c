/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/job/plain_check.h"

#include "common/base/hash.h"
#include "common/base/mem.h"

#include <inttypes.h>
#include <stdlib.h>
#define ZLIB_CONST
#include <zlib.h>

enum {
    PIECE = 1 << 20,
    OUT = 256 * 1024,
    GZIP_WINDOW = 15 + 16,
    BLOCK = 512,
    PAX_MOST = 8 << 20, /* extended headers are read whole */
};

static const char SQL_END[] = "\n-- Holdfast export complete\n";

typedef struct Reading {
    const PlainCheck *check;
    z_stream inflater;
    bool inflating, ended;
    uint8_t *out;
    /* tar */
    uint8_t block[BLOCK];
    size_t filled;
    uint64_t skip;    /* content and its padding that follow */
    uint64_t content; /* of the two the content */
    uint64_t pax_left, next_size;
    Buf pax;
    uint64_t entries;
    unsigned zero_blocks;
    /* SQL */
    char tail[sizeof SQL_END];
    size_t tail_len;
} Reading;

/* --- SQL ------------------------------------------------------------------------------------ */

static void take_sql(Reading *reading, Slice bytes)
{
    size_t most = sizeof SQL_END - 1;
    if (bytes.len >= most) {
        memcpy(reading->tail, bytes.at + bytes.len - most, most);
        reading->tail_len = most;
        return;
    }
    size_t kept = reading->tail_len;
    if (kept + bytes.len > most)
        kept = most - bytes.len;
    memmove(reading->tail, reading->tail + reading->tail_len - kept, kept);
    memcpy(reading->tail + kept, bytes.at, bytes.len);
    reading->tail_len = kept + bytes.len;
}

/* --- tar ------------------------------------------------------------------------------------ */

static uint64_t octal(const uint8_t *at, size_t width)
{
    uint64_t value = 0;
    for (size_t i = 0; i < width && at[i] >= '0' && at[i] <= '7'; i++)
        value = value * 8 + (uint64_t)(at[i] - '0');
    return value;
}

static bool sum_is_right(const uint8_t *block)
{
    uint64_t sum = 8 * ' ';
    for (size_t i = 0; i < BLOCK; i++)
        if (i < 148 || i >= 156)
            sum += block[i];
    return sum == octal(block + 148, 8);
}

/* "30 size=12345678901\n" among the records of an extended header. */
static void read_pax(Reading *reading)
{
    const char *at = buf_cstr(&reading->pax), *end = at + reading->pax.len;
    while (at < end) {
        char *rest;
        unsigned long long len = strtoull(at, &rest, 10);
        if (len == 0 || *rest != ' ' || len > (size_t)(end - at))
            return;
        if (strncmp(rest + 1, "size=", 5) == 0)
            reading->next_size = strtoull(rest + 6, NULL, 10);
        at += len;
    }
}

static bool is_zero(const uint8_t *block)
{
    for (size_t i = 0; i < BLOCK; i++)
        if (block[i] != 0)
            return false;
    return true;
}

static bool take_header(Reading *reading, Err *why)
{
    const uint8_t *block = reading->block;
    uint64_t size = octal(block + 124, 12);
    if (is_zero(block)) {
        reading->zero_blocks++;
        return true;
    }
    if (reading->zero_blocks > 0 || !sum_is_right(block))
        return err_set(why, ERR_CORRUPT, "plain.damaged",
                       "the header of entry %" PRIu64 " of the archive is damaged",
                       reading->entries + 1);
    if (block[156] == 'x') {
        if (size > PAX_MOST)
            return err_set(why, ERR_CORRUPT, "plain.damaged",
                           "an extended header has %" PRIu64 " bytes", size);
        buf_clear(&reading->pax);
        reading->pax_left = size;
    } else {
        if (reading->next_size != UINT64_MAX)
            size = reading->next_size;
        reading->next_size = UINT64_MAX;
        reading->entries++;
    }
    reading->skip = (size + BLOCK - 1) / BLOCK * BLOCK;
    reading->content = size;
    return true;
}

static bool take_tar(Reading *reading, Slice bytes, Err *why)
{
    while (bytes.len > 0) {
        size_t some = bytes.len;
        if (reading->skip > 0) {
            if (some > reading->skip)
                some = (size_t)reading->skip;
            size_t kept = some < reading->pax_left ? some : (size_t)reading->pax_left;
            buf_add(&reading->pax, bytes.at, kept);
            size_t told = some < reading->content ? some : (size_t)reading->content;
            if (reading->check->sql && reading->pax_left == 0)
                take_sql(reading, (Slice){bytes.at, told});
            reading->content -= told;
            reading->pax_left -= kept;
            reading->skip -= some;
            if (kept > 0 && reading->pax_left == 0)
                read_pax(reading);
        } else {
            if (some > BLOCK - reading->filled)
                some = BLOCK - reading->filled;
            memcpy(reading->block + reading->filled, bytes.at, some);
            reading->filled += some;
            if (reading->filled == BLOCK) {
                reading->filled = 0;
                if (!take_header(reading, why))
                    return false;
            }
        }
        bytes = (Slice){bytes.at + some, bytes.len - some};
    }
    return true;
}

/* --- both ----------------------------------------------------------------------------------- */

static bool inflate_piece(Reading *reading, Slice bytes, Err *why)
{
    z_stream *z = &reading->inflater;
    z->next_in = bytes.at;
    z->avail_in = (uInt)bytes.len;
    while (z->avail_in > 0 || z->avail_out == 0) {
        if (reading->ended)
            return err_set(why, ERR_CORRUPT, "plain.damaged", "bytes follow its end");
        z->next_out = reading->out;
        z->avail_out = OUT;
        int answer = inflate(z, Z_NO_FLUSH);
        if (answer != Z_OK && answer != Z_STREAM_END && answer != Z_BUF_ERROR)
            return err_set(why, ERR_CORRUPT, "plain.damaged", "gunzip fails in it: %s",
                           z->msg == NULL ? "it is damaged" : z->msg);
        reading->ended = answer == Z_STREAM_END;
        Slice out = {reading->out, OUT - z->avail_out};
        if (!reading->check->tar)
            take_sql(reading, out);
        else if (!take_tar(reading, out, why))
            return false;
        if (answer == Z_BUF_ERROR || (reading->ended && z->avail_in == 0))
            break;
    }
    return true;
}

static bool judge(const Reading *reading, const Sha256 *sha256, Err *why)
{
    const PlainCheck *check = reading->check;
    if (!hash_equal(sha256->bytes, check->sha256->bytes, sizeof sha256->bytes))
        return err_set(why, ERR_CORRUPT, "plain.damaged", "its bytes are not those written");
    if (!reading->ended)
        return err_set(why, ERR_CORRUPT, "plain.damaged", "it ends early");
    if (check->sql && (reading->tail_len != sizeof SQL_END - 1 ||
                       memcmp(reading->tail, SQL_END, reading->tail_len) != 0))
        return err_set(why, ERR_CORRUPT, "plain.damaged", "the SQL does not end with its mark");
    if (!check->tar)
        return true;
    if (reading->zero_blocks < 2 || reading->skip > 0 || reading->filled > 0)
        return err_set(why, ERR_CORRUPT, "plain.damaged", "the archive does not end as one");
    return check->entries == 0 || check->entries == reading->entries ||
           err_set(why, ERR_CORRUPT, "plain.damaged",
                   "the archive has %" PRIu64 " entries where %" PRIu64 " were written",
                   reading->entries, check->entries);
}

static bool read_all(Reading *reading, HashSha256 *hash, uint8_t *piece, bool *whole, Err *why,
                     Err *err)
{
    const PlainCheck *check = reading->check;
    for (uint64_t at = 0; at < check->bytes && *whole;) {
        size_t some = check->bytes - at < PIECE ? (size_t)(check->bytes - at) : PIECE;
        if (!check->go_on(check->ctx, some, err) ||
            !store_get_range(check->store, check->name, at, some, piece, err))
            return false;
        hash_sha256_add(hash, (Slice){piece, some});
        *whole = inflate_piece(reading, (Slice){piece, some}, why);
        at += some;
    }
    return true;
}

bool plain_check(const PlainCheck *check, bool *whole, Err *why, Err *err)
{
    Sha256 sha256;
    bool found;
    uint64_t size;
    *whole = false;
    if (!store_head(check->store, check->name, &found, &size, err))
        return false;
    if (!found || size != check->bytes) {
        err_set(why, ERR_CORRUPT, "plain.damaged",
                "it has %" PRIu64 " bytes where %" PRIu64 " were written", found ? size : 0,
                check->bytes);
        return true;
    }
    Reading reading = {.check = check, .next_size = UINT64_MAX, .out = mem_resize(NULL, OUT)};
    HashSha256 *hash = hash_sha256_new();
    uint8_t *piece = mem_resize(NULL, PIECE);
    reading.inflating = inflateInit2(&reading.inflater, GZIP_WINDOW) == Z_OK;
    reading.inflater.avail_out = OUT;
    *whole = true;
    bool done = reading.inflating ? read_all(&reading, hash, piece, whole, why, err)
                                  : err_set(err, ERR_FULL, "plain.gunzip", "no memory");
    hash_sha256_end(hash, &sha256);
    *whole = done && *whole && judge(&reading, &sha256, why);
    inflateEnd(&reading.inflater);
    hash_sha256_free(hash);
    buf_free(&reading.pax);
    mem_free(reading.out);
    mem_free(piece);
    return done;
}
