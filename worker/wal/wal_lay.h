/* SPDX-License-Identifier: Apache-2.0
 * wal_lay.h — puts one file of a server's log under its name: looked through, durable, whole, by a
 * rename. What does not hold is refused and leaves nothing. */
#ifndef WORKER_WAL_WAL_LAY_H
#define WORKER_WAL_WAL_LAY_H

#include "common/repo/reader.h"
#include "worker/wal/wal_known.h"

/* Where a file goes. */
typedef struct WalLay {
    int folder;
    const char *name; /* in the folder */
    const char *file; /* what the server calls it: a segment's pages are held against it */
    const char *system;
} WalLay;

/* A segment or history that lies open in `from`. */
MUST_CHECK bool wal_lay_file(const WalLay *lay, int from, Err *err);
/* Out of a batch; a segment that is stored in part is filled up with zeros. history: segment is
 * NULL; found false: the batch has no such entry. */
MUST_CHECK bool wal_lay_stored(const WalLay *lay, Repo *repo, RepoLocator *locator,
                               const Uuid *batch, const WalSegment *segment, bool *found, Err *err);

#endif
