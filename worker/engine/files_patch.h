/* SPDX-License-Identifier: Apache-2.0
 * files_patch.h — makes one file that is there equal to what comes, and writes only what differs.
 * Both are compared in pages of 8 KiB, byte by byte. What cannot be read is written anew. Of one
 * thread at a time. */
#ifndef WORKER_ENGINE_FILES_PATCH_H
#define WORKER_ENGINE_FILES_PATCH_H

#include "protocol/bytes.h"

typedef struct FilesPatch {
    int fd;           /* open for reading and writing; the caller's */
    uint64_t at, was; /* how far, and how long the file was */
    uint64_t written; /* bytes that differed */
    bool changed;     /* something of it did, or its length */
    uint8_t *window;
} FilesPatch;

void files_patch_begin(FilesPatch *patch, int fd, uint64_t size);

/* All of these: false with errno set. */
bool files_patch_write(FilesPatch *patch, Slice bytes);
bool files_patch_zeros(FilesPatch *patch, uint64_t count); /* a hole where there is no other */
bool files_patch_end(FilesPatch *patch);                   /* what is too long is cut off */

void files_patch_free(FilesPatch *patch); /* the window */

#endif
