/* SPDX-License-Identifier: Apache-2.0
 * files_beneath.h — opening by path without ever leaving a directory.
 * Every part is resolved by openat2 with RESOLVE_BENEATH, NO_SYMLINKS and NO_MAGICLINKS: a symbolic
 * link in any part, put there before or while this runs, makes the call fail instead of leading
 * elsewhere. Paths longer than PATH_MAX are walked in pieces. */
#ifndef WORKER_ENGINE_FILES_BENEATH_H
#define WORKER_ENGINE_FILES_BENEATH_H

#include "protocol/err.h"

/* A descriptor, or -1 with errno set; ELOOP says that a part is a symbolic link. The empty path is
 * the directory itself. O_CLOEXEC is added. */
int files_beneath_open(int directory, Text path, int flags);

/* The same from "/", for an absolute path; trailing slashes do not count. */
int files_beneath_open_absolute(Text path, int flags);

/* May this path be made beneath a restore target? No empty part, no "." or "..", no leading or
 * trailing slash, no NUL, no part over 255 bytes. The error names the entry. */
MUST_CHECK bool files_beneath_check(Text path, Err *err);

/* Splits "a/b/c" into "a/b" and "c"; a path of one part has an empty directory. */
void files_beneath_split(Text path, Text *directory, Text *name);

#endif
