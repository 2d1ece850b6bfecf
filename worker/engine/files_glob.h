/* SPDX-License-Identifier: Apache-2.0
 * files_glob.h — which paths a pattern names, after the rules of .gitignore.
 * "*.tmp" has no slash: it names entries of any depth by their last part. "node_modules/" ends in a
 * slash: directories only. "/cache" and "var/cache" hold another slash: the whole path is compared.
 * "*" and "?" stop at a slash, "**" between slashes is any number of parts, "[a-z]" and "[!a-z]"
 * are sets of bytes, "\" takes the next byte as it is, "!" in front takes a path back. The last
 * pattern that fits decides. Everything is bytes: no locale, no case folding. Matching takes time
 * bounded by (pattern length × path length), whatever the pattern. */
#ifndef WORKER_ENGINE_FILES_GLOB_H
#define WORKER_ENGINE_FILES_GLOB_H

#include "protocol/err.h"

typedef struct FilesGlob FilesGlob;

FilesGlob *files_glob_new(void);
void files_glob_free(FilesGlob *globs); /* NULL is fine */

/* Refuses an empty pattern and a set that is not closed. */
MUST_CHECK bool files_glob_add(FilesGlob *globs, Text pattern, Err *err);
size_t files_glob_count(const FilesGlob *globs);

/* Does the last fitting pattern name this path? `path` is seen from the root of the tree, `full` is
 * the same entry seen from "/"; a pattern with a slash may name either. Neither has a leading or
 * trailing slash. */
bool files_glob_match(const FilesGlob *globs, Text path, Text full, bool is_directory);

#endif
