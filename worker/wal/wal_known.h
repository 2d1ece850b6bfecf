/* SPDX-License-Identifier: Apache-2.0
 * wal_known.h — which files of one server's log the committed batches of a repository hold. What
 * was read once is kept in a file between two calls, so that each opens only the manifests it has
 * not seen; a batch whose marker went is forgotten. The file only saves reading: one that is gone,
 * damaged or of another log is as good as none. */
#ifndef WORKER_WAL_WAL_KNOWN_H
#define WORKER_WAL_WAL_KNOWN_H

#include "common/repo/repo.h"
#include "worker/engine/postgresql_replication.h"

#include <jansson.h>

enum { WAL_SOURCE_MOST = 128, WAL_SYSTEM = 24, WAL_ENTRY_MOST = 64 };

typedef struct WalKnown {
    char source[WAL_SOURCE_MOST]; /* whose backups are the batches: NAME-wal */
    char system[WAL_SYSTEM];
    char repository[UUID_TEXT];
    json_t *batches; /* by the backup's uuid: "log" of its receipt; null: no batch of this log */
    bool changed;
    Uuid newest;       /* batch; nil: none */
    Uuid unreadable;   /* the newest committed backup whose manifest does not open; nil: none */
    Err unreadable_as; /* why */
} WalKnown;

typedef struct WalSegment {
    Uuid batch;
    char entry[WAL_ENTRY_MOST]; /* its name in the batch, with ".partial" where it is a part */
    uint32_t timeline;
    uint64_t start, end, segment_bytes;
    Sha256 sha256; /* of start to end */
} WalSegment;

/* folder: a directory for the file; no file of this log: empty. */
void wal_known_load(WalKnown *out, int folder, const char *source, const char *system,
                    const Uuid *repository);
/* Looks at what the repository has now. A manifest that does not open fails nothing here. */
MUST_CHECK bool wal_known_refresh(WalKnown *known, Repo *repo, Err *err);
MUST_CHECK bool wal_known_save(WalKnown *known, int folder, Err *err);
void wal_known_free(WalKnown *known);

/* The longest that is stored of it, in the newest batch. */
bool wal_known_find(const WalKnown *known, const char *segment, WalSegment *out);
/* Is log stored that lies behind this segment, which is not: on its timeline, or on one that left
 * it behind there? Then this one is a hole, and not the end. */
bool wal_known_behind(const WalKnown *known, const char *segment, WalSegment *out);
/* The n-th newest batch of which this timeline was the server's own; false: there are no more. */
bool wal_known_history(const WalKnown *known, uint32_t timeline, unsigned n, Uuid *batch);
/* May a batch that does not open hold what comes after all that is known? */
bool wal_known_blind(const WalKnown *known);

#endif
