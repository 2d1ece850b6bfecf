/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/engine/files_grown.h"

#include "common/base/mem.h"

#include <errno.h>
#include <unistd.h>
#include <zlib.h>

enum { PIECE = 256 * 1024, ZEROS = 16 * 1024 };

uint32_t files_grown_add(uint32_t sum, const uint8_t *at, size_t len)
{
    return (uint32_t)crc32_z(sum, at, len);
}

uint32_t files_grown_zeros(uint32_t sum, uint64_t count)
{
    static const uint8_t zeros[ZEROS];
    for (; count > ZEROS; count -= ZEROS)
        sum = files_grown_add(sum, zeros, ZEROS);
    return files_grown_add(sum, zeros, (size_t)count);
}

bool files_grown_sum(int fd, uint64_t length, const EngineHost *host, uint32_t *sum)
{
    uint8_t *piece = mem_array(uint8_t, PIECE);
    *sum = 0;
    uint64_t at = 0;
    while (at < length && !host->cancelled(host->ctx)) {
        ssize_t got =
            pread(fd, piece, length - at < PIECE ? (size_t)(length - at) : PIECE, (off_t)at);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            break;
        *sum = files_grown_add(*sum, piece, (size_t)got);
        at += (uint64_t)got;
    }
    mem_free(piece);
    return at == length;
}
