/* SPDX-License-Identifier: Apache-2.0
 * fleet.h — a catalogue with everything a job needs: a private PostgreSQL, the schema, a policy,
 * enrolled workers that said hello. A failure ends the test. Timers are set to be short. With
 * HOLDFAST_POOLER in the environment schedulers and workers connect through PgBouncer. At its end
 * what is left behind is held against the invariants of the job machine; one that does not hold
 * ends the test too. */
#ifndef TESTS_HARNESS_FLEET_H
#define TESTS_HARNESS_FLEET_H

#include "common/catalog/catalog_backup.h"
#include "common/catalog/catalog_job.h"
#include "common/catalog/catalog_plan.h"
#include "common/catalog/catalog_worker.h"
#include "tests/harness/history.h"
#include "tests/harness/pooler.h"
#include "tests/harness/postgres.h"

typedef struct Fleet {
    Postgres *pg;
    Pooler *pooler;     /* NULL: none asked for */
    Catalog *admin;     /* superuser */
    Catalog *scheduler; /* role holdfast_scheduler */
    History history;    /* what there is to check */
    bool checked, broken;
} Fleet;

typedef struct FleetWorker {
    Catalog *c; /* logged in as this worker */
    Uuid instance;
    WorkerWelcome welcome;
} FleetWorker;

/* Migrates; no policy, no workers yet. */
Fleet *fleet_start(void);
Fleet *fleet_start_with(const char *const *options); /* of postgres_start */
/* Checks, if nobody did; then everything is stopped, and the test ends if an invariant was broken.
 */
void fleet_stop(Fleet *fleet);
/* Holds the history against the invariants now, once: for who is about to take away something that
 * history names. The verdict is fleet_stop's. */
void fleet_check(Fleet *fleet);
/* The test says that all its work has ended: nothing may be left half done. */
void fleet_settled(Fleet *fleet);
/* The test breaks this invariant by its own hand: "WHAT: WHY", WHAT in the checker's words. */
void fleet_breaks(Fleet *fleet, const char *what_and_why);

/* How a role reaches the catalogue: directly, or through the pooler. */
void fleet_conninfo(const Fleet *fleet, const char *role, char out[256]);
/* Another connection of a role. */
Catalog *fleet_connect(const Fleet *fleet, const char *role);

/* `count` file sources s1, s2, … in pool "fra" of store "nas" (key set "keys"), each with one
 * schedule "nightly". extra: more members of each source, such as ",\"dedup\":\"repository\"". */
void fleet_policy(Fleet *fleet, unsigned count, const char *extra);

/* Enrols (pool "fra") and says hello as a writer, and as a reader too when asked. */
FleetWorker fleet_worker(Fleet *fleet, const char *name, bool reader);
/* Another worker, of pool "prune", that may forget and collect. */
FleetWorker fleet_pruner(Fleet *fleet, const char *name);
void fleet_worker_close(FleetWorker *worker);

/* One statement's first column of the first row as text, by the superuser; "" when none. */
void fleet_ask(const Fleet *fleet, const char *sql, char out[512]);
int64_t fleet_count(const Fleet *fleet, const char *sql);
void fleet_do(const Fleet *fleet, const char *sql);

/* A manual backup of a source, queued; the ticket's numbers. */
TicketRow fleet_ticket(Fleet *fleet, const char *source);
/* The same for any request. */
TicketRow fleet_job(Fleet *fleet, const JobRequest *request);

/* The ticket of a job that was just made. */
TicketRow fleet_dispatched(Fleet *fleet, const JobCreated *created);

/* Claims, and it must be granted. */
Fence fleet_claim(FleetWorker *worker, TicketRow ticket);

/* Begins and stages one pack with `count` chunks whose ids begin with `seed`. */
PackRow fleet_stage(Catalog *c, const Fence *fence, uint8_t seed, size_t count);
ChunkId fleet_chunk(uint8_t seed, size_t n);

/* A commit row that names these packs and nothing else. */
BackupRow fleet_backup(const uint64_t *packs, size_t count, uint64_t sequence);

/* Stages one pack and commits: the id of the backup. */
Uuid fleet_back_up(Fleet *fleet, FleetWorker *worker, const char *source, uint64_t sequence,
                   uint8_t seed);

#endif
