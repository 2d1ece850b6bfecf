/* SPDX-License-Identifier: Apache-2.0
 * rebuild_internal.h — what the parts of a rebuild share. Private to worker/job/rebuild*.c. */
#ifndef WORKER_JOB_REBUILD_INTERNAL_H
#define WORKER_JOB_REBUILD_INTERNAL_H

#include "common/repo/locator.h"
#include "common/repo/survey.h"
#include "worker/job/rebuild.h"

#include <jansson.h>

enum { REBUILD_BATCH = 256, REBUILD_LISTED = 50 };

typedef struct RebuildCounts {
    uint64_t indexes, bad_indexes;
    uint64_t packs, chunks, strays, bad_strays; /* strays: in no index */
    uint64_t gone;                              /* packs that should be there and are not */
    uint64_t dead; /* packs that are not there and nobody needs: a collector took them */
    uint64_t holds;
    uint64_t verifications, proven, known_damaged; /* of audit/: checks, and what packs are worth */
    uint64_t imported, recovered, known, zombies, forgotten, bad, incomplete, lost, gaps;
} RebuildCounts;

typedef struct Rebuild {
    const RebuildParams *params;
    Rebuilder who;
    RebuildCounts counts;
    json_t *findings; /* the first few of each kind: {kind: [text, …]} */
} Rebuild;

/* One thing that somebody should know: in the log, and the first few in the report. */
void rebuild_find(Rebuild *rebuild, const char *kind, const char *format, ...) PRINTF_LIKE(3, 4);

/* The catalogue answered that it does not take a value of the object it was told of: a fault of
 * that object, which whoever may write could have made so. It is told by name, and the rest goes
 * on. */
bool rebuild_refused(const Err *err);

/* rebuild_packs.c */
MUST_CHECK bool rebuild_packs(Rebuild *rebuild, Err *err);
/* When all backups are told: which packs that are not there somebody misses. */
MUST_CHECK bool rebuild_missed(Rebuild *rebuild, Err *err);
/* Chunks as the catalogue has them by now. */
RepoLocator *rebuild_locator(Rebuild *rebuild);

/* rebuild_backups.c */
MUST_CHECK bool rebuild_backups(Rebuild *rebuild, Err *err);

/* rebuild_holds.c: after the backups that they are of. */
MUST_CHECK bool rebuild_holds(Rebuild *rebuild, Err *err);

/* rebuild_proofs.c: after the backups, and after what is gone is known. */
MUST_CHECK bool rebuild_proofs(Rebuild *rebuild, Err *err);

/* rebuild_facts.c: what the catalogue is told of one backup, as JSON. */
json_t *rebuild_facts(const SurveyBackup *backup, uint64_t missing);

#endif
