/* SPDX-License-Identifier: Apache-2.0
 * commit.h — the one moment that makes a backup: the fenced COMMIT, then the marker.
 * The manifest is durable before. The commit is repeated until the catalogue answers: repeating
 * answers ALREADY, so a lost reply is no failure, and an attempt that lost its job is FENCED
 * whatever it believes of itself. What is to be committed lies on this host's disk meanwhile
 * (worker/job/spool.h), so that not even the death of the worker loses it. A marker that could not
 * be written is owed: the next write job pays it. */
#ifndef WORKER_JOB_COMMIT_H
#define WORKER_JOB_COMMIT_H

#include "worker/job/session.h"

typedef struct CommitFacts {
    const RepoBackup *made;
    const Receipt *receipt;
    bool partial, stored_verified;
    const json_t *issues; /* array, capped */
    uint64_t issue_count;
} CommitFacts;

MUST_CHECK bool commit_run(Job *job, Session *session, const CommitFacts *facts, Err *err);

#endif
