/* SPDX-License-Identifier: Apache-2.0
 * diff.h — what differs between two backups.
 * Equal parts of two trees are equal pages, and equal pages are one chunk: what both backups name
 * is never opened, so the cost is that of what changed. */
#ifndef COMMON_REPO_DIFF_H
#define COMMON_REPO_DIFF_H

#include "common/repo/reader.h"

/* One path. before NULL: it was added; after NULL: it was removed. */
typedef struct DiffEntry {
    const Entry *before, *after;
    bool content; /* its bytes differ; else only what is said of it does */
} DiffEntry;

/* Lends the entries for the call, paths ascending. *stop ends the comparison without failure. */
typedef bool DiffVisit(void *ctx, const DiffEntry *entry, bool *stop, Err *err);

/* The two may be of different repositories of one key set. selection as for reader_walk. */
MUST_CHECK bool diff_run(RepoReader *before, RepoReader *after, const ReaderSelection *selection,
                         DiffVisit *visit, void *ctx, Err *err);

#endif
