/* SPDX-License-Identifier: Apache-2.0
 * counts.h — what a restore brought back beside what the backup recorded: every restore says both,
 * and one whose numbers differ is a failure, never a success with a smaller number in it.
 * Rows are compared table by table by the engine before it gives a database its name; here stands
 * what it is told to expect, and the sum that the outcome says. */
#ifndef WORKER_JOB_COUNTS_H
#define WORKER_JOB_COUNTS_H

#include "common/repo/reader.h"
#include "worker/job/job.h"

/* Tables and rows of each database as the receipt has them: [{"name", "tables", "rows"}], or NULL
 * when the backup recorded none. */
json_t *counts_expected(const json_t *details);

/* After a whole restore of which no fault was told: ERR_CORRUPT "restore.counts" when it got other
 * than the entries of the backup or, of files, other bytes. */
MUST_CHECK bool counts_fed(const JobCounters *counters, const RepoBackup *backup, bool files,
                           Err *err);

/* report gets "counts"; said one line: "2 databases, 42 tables, 1 203 441 rows as backed up". Of a
 * part of a backup, which has nothing to be compared with, neither says that it is as backed up. */
void counts_tell(json_t *report, const JobCounters *counters, uint64_t damaged, bool whole,
                 Buf *said);

#endif
