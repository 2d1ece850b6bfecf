/* SPDX-License-Identifier: Apache-2.0
 * plain_tar.h — a backup of files as a tar stream that GNU tar and bsdtar unpack.
 * POSIX pax: what does not fit the old header (long paths, large files, fractions of seconds,
 * extended attributes) goes into extended headers in front. */
#ifndef WORKER_JOB_PLAIN_TAR_H
#define WORKER_JOB_PLAIN_TAR_H

#include "common/repo/reader.h"

/* fd is written to, not closed; gzip: compressed on the way, the same bytes each time. A damaged
 * content ends the stream with an error, and without the two empty blocks at its end: it never
 * looks whole. */
MUST_CHECK bool plain_tar_write(RepoReader *reader, const ReaderSelection *selection, int fd,
                                bool gzip, uint64_t *entries, Err *err);

#endif
