/* SPDX-License-Identifier: Apache-2.0
 * files_lacks.h — what a restore leaves out of what the backup holds, because nobody asked for it
 * or because this user or the file system there cannot have it. Counted while it runs, from any
 * thread, and told at its end: once each, with the first path and how to have it. A file system
 * without attributes would else say so of every file. */
#ifndef WORKER_ENGINE_FILES_LACKS_H
#define WORKER_ENGINE_FILES_LACKS_H

#include "worker/engine/engine.h"

typedef enum FilesLack {
    FILES_LACK_DEVICE,   /* not asked for: these four */
    FILES_LACK_SETUID,   /* also where the owner is another than it was */
    FILES_LACK_SECURITY, /* attributes of security.* and trusted.* */
    FILES_LACK_OWNER,    /* it was somebody else's */
    FILES_LACK_ACL,      /* the file system has none: these three */
    FILES_LACK_ATTRIBUTE,
    FILES_LACK_FRACTION,       /* of the time */
    FILES_LACK_DEVICE_REFUSED, /* faults from here on */
    FILES_LACK_OWNER_REFUSED,
    FILES_LACK_ATTRIBUTE_REFUSED, /* also an access list */
    FILES_LACK_MODE,
    FILES_LACK_TIME,
    FILES_LACK_COUNT,
} FilesLack;

typedef struct FilesLacks FilesLacks;

FilesLacks *files_lacks_new(void);
void files_lacks_free(FilesLacks *lacks); /* NULL is fine */

/* sys: errno or 0. */
void files_lacks_add(FilesLacks *lacks, FilesLack lack, int sys, Text path);
uint64_t files_lacks_count(const FilesLacks *lacks, FilesLack lack);

/* An Issue of each kind that was met. How many of these are no notes. */
uint64_t files_lacks_tell(const FilesLacks *lacks, const EngineHost *host);

/* How many of each: {"devices", "setuid", "attributes", "owners"}. */
json_t *files_lacks_report(const FilesLacks *lacks);

#endif
