/* SPDX-License-Identifier: Apache-2.0
 * files_stand.h — the extended attributes of what a walk found, asked for cheaply.
 * Attributes of a name that is not open can only be asked for by a path, and a path through /proc
 * costs as much as all the rest of a look at a file. So the asking thread takes a working directory
 * of its own and stands in the directory it asks about; the first thread of a process, whose
 * working directory is everybody's, goes through /proc. Of one thread, until files_stand_leave. */
#ifndef WORKER_ENGINE_FILES_STAND_H
#define WORKER_ENGINE_FILES_STAND_H

#include "worker/engine/files_walk.h"
#include "worker/engine/files_xattr.h"

typedef struct FilesStand {
    bool asked, own;    /* whether this thread has a directory of its own */
    FilesDirectory *in; /* kept while the thread stands in it */
} FilesStand;           /* zeroed is ready */

/* 0, or an errno: then what could be read is in `out`. */
int files_stand_look(FilesStand *stand, const FilesFound *found, FilesXattr *out);
void files_stand_leave(FilesStand *stand); /* any thread */

#endif
