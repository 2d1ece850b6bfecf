/* SPDX-License-Identifier: Apache-2.0
 * entry_copy.h — an entry that owns its strings, to be handed to another thread. */
#ifndef WORKER_JOB_ENTRY_COPY_H
#define WORKER_JOB_ENTRY_COPY_H

#include "protocol/entry.h"

typedef struct EntryCopy EntryCopy;

EntryCopy *entry_copy_new(const Entry *entry);
const Entry *entry_copy_entry(const EntryCopy *copy);
/* The same under another path and type: a hard link whose first name is not wanted. */
void entry_copy_rename(EntryCopy *copy, Text path);
void entry_copy_free(EntryCopy *copy); /* NULL is fine */

#endif
