/* SPDX-License-Identifier: Apache-2.0
 * files_dirs.h — what the directories of a restore must become when everything is in them.
 * Until then they are 0700 and their times move with every name made. The list lives in memory up
 * to a bound, then in a nameless file of the attempt's scratch directory. Safe from several threads
 * while it is added to. */
#ifndef WORKER_ENGINE_FILES_DIRS_H
#define WORKER_ENGINE_FILES_DIRS_H

#include "protocol/entry.h"
#include "protocol/err.h"

typedef struct FilesDirs FilesDirs;

FilesDirs *files_dirs_new(const char *scratch); /* NULL: stay in memory */
void files_dirs_free(FilesDirs *dirs);          /* NULL is fine */

/* Copies what counts of the entry: path, mode, owner, mtime, attributes. implied: made because
 * something below needed it, without an entry of its own so far. */
MUST_CHECK bool files_dirs_add(FilesDirs *dirs, const Entry *entry, bool implied, Err *err);

/* Children before parents; an implied row is left out where there is a real one. */
typedef bool FilesDirsVisit(void *ctx, const Entry *entry, bool implied, Err *err);
MUST_CHECK bool files_dirs_each(FilesDirs *dirs, FilesDirsVisit *visit, void *ctx, Err *err);

#endif
