/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/job/proof_watch.h"

#include "common/base/clock.h"

#include <time.h>

enum { LOOK_MS = 200 };

static uint64_t progress_of(const Job *job)
{
    const JobCounters *now = &job->counters;
    return now->bytes_done + now->items_done;
}

/* Killed once: a server that was started anew meanwhile refuses to be. */
static void look(ProofWatch *watch)
{
    int64_t now = clock_mono_ns();
    uint64_t progress = progress_of(watch->job);
    if (progress != watch->seen) {
        watch->seen = progress;
        watch->moved_ns = now;
    }
    if (watch->why == NULL && now > watch->until_ns)
        watch->why = "proof.too_late";
    if (watch->why == NULL && now - watch->moved_ns > watch->stall_ns)
        watch->why = "proof.stalled";
    if ((watch->why != NULL || job_cancelled(watch->job)) && watch->sandbox != NULL &&
        !watch->killed) {
        watch->killed = true;
        watch->ops->kill(watch->sandbox);
    }
}

static void *run(void *ctx)
{
    ProofWatch *watch = ctx;
    pthread_mutex_lock(&watch->lock);
    while (!watch->over) {
        struct timespec until;
        look(watch);
        clock_gettime(CLOCK_REALTIME, &until);
        until.tv_nsec += LOOK_MS * 1000000L;
        until.tv_sec += until.tv_nsec / 1000000000L;
        until.tv_nsec %= 1000000000L;
        pthread_cond_timedwait(&watch->wake, &watch->lock, &until);
    }
    pthread_mutex_unlock(&watch->lock);
    return NULL;
}

bool proof_watch_start(ProofWatch *watch, Job *job, const SandboxOps *ops, int64_t time_ms,
                       int64_t stall_ms, Err *err)
{
    int64_t now = clock_mono_ns();
    *watch = (ProofWatch){.job = job,
                          .ops = ops,
                          .until_ns = now + time_ms * 1000000,
                          .stall_ns = stall_ms * 1000000,
                          .moved_ns = now,
                          .seen = progress_of(job)};
    pthread_mutex_init(&watch->lock, NULL);
    pthread_cond_init(&watch->wake, NULL);
    if (pthread_create(&watch->thread, NULL, run, watch) == 0)
        return true;
    return err_set(err, ERR_FULL, "job.thread", "no thread could be started: raise the limits");
}

void proof_watch_stop(ProofWatch *watch)
{
    pthread_mutex_lock(&watch->lock);
    watch->over = true;
    pthread_cond_signal(&watch->wake);
    pthread_mutex_unlock(&watch->lock);
    pthread_join(watch->thread, NULL);
    pthread_mutex_destroy(&watch->lock);
    pthread_cond_destroy(&watch->wake);
}

void proof_watch_sandbox(ProofWatch *watch, Sandbox *sandbox)
{
    pthread_mutex_lock(&watch->lock);
    watch->sandbox = sandbox;
    pthread_mutex_unlock(&watch->lock);
}

void proof_watch_moved(ProofWatch *watch)
{
    pthread_mutex_lock(&watch->lock);
    watch->moved_ns = clock_mono_ns();
    pthread_mutex_unlock(&watch->lock);
}

bool proof_watch_stops(ProofWatch *watch)
{
    pthread_mutex_lock(&watch->lock);
    bool stops = watch->why != NULL || job_cancelled(watch->job);
    pthread_mutex_unlock(&watch->lock);
    return stops;
}
