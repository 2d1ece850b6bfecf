/* SPDX-License-Identifier: Apache-2.0
 * plain_tar.h — a backup of files as a tar stream that GNU tar and bsdtar unpack.
 * POSIX pax: what does not fit the old header (long paths, large files, fractions of seconds,
 * extended attributes) goes into extended headers in front. Holes of a file stay holes: such a file
 * is one of GNU tar's sparse files (format 1.0), which GNU tar, bsdtar and Python unpack. */
#ifndef WORKER_JOB_PLAIN_TAR_H
#define WORKER_JOB_PLAIN_TAR_H

#include "common/repo/reader.h"

/* fd is written to, not closed; gzip: compressed on the way, the same bytes each time. A damaged
 * content ends the stream with an error, and without the two empty blocks at its end: it never
 * looks whole. */
MUST_CHECK bool plain_tar_write(RepoReader *reader, const ReaderSelection *selection, int fd,
                                bool gzip, uint64_t *entries, Err *err);

typedef struct PlainTar PlainTar; /* an archive that is being written */

/* An archive of one file, whose bytes nobody has yet but whose number is known. */
typedef struct PlainTarFile {
    Text name;
    uint64_t size;
    int64_t mtime_s;
    void *ctx;
    bool (*fill)(void *ctx, PlainTar *tar, Err *err); /* gives all of them */
} PlainTarFile;

/* Compressed, into fd. Other than `size` bytes are ERR_BUG, and no whole archive. */
MUST_CHECK bool plain_tar_file(const PlainTarFile *file, int fd, Err *err);
MUST_CHECK bool plain_tar_give(PlainTar *tar, Slice bytes, Err *err);

#endif
