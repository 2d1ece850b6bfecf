/* SPDX-License-Identifier: Apache-2.0
 * files_xattr.h — extended attributes and POSIX ACLs of one entry, without opening it.
 * Reading goes by the l-calls, which do not follow a symbolic link and need no right to the content
 * but know paths only: /proc/self/fd/<directory>/<name>, or the name alone for a thread that stands
 * in the directory. ACLs are the attributes system.posix_acl_access
 * and system.posix_acl_default; other system.* names are the kernel's own and left out. */
#ifndef WORKER_ENGINE_FILES_XATTR_H
#define WORKER_ENGINE_FILES_XATTR_H

#include "common/base/buf.h"
#include "protocol/entry.h"

typedef struct FilesXattr {
    Buf bytes; /* names and values; the attributes point into it */
    EntryAttribute *list;
    size_t count, room;
    bool unsure; /* there may be others: the file system has none, or did not tell */
} FilesXattr;

void files_xattr_free(FilesXattr *set);

/* Replaces what the set held; sorted by name, so that the record is the same from run to run. False
 * with errno set. A file system without attributes has none. */
bool files_xattr_read(FilesXattr *set, const char *path);

/* Writes "/proc/self/fd/<directory>/<name>" for calls that know paths only. */
enum { FILES_XATTR_PATH = 300 };
void files_xattr_path(int directory, const char *name, char out[FILES_XATTR_PATH]);

#endif
