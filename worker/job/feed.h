/* SPDX-License-Identifier: Apache-2.0
 * feed.h — from a repository's reader into an engine's target, one thread a lane.
 * Phases come in order, each whole before the next. Entries of a phase are handed to whichever lane
 * is free, a bounded number ahead. Where the target's entries stand alone (`tolerant`), damage to
 * one entry's content is told and the rest goes on; what was begun of it is not finished, so
 * nothing half-made looks whole. */
#ifndef WORKER_JOB_FEED_H
#define WORKER_JOB_FEED_H

#include "common/repo/reader.h"
#include "worker/engine/engine.h"

typedef struct FeedParams {
    RepoReader *reader;
    Target *target;
    const ReaderSelection *selection; /* its phase is set here */
    bool whole;                       /* everything is selected */
    bool tolerant;                    /* one damaged entry does not spoil the others */
    void *ctx;
    void (*fed)(void *ctx, uint64_t bytes, bool entry);    /* progress; any thread */
    void (*damaged)(void *ctx, Text path, const Err *err); /* any thread */
    bool (*go_on)(void *ctx, Err *err);
} FeedParams;

MUST_CHECK bool feed_run(const FeedParams *params, Err *err);

#endif
