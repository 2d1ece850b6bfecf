/* SPDX-License-Identifier: Apache-2.0
 * catalog_plan.h — what schedulers do, any number of them at once without harm.
 * Slots are fired by compare-and-set, tickets are picked with SKIP LOCKED, lost attempts are
 * re-checked under the row's lock; the leader lease only saves work. */
#ifndef COMMON_CATALOG_CATALOG_PLAN_H
#define COMMON_CATALOG_CATALOG_PLAN_H

#include "common/catalog/catalog.h"

/* --- slots ---------------------------------------------------------------------------------- */

typedef struct ScheduleRow {
    uint32_t source;
    char source_name[64];
    char name[48]; /* of the schedule: "default" */
    char kind[16]; /* of the job it makes */
    char at[96];   /* cron or "every …" as written */
    char timezone[64];
    char method[16]; /* of the job it makes; "" of an engine that has none */
    bool catch_up;   /* latest; else none */
    bool overlap_queue;
    bool paused;
    int64_t start_deadline_s; /* 0: none */
    int64_t last_slot_ns;     /* every slot up to and including this one is decided */
} ScheduleRow;

typedef struct ScheduleList {
    ScheduleRow *rows;
    size_t count;
    int64_t now_ns; /* the catalogue's clock */
    /* Another one when another policy is in force. A version's number would not do: after a
     * failover that lost the newest policy the next one gets its number again. */
    uint64_t policy_mark;
} ScheduleList;

MUST_CHECK bool catalog_schedule_load(Catalog *c, ScheduleList *out, Err *err);
void catalog_schedule_free(ScheduleList *list);

/* One slot. Rows of one (source, schedule) stand together, oldest first, and share old_slot_ns;
 * the last of them becomes the schedule's last_slot. */
typedef struct SlotRow {
    uint32_t source;
    Text schedule;
    int64_t old_slot_ns;
    int64_t slot_ns;
    int64_t start_by_ns; /* 0: none */
    bool missed;         /* too late, or not the latest of several: a job in state `missed` */
    Text code, why;      /* its decision; "slot.excluded" is skipped; empty: an ordinary run */
} SlotRow;

typedef struct SlotAnswer {
    uint64_t job;   /* 0: another scheduler had it, or the schedule changed */
    char state[16]; /* pending, missed, or skipped (overlap, paused, excluded, one waits already) */
} SlotAnswer;

MUST_CHECK bool catalog_slots_fire(Catalog *c, const SlotRow *rows, size_t count,
                                   SlotAnswer *answers, Err *err);

/* --- dispatch ------------------------------------------------------------------------------- */

typedef struct PoolRow {
    uint32_t number;
    char name[64];
    Uuid generation;
    uint32_t window; /* tickets that may be out at once */
    uint32_t due;    /* pending jobs whose time has come */
    uint32_t queued;
    uint32_t running;
    bool paused;
    int64_t oldest_ns; /* run_at of the oldest due or queued job; 0: none */
} PoolRow;

typedef struct PoolList {
    PoolRow *rows;
    size_t count;
    int64_t next_ns; /* earliest run_at in the future; 0: none */
} PoolList;

/* Ends waiting jobs whose start deadline passed (`missed`) or that were cancelled, then says what
 * is due where. */
MUST_CHECK bool catalog_jobs_due(Catalog *c, PoolList *out, Err *err);
MUST_CHECK bool catalog_pools(Catalog *c, PoolList *out, Err *err); /* the same, changing nothing */
void catalog_pools_free(PoolList *list);

typedef struct TicketRow {
    uint64_t job, dispatch;
    char kind[16];
    bool urgent; /* to the end that is taken first */
} TicketRow;

typedef struct TicketList {
    TicketRow *rows;
    size_t count;
} TicketList;

/* Pending jobs become `queued`: committed first, pushed by the caller afterwards; a crash between
 * is repaired by catalog_requeue. `most` is what is left of the pool's window, negative when it is
 * exceeded: only what is urgent may go an eighth of the window beyond, and an emergency always.
 * Only jobs for which a live worker is fit, whose lane is free, and which no limit would send back;
 * the others get a decision that says why. Owners go in turn. */
MUST_CHECK bool catalog_dispatch_pick(Catalog *c, uint32_t pool, int32_t most, TicketList *out,
                                      Err *err);

/* Queued jobs whose ticket may be lost: older than requeue_s come back in `out` to be pushed again
 * (idempotent); older than requeue_force_s become pending with a new dispatch number. */
MUST_CHECK bool catalog_requeue(Catalog *c, uint32_t pool, TicketList *out, Err *err);

/* Every queued job of the pool: after Redis lost its data. */
MUST_CHECK bool catalog_requeue_all(Catalog *c, uint32_t pool, TicketList *out, Err *err);
void catalog_tickets_free(TicketList *list);

/* Which of these (job, dispatch) no longer wait for a claim: stale entries of Redis' inq. done has
 * count flags. */
MUST_CHECK bool catalog_tickets_done(Catalog *c, const TicketRow *rows, size_t count, bool *done,
                                     Err *err);

/* A pool's current generation; renew draws another one (Redis lost or replaced). */
MUST_CHECK bool catalog_redis_generation(Catalog *c, uint32_t pool, bool renew, Uuid *out,
                                         Err *err);

MUST_CHECK bool catalog_pool_pause(Catalog *c, Text pool, bool paused, Text reason, Text actor,
                                   Err *err);
MUST_CHECK bool catalog_worker_drain(Catalog *c, Text worker, bool drain, Text reason, Text actor,
                                     Err *err);

/* --- reaping -------------------------------------------------------------------------------- */

typedef struct ReapRow {
    uint64_t job, attempt;
    Uuid instance;
    char state[16]; /* what the job is now */
} ReapRow;

typedef struct ReapReport {
    ReapRow *rows;
    size_t count;
    uint32_t suspects; /* expired, waiting for the second look */
    bool grace;        /* PostgreSQL started, or somebody connected again, too recently */
    bool mass;         /* too many expired at once: the network is suspected first */
} ReapReport;

/* One pass. A lease is lost after two looks at the same expiry, looks_s apart. */
MUST_CHECK bool catalog_reap(Catalog *c, ReapReport *out, Err *err);
void catalog_reap_free(ReapReport *report);

/* Nobody is reaped for grace_s from now: call after every reconnect of a scheduler, with INFINITY,
 * and after silent_s without an answer, which is long when a lease would have ended in it though
 * its worker beats. Nothing happens until grace_s after the end of the last time, so that
 * schedulers which come and go again and again do not keep the dead from being found. */
MUST_CHECK bool catalog_reap_hold(Catalog *c, double silent_s, Err *err);

/* --- leader, decisions ---------------------------------------------------------------------- */

/* Takes or renews for leader_s. *term 0: somebody else leads. A new leader gets a higher term. */
MUST_CHECK bool catalog_leader_take(Catalog *c, const Uuid *holder, Text host, uint64_t *term,
                                    Err *err);
MUST_CHECK bool catalog_leader_resign(Catalog *c, const Uuid *holder, Err *err);

typedef struct DecisionRow {
    uint64_t job; /* 0: none */
    Text source;  /* may be empty */
    Text verdict; /* ran deferred skipped missed held failed */
    Text code;    /* dotted: "no_worker", "lane.busy", "limit.pool" */
    Text text;
} DecisionRow;

/* The same (job, code) again only counts up. */
MUST_CHECK bool catalog_decision_add(Catalog *c, const DecisionRow *row, Err *err);

/* Throws away what has had its time: probe answers, idempotency keys, dead instances, old logs.
 * Called by the leader every minute. */
MUST_CHECK bool catalog_housekeep(Catalog *c, Err *err);

/* Gives packs that no backup will ever use (staged by a job that is over; for a failed one, a day
 * ago) to the collector: nothing finds, adopts or commits them any more. With the same rhythm.
 * swept: how many. */
MUST_CHECK bool catalog_sweep(Catalog *c, uint64_t *swept, Err *err);

#endif
