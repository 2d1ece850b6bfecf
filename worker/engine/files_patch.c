/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/engine/files_patch.h"

#include "common/base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PAGE = 8192, WINDOW = 32 * PAGE };

void files_patch_begin(FilesPatch *patch, int fd, uint64_t size)
{
    uint8_t *window = patch->window == NULL ? mem_array(uint8_t, WINDOW) : patch->window;
    *patch = (FilesPatch){.fd = fd, .was = size, .window = window};
}

/* How much of the next `len` bytes is there, into the window. */
static size_t read_old(FilesPatch *patch, size_t len)
{
    size_t have = 0;
    if (patch->at >= patch->was)
        return 0;
    while (have < len) {
        ssize_t got = pread(patch->fd, patch->window + have, len - have, (off_t)(patch->at + have));
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            break;
        have += (size_t)got;
    }
    return have;
}

static bool put(FilesPatch *patch, const uint8_t *bytes, size_t len, uint64_t at)
{
    patch->changed = true;
    patch->written += len;
    while (len > 0) {
        ssize_t done = pwrite(patch->fd, bytes, len, (off_t)at);
        if (done < 0 && errno == EINTR)
            continue;
        if (done < 0)
            return false;
        bytes += done;
        len -= (size_t)done;
        at += (uint64_t)done;
    }
    return true;
}

/* Of a piece from `at`: to the end of its page. */
static size_t page_of(uint64_t at, size_t left)
{
    size_t to_end = PAGE - (size_t)(at % PAGE);
    return to_end < left ? to_end : left;
}

/* A run of pages that differ is one write. */
static bool write_piece(FilesPatch *patch, Slice piece)
{
    size_t have = read_old(patch, piece.len), from = 0, at = 0;
    while (at < piece.len) {
        size_t page = page_of(patch->at + at, piece.len - at);
        bool same = at + page <= have && memcmp(patch->window + at, piece.at + at, page) == 0;
        if (same && from < at && !put(patch, piece.at + from, at - from, patch->at + from))
            return false;
        at += page;
        from = same ? at : from;
    }
    if (from < at && !put(patch, piece.at + from, at - from, patch->at + from))
        return false;
    patch->at += piece.len;
    return true;
}

bool files_patch_write(FilesPatch *patch, Slice bytes)
{
    while (bytes.len > 0) {
        Slice piece = {bytes.at, bytes.len < WINDOW ? bytes.len : WINDOW};
        if (!write_piece(patch, piece))
            return false;
        bytes = (Slice){bytes.at + piece.len, bytes.len - piece.len};
    }
    return true;
}

/* Behind the old end there is nothing to write: the file's length makes it zeros. */
bool files_patch_zeros(FilesPatch *patch, uint64_t count)
{
    static const uint8_t zeros[WINDOW];
    while (count > 0 && patch->at < patch->was) {
        uint64_t left = patch->was - patch->at;
        size_t part = WINDOW;
        part = left < part ? (size_t)left : part;
        part = count < part ? (size_t)count : part;
        if (!write_piece(patch, (Slice){zeros, part}))
            return false;
        count -= part;
    }
    patch->at += count;
    return true;
}

bool files_patch_end(FilesPatch *patch)
{
    struct stat about;
    if (fstat(patch->fd, &about) != 0)
        return false;
    if ((uint64_t)about.st_size == patch->at)
        return true;
    patch->changed = true;
    return ftruncate(patch->fd, (off_t)patch->at) == 0;
}

void files_patch_free(FilesPatch *patch)
{
    mem_free(patch->window);
    *patch = (FilesPatch){.fd = -1};
}
