/* SPDX-License-Identifier: Apache-2.0
 * spool.h — a backup that is stored whole and lacks nothing but its COMMIT, as text on this host's
 * disk (worker/job/note.h). The job writes it before it asks for the commit and removes it when the
 * catalogue has answered. What killed the job in between costs nothing then: its worker's parent,
 * or the worker's next start, asks for the same commit under the same fence. ■ The fence alone
 * decides, as ever: while the lease stands the answer is OK or ALREADY; when somebody was given the
 * job meanwhile it is FENCED, and that attempt takes over the packs. Without a note (another host,
 * a cache that vanished, a full disk) the next attempt does the same at the price of reading again.
 */
#ifndef WORKER_JOB_SPOOL_H
#define WORKER_JOB_SPOOL_H

#include "common/catalog/catalog_backup.h"

#include <jansson.h>

#define SPOOL_NOTES "commits"

/* worker: its name in the catalogue; the note is for nobody else. */
void spool_text(const char *worker, const Fence *fence, const BackupRow *row, Buf *out);

typedef struct Spooled {
    Fence fence;
    BackupRow row; /* points into the rest */
    json_t *tree;
    uint64_t *pack_nos;
    BackupItem *items;
} Spooled;

/* *mine false: it is another worker's, and *out is empty. Freed by spool_free. */
MUST_CHECK bool spool_read(const char *worker, Text text, Spooled *out, bool *mine, Err *err);
void spool_free(Spooled *spooled);

#endif
