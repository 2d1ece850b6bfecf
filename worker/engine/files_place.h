/* SPDX-License-Identifier: Apache-2.0
 * files_place.h — making names beneath a restore target, and nowhere else.
 * Parents are opened by openat2 beneath the target's descriptor, made 0700 when they lack, and kept
 * for the next name. A new file has no name until its content is whole. What is there already is
 * never opened for writing: without `replace` it is an error, with it a new thing is renamed over
 * it. All failures are errno; ELOOP means a symbolic link stands where a directory should be. */
#ifndef WORKER_ENGINE_FILES_PLACE_H
#define WORKER_ENGINE_FILES_PLACE_H

#include "common/base/buf.h"
#include "worker/engine/files_dirs.h"

typedef struct FilesPlace {
    int root;
    bool replace;
    FilesDirs *dirs; /* told of every parent that was made without an entry */
} FilesPlace;

/* The directory of the last name; one a lane. */
typedef struct FilesParent {
    int fd; /* O_PATH, or -1 */
    Buf path;
    bool set;
} FilesParent;

void files_place_forget(FilesParent *parent);

/* The descriptor of this directory beneath the target, or -1. It stays the parent's. */
int files_place_parent(const FilesPlace *place, FilesParent *parent, Text directory);

/* Makes a directory 0700, or finds a real one that is there. */
bool files_place_directory(int parent, const char *name);

/* An open file without a name, 0600. temporary is "" where the file system can do that, else the
 * name it has meanwhile. */
enum { FILES_PLACE_TEMPORARY = 48 };
int files_place_create(int parent, char temporary[FILES_PLACE_TEMPORARY]);
bool files_place_publish(const FilesPlace *place, int parent, int fd, const char *temporary,
                         const char *name);
void files_place_discard(int parent, const char *temporary);

/* Things without content. `make` makes one under the name it is given. */
typedef int FilesPlaceMake(int parent, const char *name, const void *what);
bool files_place_make(const FilesPlace *place, int parent, const char *name, FilesPlaceMake *make,
                      const void *what);

/* Removes everything in the directory, without following anything; `keep` stays (may be NULL). */
bool files_place_clear(int directory, const char *keep);

#endif
