/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/job/unpack.h"

#include "common/base/mem.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#define ZLIB_CONST
#include <zlib.h>
#include <zstd.h>

enum {
    PIECE = 256 * 1024,
    GZIP_WINDOW = 15 + 16, /* zlib's way to say gzip */
    ZSTD_WINDOW_MOST = 27, /* 128 MiB, what zstd itself takes without being told to take more */
};

typedef enum Format { FORMAT_PLAIN, FORMAT_GZIP, FORMAT_ZSTD } Format;

struct Unpack {
    int fd;
    char *name;
    Format format;
    uint8_t *piece;
    size_t at, len;
    bool ended;  /* the file */
    bool inside; /* a member or frame began and has not ended */
    uint64_t done;
    z_stream gzip;
    bool gzip_open;
    ZSTD_DCtx *zstd;
};

static bool damaged(const Unpack *u, const char *why, Err *err)
{
    return err_set(err, ERR_CORRUPT, "file.damaged",
                   "%s is damaged after %" PRIu64 " bytes of content: %s; take another copy",
                   u->name, u->done, why);
}

static bool refill(Unpack *u, Err *err)
{
    memmove(u->piece, u->piece + u->at, u->len - u->at);
    u->len -= u->at;
    u->at = 0;
    while (!u->ended && u->len < PIECE) {
        ssize_t n = read(u->fd, u->piece + u->len, PIECE - u->len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return err_set_sys(err, ERR_IO, "file.read", "reading %s", u->name);
        u->ended = n == 0;
        u->len += (size_t)n;
    }
    return true;
}

static Format format_of(const uint8_t *at, size_t len)
{
    static const uint8_t gzip[] = {0x1f, 0x8b}, zstd[] = {0x28, 0xb5, 0x2f, 0xfd};
    if (len >= sizeof gzip && memcmp(at, gzip, sizeof gzip) == 0)
        return FORMAT_GZIP;
    return len >= sizeof zstd && memcmp(at, zstd, sizeof zstd) == 0 ? FORMAT_ZSTD : FORMAT_PLAIN;
}

bool unpack_open(Unpack **out, int fd, const char *name, Err *err)
{
    Unpack *u = mem_new(Unpack);
    u->fd = fd;
    u->name = mem_string(name);
    u->piece = mem_array(uint8_t, PIECE);
    bool fine = refill(u, err);
    u->format = format_of(u->piece, u->len);
    if (u->format == FORMAT_GZIP)
        u->gzip_open = inflateInit2(&u->gzip, GZIP_WINDOW) == Z_OK;
    if (u->format == FORMAT_ZSTD && (u->zstd = ZSTD_createDCtx()) != NULL)
        (void)ZSTD_DCtx_setParameter(u->zstd, ZSTD_d_windowLogMax, ZSTD_WINDOW_MOST);
    if (fine && ((u->format == FORMAT_GZIP && !u->gzip_open) ||
                 (u->format == FORMAT_ZSTD && u->zstd == NULL)))
        fine = err_set(err, ERR_FULL, "file.unpack", "no memory to unpack %s", name);
    if (fine) {
        *out = u;
        return true;
    }
    unpack_close(u);
    return false;
}

const char *unpack_format(const Unpack *u)
{
    return u->format == FORMAT_GZIP ? "gzip" : u->format == FORMAT_ZSTD ? "zstd" : "plain";
}

static bool read_gzip(Unpack *u, uint8_t *at, size_t room, size_t *got, Err *err)
{
    z_stream *z = &u->gzip;
    z->next_in = u->piece + u->at;
    z->avail_in = (uInt)(u->len - u->at);
    z->next_out = at;
    z->avail_out = (uInt)room;
    int answer = inflate(z, Z_NO_FLUSH);
    u->at = u->len - z->avail_in;
    *got = room - z->avail_out;
    u->inside = answer != Z_STREAM_END;
    if (answer == Z_STREAM_END)
        return inflateReset(z) == Z_OK || damaged(u, "it does not end as gzip", err);
    return answer == Z_OK || answer == Z_BUF_ERROR ||
           damaged(u, z->msg == NULL ? "it is no gzip" : z->msg, err);
}

static bool read_zstd(Unpack *u, uint8_t *at, size_t room, size_t *got, Err *err)
{
    ZSTD_inBuffer in = {u->piece, u->len, u->at};
    ZSTD_outBuffer out = {at, room, 0};
    size_t answer = ZSTD_decompressStream(u->zstd, &out, &in);
    u->at = in.pos;
    *got = out.pos;
    u->inside = answer != 0;
    return ZSTD_isError(answer) == 0 || damaged(u, ZSTD_getErrorName(answer), err);
}

static bool read_plain(Unpack *u, uint8_t *at, size_t room, size_t *got)
{
    *got = u->len - u->at < room ? u->len - u->at : room;
    memcpy(at, u->piece + u->at, *got);
    u->at += *got;
    return true;
}

/* Zeros behind the last member are what a tape or a disk filled up with. */
static bool only_zeros(const Unpack *u)
{
    for (size_t i = u->at; i < u->len; i++)
        if (u->piece[i] != 0)
            return false;
    return true;
}

bool unpack_read(Unpack *u, uint8_t *at, size_t room, size_t *got, Err *err)
{
    *got = 0;
    while (*got == 0) {
        if (u->len - u->at < PIECE / 2 && !refill(u, err))
            return false;
        bool empty = u->at == u->len;
        if (u->format != FORMAT_PLAIN && u->done > 0 && !u->inside && only_zeros(u)) {
            u->at = u->len;
            if (!u->ended)
                continue;
            return true;
        }
        if (empty && u->ended && !u->inside)
            return true;
        bool fine = u->format == FORMAT_GZIP   ? read_gzip(u, at, room, got, err)
                    : u->format == FORMAT_ZSTD ? read_zstd(u, at, room, got, err)
                                               : read_plain(u, at, room, got);
        if (!fine)
            return false;
        if (*got == 0 && empty && u->ended && u->inside)
            return damaged(u, "it ends early", err);
    }
    u->done += *got;
    return true;
}

void unpack_close(Unpack *u)
{
    if (u == NULL)
        return;
    if (u->gzip_open)
        inflateEnd(&u->gzip);
    ZSTD_freeDCtx(u->zstd);
    mem_free(u->piece);
    mem_free(u->name);
    mem_free(u);
}
