/* SPDX-License-Identifier: Apache-2.0
 * files_walk.h — everything beneath some roots, in bytewise path order.
 * The walk goes by descriptor: each step opens one name in a directory that is already open, never
 * through a symbolic link, so a tree that is rearranged while it is read cannot lead it elsewhere.
 * Memory is bounded by a budget and the depth, open descriptors by a constant. What cannot be read
 * becomes an Issue; only a missing root is an error. */
#ifndef WORKER_ENGINE_FILES_WALK_H
#define WORKER_ENGINE_FILES_WALK_H

#include "protocol/entry.h"
#include "protocol/err.h"
#include "worker/engine/files_glob.h"
#include "worker/engine/files_marks.h"

#include <sys/stat.h>

typedef struct FilesWalkParams {
    const Text *roots; /* absolute paths */
    size_t root_count;
    const FilesGlob *exclude;
    const FilesMarks *marks; /* of directories that are kept with nothing but their mark */
    bool one_file_system;    /* a mount point is an entry, what is mounted on it is not entered */
    size_t budget;           /* bytes for names; 0 for the default */
    void (*issue)(void *ctx, const Issue *issue);
    void *ctx;
} FilesWalkParams;

/* A directory of the walk that stays open while anybody keeps it. */
typedef struct FilesDirectory FilesDirectory;
void files_directory_keep(FilesDirectory *directory);
void files_directory_release(FilesDirectory *directory); /* any thread */

/* Valid until the next call. `directory` and `name` lead to the entry without any path. */
typedef struct FilesFound {
    Text path; /* absolute without the leading slash */
    size_t root;
    int directory;
    FilesDirectory *open; /* of `directory`; `name` is then the end of path. NULL: it is a root's,
                             which is open as long as the walk */
    const char *name;
    struct stat status;
} FilesFound;

typedef struct FilesWalk FilesWalk;

MUST_CHECK bool files_walk_open(FilesWalk **out, const FilesWalkParams *params, Err *err);
MUST_CHECK bool files_walk_next(FilesWalk *walk, FilesFound *found, bool *more, Err *err);
size_t files_walk_root_count(const FilesWalk *walk);
Text files_walk_root(const FilesWalk *walk, size_t root); /* without the leading slash */
uint64_t files_walk_excluded(const FilesWalk *walk);
void files_walk_close(FilesWalk *walk); /* NULL is fine */

#endif
