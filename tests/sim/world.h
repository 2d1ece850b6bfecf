/* SPDX-License-Identifier: Apache-2.0
 * world.h — one history: a fleet drawn from the seed, its schedulers and workers as the production
 * objects, a stretch in which things break, a stretch in which everything is whole again. */
#ifndef TESTS_SIM_WORLD_H
#define TESTS_SIM_WORLD_H

#include "tests/sim/child.h"
#include "tests/sim/model.h"
#include "tests/sim/net.h"

enum { STATIONS_MOST = 8, SOURCES_MOST = 6 };

/* A host with one daemon, which somebody starts again when it ends. */
typedef struct Station {
    Host host;
    Process *process; /* NULL: not running now */
    Task *main;
    bool scheduler, stopping, frozen;
    uint32_t worker; /* number of an agent's worker */
    uint32_t slots, engines;
    char conninfo[24];
    char *child_argv[2];
    int64_t started_ns;
    int64_t sick_ns; /* true time until which something is or was wrong with it */
} Station;

typedef struct World {
    uint64_t seed;
    Station stations[STATIONS_MOST];
    size_t station_count;
    bool force_leader, healed, went_back;
    bool waits; /* the end was put off */
    int64_t tick_ms, chaos_until, end;
    int64_t drain_ms, kill_grace_ms, statement_ms;
    uint32_t pool, second_pool; /* of sources */
    ModelSpec specs[SOURCES_MOST];
    size_t spec_count;
    unsigned faults; /* bits: which kinds this seed has */
    int64_t pause_most_ns;
    int64_t sick_ns; /* true time until which something is or was wrong with the catalogue */
} World;

extern World world;

/* Lives through one history. False: an invariant broke, and was printed. */
bool world_run(uint64_t seed);

/* For the faults. */
void world_start(Station *station);
void world_kill(Station *station, int64_t back_after_ns);
void world_stop(Station *station, bool children_too, int64_t ns);
void world_end_softly(Station *station);
void world_sick(int64_t *sick_ns, int64_t ns); /* ill from now on for so long */
void world_apply(void);                        /* the specs, as a policy */
int64_t world_lease_ns(void);
void world_wait_for(int64_t ns); /* the history does not end before then */

/* faults.c: draws what breaks, until world.chaos_until; heal makes everything whole. */
void faults_begin(void);
void faults_heal(void);

/* check.c */
void check_begin(void);
void check_policy(void);       /* after a change of the specs */
void check_tail_lost(void);    /* after a failover: what was seen since does not count */
void check_windows_told(void); /* the catalogue knows the windows of the policy in force */
void check_end(void);          /* after the quiet stretch */
bool check_broken(void);
void check_fail(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Figures for the closing line. */
typedef struct WorldCounts {
    uint64_t jobs, attempts, backups, lost, faults, steps, checks;
    int64_t virtual_ns;
} WorldCounts;
extern WorldCounts world_counts;

#endif
