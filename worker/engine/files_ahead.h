/* SPDX-License-Identifier: Apache-2.0
 * files_ahead.h — the walk, some hundred entries ahead of whoever takes them.
 * To look at an unchanged tree has two halves: asking the file system what each name is, and
 * looking it up in yesterday's list. The first half runs in a thread of its own here. Attributes of
 * regular files are left to whoever finds that the file is not the one of yesterday's list. What
 * changes between the look and the reading is found by whoever reads. */
#ifndef WORKER_ENGINE_FILES_AHEAD_H
#define WORKER_ENGINE_FILES_AHEAD_H

#include "worker/engine/files_walk.h"
#include "worker/engine/files_xattr.h"

/* One entry; its directory stays open until the entry is given back by the next call. */
typedef struct FilesSeen {
    FilesFound found;
    Buf path; /* what found's texts lie in */
    FilesXattr xattr;
    bool looked;     /* at the attributes */
    int xattr_errno; /* 0: they are all here */
} FilesSeen;

typedef struct FilesAhead FilesAhead;

/* Takes what the walk yields from now on; until files_ahead_close the walk is its thread's alone,
 * which also raises the walk's issues. */
MUST_CHECK bool files_ahead_open(FilesAhead **out, FilesWalk *walk, Err *err);

/* The next entry, in the order of the walk; *seen NULL at the end. Valid until the next call. */
MUST_CHECK bool files_ahead_next(FilesAhead *ahead, FilesSeen **seen, Err *err);

void files_ahead_close(FilesAhead *ahead); /* ends the thread wherever it is; NULL is fine */

#endif
