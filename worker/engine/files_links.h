/* SPDX-License-Identifier: Apache-2.0
 * files_links.h — which entry was the first of an inode with several names.
 * A row leaves when the last of its names was seen, and the table stops growing at a bound: beyond
 * it names become files of their own, which costs room in the backup and nothing else. */
#ifndef WORKER_ENGINE_FILES_LINKS_H
#define WORKER_ENGINE_FILES_LINKS_H

#include "protocol/bytes.h"

typedef struct FilesLinks FilesLinks;

typedef struct FilesInode {
    uint64_t device, inode;
} FilesInode;

FilesLinks *files_links_new(size_t budget); /* bytes; 0 for the default */
void files_links_free(FilesLinks *links);   /* NULL is fine */

/* Looks for the first path of this inode. When there is none, `path` becomes it: *first is empty
 * then. `names` is the inode's link count. False: the table is full, treat it as a single file. */
bool files_links_meet(FilesLinks *links, FilesInode inode, uint64_t names, Text path, Text *first);

/* The first path did not get into the backup: the next name is the first. */
void files_links_forget(FilesLinks *links, FilesInode inode);

#endif
