/* SPDX-License-Identifier: Apache-2.0
 * tell.h — what a backup writes into its job's log as it goes: what it opened, the instant that it
 * belongs to, what it held part by part, what was stored and what was committed. */
#ifndef WORKER_JOB_TELL_H
#define WORKER_JOB_TELL_H

#include "common/repo/repo.h"
#include "worker/job/job.h"

/* Where it goes, what it stands on, and over how many of the lanes wanted it reads. */
void tell_opened(Job *job, const char *engine, unsigned wanted, unsigned given);

/* Everything was read: the instant, the position, the parts of the receipt, 100 at most. */
void tell_read(Job *job, const Receipt *receipt);

/* Entries, bytes, and what of them was new; `read_back` new packs were looked at again. */
void tell_stored(Job *job, const RepoBackup *made, size_t packs, size_t read_back);

void tell_committed(Job *job, const RepoBackup *made, bool partial, uint64_t issues);

/* The first issues of a backup, so that its log shows what its ledger is about. */
void tell_issue(Job *job, uint64_t number, const Issue *issue, const char *kind);

#endif
