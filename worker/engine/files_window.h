/* SPDX-License-Identifier: Apache-2.0
 * files_window.h — a directory's names in order, in bounded memory.
 * A window holds the smallest keys above those that were taken. A key is a name; a directory has a
 * second key, its name with '/' behind it, for what lies below: so "a", "a-b", "a/x" come out in
 * the bytewise order of whole paths. What does not fit the budget is left for the next filling,
 * which reads the directory again: a directory of ten million names costs passes, not memory. */
#ifndef WORKER_ENGINE_FILES_WINDOW_H
#define WORKER_ENGINE_FILES_WINDOW_H

#include "common/base/buf.h"

typedef struct FilesWindow {
    Buf names;      /* records: u16 length, bytes */
    uint32_t *keys; /* offsets of records, sorted */
    size_t count, room, at;
    Buf last;  /* the highest key taken or dropped so far */
    Buf bound; /* keys from here on did not fit */
    bool bounded;
} FilesWindow;

void files_window_free(FilesWindow *window); /* releases and zeroes; an empty one is fine */

/* Adds one key by hand: for the roots of a walk. */
void files_window_add(FilesWindow *window, Text key);
void files_window_sort(FilesWindow *window);

/* Reads the directory behind fd. False with errno set. */
bool files_window_fill(FilesWindow *window, int fd, size_t budget);

/* The next key, in order; valid until the next fill or free. False when the window is empty: then
 * files_window_done says whether another filling is needed. */
bool files_window_take(FilesWindow *window, Text *key);
bool files_window_done(const FilesWindow *window);

#endif
