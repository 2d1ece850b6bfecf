/* SPDX-License-Identifier: Apache-2.0
 * orphans.h — looks for objects in a store that no row of the catalogue accounts for: what dead
 * attempts left, what a fenced one wrote after its packs were swept. It lists page by page and asks
 * in batches; memory does not grow with the store. A listing is only a hint: what it does not show
 * is seen another time. What is seen is written down; only what two scans saw a day apart goes to
 * quarantine/, weeks later it is deleted from there (quarantining.h). A marker of a backup that the
 * catalogue does not know, a repository that was set back or is frozen, or an epoch that is not the
 * confirmed one makes it a report alone. Objects that are not named like ours are reported, and
 * never touched. */
#ifndef WORKER_JOB_ORPHANS_H
#define WORKER_JOB_ORPHANS_H

#include "worker/job/quarantining.h"

#include <jansson.h>

typedef struct OrphanCounts {
    bool scanned;                  /* false: no scan was due */
    uint64_t listed;               /* objects */
    uint64_t orphans, bytes;       /* of these in no row */
    uint64_t fresh;                /* and nobody had seen them before */
    uint64_t foreign, strangers;   /* not named like ours; markers of backups nobody knows */
    uint64_t unreadable;           /* index objects that do not open: kept */
    uint64_t would_move, would_go; /* of a dry run, at most */
    QuarantineCounts quarantine;
    char blocked[400]; /* why nothing was moved; empty: it was */
} OrphanCounts;

/* asked: even if none is due. dry_run: nothing is written down, moved or deleted. */
MUST_CHECK bool orphans_run(Session *session, Job *job, bool asked, bool dry_run,
                            OrphanCounts *counts, Err *err);
json_t *orphans_report(const OrphanCounts *counts);

#endif
