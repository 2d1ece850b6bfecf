/* SPDX-License-Identifier: Apache-2.0
 * include.h — a YAML file and the files that its member `include` names, read from disk: paths or
 * shell patterns, each relative to the file that names it. Nothing above the first file's directory
 * is read, not through ".." and not through a link. Each file is read once, so a circle ends here;
 * telling it, and a path that names nothing, is for whoever understands the files. */
#ifndef COMMON_BASE_INCLUDE_H
#define COMMON_BASE_INCLUDE_H

#include "common/base/buf.h"

typedef struct IncludeFile {
    char *name; /* relative to the first file's directory, as "fleet.d/web.yaml" */
    Buf text;
} IncludeFile;

/* The first file is row 0, called by its last part. */
typedef struct IncludeFiles {
    char *directory; /* of the first file, "." at least */
    IncludeFile *rows;
    size_t count;
} IncludeFiles;

/* 1000 files and 32 MiB at most. "-" is standard input, which includes nothing. */
MUST_CHECK bool include_read(const char *path, IncludeFiles *out, Err *err);
void include_free(IncludeFiles *files);

#endif
