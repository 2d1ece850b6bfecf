/* SPDX-License-Identifier: Apache-2.0
 * files_marks.h — directories that say of themselves that their content need not be kept.
 * `exclude_caches`: there is a file CACHEDIR.TAG in it that begins with the 43 bytes of the Cache
 * Directory Tagging Specification (bford.info/cachedir), which compilers, browsers and package
 * managers write. `exclude_if_present`: a list of names, one of which is there (".nobackup"). The
 * directory and the mark itself are kept, so that a restored cache is still known as one; what
 * somebody named as a path of the source is kept whole whatever lies in it. */
#ifndef WORKER_ENGINE_FILES_MARKS_H
#define WORKER_ENGINE_FILES_MARKS_H

#include "protocol/bytes.h"
#include "protocol/err.h"

#include <jansson.h>

typedef struct FilesMarks FilesMarks;

/* From the config of a source. NULL in *out: it asks for nothing of the kind. files.mark: a name
 * that is no name of a file. */
MUST_CHECK bool files_marks_new(FilesMarks **out, const json_t *config, Err *err);
void files_marks_free(FilesMarks *marks); /* NULL is fine */

/* The mark in this open directory, valid as long as marks; NULL: there is none, or no marks. */
const char *files_marks_found(const FilesMarks *marks, int directory);

#endif
