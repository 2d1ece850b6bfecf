/* SPDX-License-Identifier: Apache-2.0
 * files_bulk.h — the content of one file on its way to the disk.
 * A large file goes around the page cache, from one aligned window that is used again: bytes that
 * are written once and not read are copied and kept by the kernel for nothing, which costs several
 * times what the disk does. A small file goes through the cache, as its blocks are written together
 * with others'. Zeros become holes. Of one thread at a time. */
#ifndef WORKER_ENGINE_FILES_BULK_H
#define WORKER_ENGINE_FILES_BULK_H

#include "protocol/bytes.h"

typedef struct FilesBulk {
    int fd;
    bool direct;     /* whole blocks only, from the window */
    bool holes;      /* the file's end may be behind what was written */
    uint8_t *window; /* NULL: not needed so far */
    uint64_t at;     /* where the window's first byte belongs */
    size_t fill;     /* of it */
} FilesBulk;

/* Starts a file of about so many bytes; it is empty. Whatever was begun before is forgotten. */
void files_bulk_begin(FilesBulk *bulk, int fd, uint64_t size);

/* All of these: false with errno set. */
bool files_bulk_write(FilesBulk *bulk, const uint8_t *at, size_t len);
bool files_bulk_zeros(FilesBulk *bulk, uint64_t count);
bool files_bulk_end(FilesBulk *bulk); /* what is left, and the file's length */

void files_bulk_free(FilesBulk *bulk); /* the window; the descriptor is the caller's */

#endif
