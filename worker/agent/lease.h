/* SPDX-License-Identifier: Apache-2.0
 * lease.h — the heartbeat of every job that this process holds, on a thread and a connection of its
 * own: nothing that the loop or a job does can delay it. One call renews all leases and carries
 * their progress; when there is news of progress it goes out within a second, else each beat.
 * A lease is counted from before the beat that renewed it was sent, on a clock that goes on while
 * the host sleeps. Past that the job is suspect: PostgreSQL may have given it to somebody else. */
#ifndef WORKER_AGENT_LEASE_H
#define WORKER_AGENT_LEASE_H

#include "common/base/loop.h"
#include "common/catalog/catalog_worker.h"
#include "protocol/messages.h"

typedef struct Lease Lease;

typedef struct LeaseParams {
    Loop *loop;
    CatalogParams catalog; /* what it points at lives as long as the lease */
    Uuid instance;
    int64_t lease_ms, beat_ms;
    void *ctx;
    /* All on the loop's thread. until_ns: clock_boot_ns at which the lease may be over. */
    void (*on_held)(void *ctx, const Fence *fence, bool cancel, int64_t until_ns);
    void (*on_fenced)(void *ctx, const Fence *fence);
    void (*on_summary)(void *ctx, const BeatSummary *summary);
    void (*on_failed)(void *ctx, const Err *err); /* once for each spell of failure */
} LeaseParams;

MUST_CHECK bool lease_start(Lease **out, const LeaseParams *params, Err *err);
void lease_stop(Lease *lease); /* NULL is fine */

/* From the grant on, until it is dropped; no call about it is made after lease_drop. */
void lease_add(Lease *lease, const Fence *fence);
void lease_progress(Lease *lease, const Fence *fence, const JobProgress *progress);
void lease_drop(Lease *lease, const Fence *fence);

#endif
