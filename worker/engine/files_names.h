/* SPDX-License-Identifier: Apache-2.0
 * files_names.h — the paths that hard links of this restore may name. Safe from several threads. */
#ifndef WORKER_ENGINE_FILES_NAMES_H
#define WORKER_ENGINE_FILES_NAMES_H

#include "protocol/bytes.h"

typedef struct FilesNames FilesNames;

FilesNames *files_names_new(void);
void files_names_free(FilesNames *names); /* NULL is fine */
void files_names_add(FilesNames *names, Text path);
bool files_names_has(FilesNames *names, Text path);

#endif
