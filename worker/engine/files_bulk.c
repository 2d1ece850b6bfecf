/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/engine/files_bulk.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    BLOCK = 4096,         /* direct writes start, end and lie at multiples of it, on any device */
    WINDOW = 1024 * 1024, /* a write that keeps a disk busy */
    DIRECT_FROM = 256 * 1024,
    HOLE_FROM = 64 * 1024, /* shorter runs of zeros are written */
};

void files_bulk_begin(FilesBulk *bulk, int fd, uint64_t size)
{
    *bulk = (FilesBulk){.fd = fd, .window = bulk->window};
    if (size < DIRECT_FROM || fcntl(fd, F_SETFL, O_DIRECT) != 0)
        return;
    if (bulk->window == NULL && posix_memalign((void **)&bulk->window, BLOCK, WINDOW) != 0)
        abort();
    bulk->direct = true;
}

static void through_the_cache(FilesBulk *bulk)
{
    bulk->direct = false;
    fcntl(bulk->fd, F_SETFL, 0);
}

static bool write_at(FilesBulk *bulk, const uint8_t *at, size_t len, uint64_t offset)
{
    while (len > 0) {
        ssize_t wrote = pwrite(bulk->fd, at, len, (off_t)offset);
        if (wrote < 0 && errno == EINTR)
            continue;
        if (wrote < 0 && errno == EINVAL && bulk->direct) {
            through_the_cache(bulk); /* this file system has no direct writes */
            continue;
        }
        if (wrote < 0)
            return false;
        if (bulk->direct && wrote % BLOCK != 0)
            through_the_cache(bulk);
        at += wrote;
        offset += (uint64_t)wrote;
        len -= (size_t)wrote;
    }
    return true;
}

/* Whole blocks of the window; what is behind them moves to its front. */
static bool flush(FilesBulk *bulk)
{
    size_t whole = bulk->fill - bulk->fill % BLOCK;
    if (!write_at(bulk, bulk->window, whole, bulk->at))
        return false;
    bulk->at += whole;
    bulk->fill -= whole;
    memmove(bulk->window, bulk->window + whole, bulk->fill);
    return true;
}

bool files_bulk_write(FilesBulk *bulk, const uint8_t *at, size_t len)
{
    if (!bulk->direct && bulk->fill == 0) {
        if (!write_at(bulk, at, len, bulk->at))
            return false;
        bulk->at += len;
        return true;
    }
    while (len > 0) {
        size_t part = WINDOW - bulk->fill < len ? WINDOW - bulk->fill : len;
        memcpy(bulk->window + bulk->fill, at, part);
        bulk->fill += part;
        at += part;
        len -= part;
        if (bulk->fill == WINDOW && !flush(bulk))
            return false;
    }
    return true;
}

static bool write_zeros(FilesBulk *bulk, size_t count)
{
    static const uint8_t zeros[BLOCK];
    while (count > 0) {
        size_t part = count < BLOCK ? count : BLOCK;
        if (!files_bulk_write(bulk, zeros, part))
            return false;
        count -= part;
    }
    return true;
}

/* A hole of whole blocks, with written zeros before and behind it. */
bool files_bulk_zeros(FilesBulk *bulk, uint64_t count)
{
    if (count < HOLE_FROM)
        return write_zeros(bulk, (size_t)count);
    uint64_t end = bulk->at + bulk->fill + count;
    size_t lead = (BLOCK - (size_t)((bulk->at + bulk->fill) % BLOCK)) % BLOCK;
    if (!write_zeros(bulk, lead) || (bulk->fill > 0 && !flush(bulk)))
        return false;
    bulk->at = end - end % BLOCK;
    bulk->holes = true;
    return write_zeros(bulk, (size_t)(end % BLOCK));
}

bool files_bulk_end(FilesBulk *bulk)
{
    uint64_t size = bulk->at + bulk->fill;
    if (bulk->fill > 0) {
        size_t padded = bulk->direct ? (bulk->fill + BLOCK - 1) / BLOCK * BLOCK : bulk->fill;
        memset(bulk->window + bulk->fill, 0, padded - bulk->fill);
        bulk->holes |= padded != bulk->fill;
        if (!write_at(bulk, bulk->window, padded, bulk->at))
            return false;
    }
    bulk->fill = 0;
    return !bulk->holes || ftruncate(bulk->fd, (off_t)size) == 0;
}

void files_bulk_free(FilesBulk *bulk)
{
    free(bulk->window);
    *bulk = (FilesBulk){.fd = -1};
}
