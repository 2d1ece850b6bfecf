/* SPDX-License-Identifier: Apache-2.0
 * crew.h — worker parents as processes of their own over a private catalogue and a private Redis,
 * and a small scheduler that pushes, reaps and returns. The test program executes itself as
 * `agent NAME CATALOGUE REDIS DIRECTORY DRAIN_MS`; what that does is the test's. */
#ifndef TESTS_HARNESS_CREW_H
#define TESTS_HARNESS_CREW_H

#include "common/queue/queue.h"
#include "tests/harness/fleet.h"
#include "tests/harness/redis.h"

#include <sys/types.h>

typedef struct Crew {
    Fleet *fleet;
    RedisServer *redis;
    Queue *queue;
    char dir[64];  /* holds keys/keys.writer, cache/ */
    uint32_t pool; /* number of "fra" */
    bool paused;   /* true: crew_pump does nothing */
} Crew;

/* Sources s1 to s4 as fleet_policy makes them. */
Crew *crew_start(const char *policy_extra);
void crew_stop(Crew *crew);

/* The same small scheduler over a catalogue that is somebody else's; no directory, no sources. */
Crew *crew_join(Fleet *fleet);
void crew_leave(Crew *crew);

/* Enrols and starts a parent. */
pid_t crew_hire(Crew *crew, const char *name, unsigned drain_ms);
/* Starts `holdfast-worker run` with this file; enrolling is the caller's. */
pid_t crew_run(const char *config);
/* Sends the signal and waits for its end; the wait status. */
int crew_end(pid_t pid, int number);

/* A job of `kind` on a source with params {"do": does}; the pump dispatches it. */
uint64_t crew_job(Crew *crew, const char *kind, const char *source, const char *does);

/* What a scheduler does, once: pick, push, requeue, return orphans, reap. */
void crew_pump(Crew *crew);

/* Pumps until the SQL condition about this row of `job` holds; ends the test after 30 s. */
void crew_until(Crew *crew, uint64_t job, const char *condition);
bool crew_holds(Crew *crew, uint64_t job, const char *condition);

/* Pid of the only child of a process; 0 when there is none. */
pid_t crew_child(pid_t parent);

#endif
