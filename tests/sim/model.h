/* SPDX-License-Identifier: Apache-2.0
 * model.h — the catalogue's fenced functions as plain C over plain tables: what migrations/ says in
 * SQL, one function beside one function, rule by rule. tests/integration/catalog/model_test.c plays
 * random histories against this and against the real functions, and compares every answer and the
 * final tables: who changes one changes the other. Each call is one transaction at the instant
 * m->now. Instants are microseconds since 1970, as PostgreSQL keeps them; 0 is NULL.
 * Two kinds of job: a backup of a source, and a probe of a pool. */
#ifndef TESTS_SIM_MODEL_H
#define TESTS_SIM_MODEL_H

#include "common/catalog/catalog_backup.h"
#include "common/catalog/catalog_job.h"
#include "common/catalog/catalog_plan.h"
#include "common/catalog/catalog_window.h"
#include "common/catalog/catalog_worker.h"
#include "protocol/lifecycle.h"

enum { MODEL_NAME = 32, MODEL_POOLS = 8, MODEL_SCOPES = 8, MODEL_BUDGETS = 2 };

/* In seconds, as the table `setting` has them. */
typedef struct ModelSettings {
    double lease, beat, liveness, looks, grace, mass_leases, mass_share, mass_wait, requeue,
        requeue_force, loss_backoff, loss_backoff_max, max_losses, defer_min, defer_max, leader,
        aging, recall;
} ModelSettings;

typedef struct ModelPool {
    char name[MODEL_NAME];
    Uuid generation;
    uint32_t window;
    uint32_t most; /* 0: unlimited */
    bool paused;
    int64_t recalled_at;
} ModelPool;

typedef struct ModelWorker {
    char name[MODEL_NAME];
    uint32_t pools; /* bit n: pool number n */
    bool drain;
} ModelWorker;

typedef struct ModelInstance {
    Uuid id;
    uint32_t worker;
    uint32_t slots;
    uint32_t engines; /* bit: engine number; all bits: not announced */
    uint64_t signature;
    int64_t hello_at, seen_at, bye_at;
} ModelInstance;

typedef struct ModelSource {
    char name[MODEL_NAME];
    char policy[MODEL_NAME];
    uint32_t engine;
    uint32_t pool;
    int32_t attempts;
    double backoff_s, max_backoff_s;
    bool jitter;
    int32_t concurrent; /* of its policy; 0: none was given */
    char owner[MODEL_NAME];
    char reads[MODEL_NAME]; /* the host; "": not known */
    int32_t per_host;       /* 0: none was given */
    uint32_t labels;        /* bit n: what budget n matches */
    double timeout_s, stall_s;
    int64_t paused_until, retired_at;
    int32_t shut_from, shut_until; /* minutes of the day without a window; equal: no windows */
    bool cancels;                  /* on_close of them */
    const char *excluded;          /* one day; NULL: no calendar */
} ModelSource;

typedef struct ModelWindow { /* of a source; engines have one method here */
    uint32_t source;
    bool open, cancels;
    int64_t since, until;
    char words[64];
} ModelWindow;

typedef struct ModelSchedule {
    uint32_t source;
    char name[MODEL_NAME];
    char at[MODEL_NAME];
    bool catch_up, overlap_skip;
    int64_t start_deadline_s;
    int64_t last_slot;
} ModelSchedule;

typedef enum ModelKind { MODEL_BACKUP, MODEL_PROBE } ModelKind;

typedef struct ModelJob {
    ModelKind kind;
    JobState state;
    uint32_t source; /* 0: none */
    uint32_t pool;
    char schedule[MODEL_NAME]; /* "": none */
    int64_t slot;
    int32_t priority;
    int64_t created_at, run_at, start_by, queued_at, finished_at;
    uint64_t attempt, dispatch;
    Uuid claim;
    int32_t failures, max_failures, losses, deferrals;
    double backoff_s, max_backoff_s;
    bool jitter;
    bool cancel_requested;
    bool emergency; /* its trigger */
    char cause[48];
} ModelJob;

typedef struct ModelLease {
    uint64_t job, attempt;
    uint32_t worker;
    Uuid instance;
    int64_t expires_at, beat_at, moved_at, suspect_at, suspect_expires;
    uint64_t bytes_done, items_done, stored;
} ModelLease;

typedef enum ModelOutcome {
    MODEL_OPEN,
    MODEL_COMPLETED = OUTCOME_COMPLETED,
    MODEL_PARTIAL = OUTCOME_PARTIAL,
    MODEL_FAILED = OUTCOME_FAILED,
    MODEL_RELEASED = OUTCOME_RELEASED,
    MODEL_CANCELLED = OUTCOME_CANCELLED,
    MODEL_LOST,
} ModelOutcome;

typedef struct ModelAttempt {
    uint64_t job, attempt;
    Uuid claim;
    uint32_t worker;
    Uuid instance;
    int64_t started_at, ended_at;
    ModelOutcome outcome;
} ModelAttempt;

typedef struct ModelServed { /* an owner, in a pool */
    uint32_t pool;
    char owner[MODEL_NAME];
    int64_t at;
} ModelServed;

typedef struct ModelSlot { /* of a limit */
    char scope[48];
    int32_t n;
    uint64_t job, attempt; /* 0: free */
} ModelSlot;

typedef struct ModelPack {
    Uuid object;
    uint64_t job, attempt;
    uint32_t domain; /* source */
    bool live;       /* else staged */
    bool stored;     /* bytes and sha256 are known */
    bool swept;      /* the collector's */
    Sha256 sha256;
} ModelPack;

typedef struct ModelBackup {
    Uuid id;
    uint64_t job, attempt;
    uint32_t source;
    uint64_t sequence;
    bool partial, marked;
    Sha256 manifest;
    uint64_t packs[32];
    size_t pack_count;
    int64_t committed_at;
} ModelBackup;

typedef struct ModelDecision {
    uint64_t job;
    char verdict[12], code[24], text[96];
    int64_t last_at;
    uint32_t count;
} ModelDecision;

#define MODEL_TABLE(Type)                                                                          \
    struct {                                                                                       \
        Type *rows;                                                                                \
        size_t count, room;                                                                        \
    }

typedef struct Model {
    int64_t now;               /* set before each call */
    int64_t started_at;        /* of the server */
    double (*random)(void);    /* [0, 1) */
    Uuid (*random_uuid)(void); /* a new generation */
    ModelSettings setting;
    ModelPool pools[MODEL_POOLS]; /* by number; 0 is no pool */
    uint32_t pool_count;
    uint64_t policy_mark;
    int32_t budgets[MODEL_BUDGETS]; /* at once; 0: there is no such budget */
    int32_t uploads;                /* to the one store; 0: unlimited */
    bool repository_bound;
    Uuid repository;
    Uuid leader;
    uint64_t term;
    int64_t leader_until, hold_until, mass_since;
    MODEL_TABLE(ModelWorker) workers; /* number n is row n - 1, as below */
    MODEL_TABLE(ModelInstance) instances;
    MODEL_TABLE(ModelSource) sources;
    MODEL_TABLE(ModelSchedule) schedules;
    MODEL_TABLE(ModelJob) jobs;
    MODEL_TABLE(ModelLease) leases;
    MODEL_TABLE(ModelAttempt) attempts;
    MODEL_TABLE(ModelSlot) slots;
    MODEL_TABLE(ModelSlot) limits; /* what is wanted: n of a scope, 0 for no limit */
    MODEL_TABLE(ModelServed) served;
    MODEL_TABLE(ModelPack) packs;
    MODEL_TABLE(ModelBackup) backups;
    MODEL_TABLE(ModelDecision) decisions;
    MODEL_TABLE(ModelWindow) windows;
} Model;

void model_begin(Model *m); /* empty, with the settings that a migration writes */
void model_free(Model *m);
void model_copy(Model *to, const Model *from); /* what a standby has, or a dump */

/* --- the fleet: what an administrator and a policy do -------------------------------------- */
uint32_t model_pool(Model *m, const char *name); /* made when it is new */
uint32_t model_enroll(Model *m, const char *name, uint32_t pools);
ModelSource *model_source(Model *m, const char *name); /* NULL: not there */
/* One source of a policy that is applied whole: model_policy_begin, each source with its one
 * schedule, model_policy_end. */
typedef struct ModelSpec {
    ModelSource source;
    ModelSchedule schedule; /* its name empty: none */
} ModelSpec;
void model_policy_apply(Model *m, const ModelSpec *specs, size_t count);
void model_limit(Model *m, const char *scope, int32_t n); /* 0: unlimited */
int32_t model_wanted(Model *m, const char *scope);

/* --- workers -------------------------------------------------------------------------------- */
/* MUST_CHECK functions raise what the SQL raises: its code and its cause. */
MUST_CHECK bool model_hello(Model *m, uint32_t worker, const Uuid *instance, const char *name,
                            uint32_t slots, uint32_t engines, Err *err);
void model_bye(Model *m, uint32_t worker, const Uuid *instance);
void model_beat(Model *m, uint32_t worker, const Uuid *instance, const BeatRow *rows, size_t count,
                BeatAnswer *answers, BeatSummary *summary);

/* --- the life of a job ----------------------------------------------------------------------- */
typedef struct ModelClaim {
    ClaimStatus status;
    uint64_t attempt;
    char missing[256];
} ModelClaim;
MUST_CHECK bool model_claim(Model *m, uint32_t worker, const Uuid *instance, uint64_t job,
                            uint64_t dispatch, const Uuid *claim, ModelClaim *out, Err *err);
/* NULL with job.fenced when the caller does not hold it. */
ModelJob *model_fence(Model *m, uint32_t worker, const Fence *fence, Err *err);
MUST_CHECK bool model_finish(Model *m, uint32_t worker, const Fence *fence, JobOutcome outcome,
                             const char *cause, bool retry, char state[16], bool *fenced, Err *err);
uint64_t model_job_new(Model *m, ModelKind kind, uint32_t source, const char *schedule,
                       int64_t slot, uint32_t pool, int32_t priority, JobState state,
                       int64_t start_by);
MUST_CHECK bool model_create(Model *m, ModelKind kind, const char *source, uint32_t pool,
                             int32_t priority, int64_t start_by, uint64_t *job, Err *err);
MUST_CHECK bool model_cancel(Model *m, uint64_t job, char state[16], Err *err);
MUST_CHECK bool model_retry(Model *m, uint64_t job, uint64_t *out, bool *again, Err *err);

/* --- packs and backups ------------------------------------------------------------------------ */
MUST_CHECK bool model_bind(Model *m, uint32_t worker, const Fence *fence, const Uuid *id, Err *err);
MUST_CHECK bool model_pack_begin(Model *m, uint32_t worker, const Fence *fence, const Uuid *object,
                                 uint64_t *pack, Err *err);
MUST_CHECK bool model_pack_stage(Model *m, uint32_t worker, const Fence *fence, uint64_t pack,
                                 const Uuid *object, const Sha256 *sha256, Err *err);
MUST_CHECK bool model_adopt(Model *m, uint32_t worker, const Fence *fence, Err *err);
MUST_CHECK bool model_commit(Model *m, uint32_t worker, const Fence *fence, const BackupRow *row,
                             CommitAnswer *answer, char detail[256], Err *err);
MUST_CHECK bool model_marker(Model *m, uint32_t worker, const Fence *fence, const Uuid *backup,
                             Err *err);

/* --- schedulers ------------------------------------------------------------------------------- */
typedef struct ModelFire {
    uint32_t source;
    const char *schedule;
    int64_t old, slot, start_by;
    bool missed, excluded;
} ModelFire;
MUST_CHECK bool model_fire(Model *m, const ModelFire *rows, size_t count, SlotAnswer *answers,
                           Err *err);
bool model_windows_keep(Model *m, uint64_t policy_mark, const WindowRow *rows, size_t count,
                        bool all); /* false: not taken */
void model_windows_act(Model *m, WindowsActed *out);
bool model_shut(const Model *m, const ModelJob *job);
void model_overdue(Model *m);
void model_pick(Model *m, uint32_t pool, int32_t most, TicketList *out);
void model_requeue(Model *m, uint32_t pool, bool all, TicketList *out);
bool model_ticket_done(const Model *m, uint64_t job, uint64_t dispatch);
void model_reap(Model *m, ReapReport *out);
void model_reap_hold(Model *m, double silent_s);
uint64_t model_leader_take(Model *m, const Uuid *holder);
void model_leader_resign(Model *m, const Uuid *holder);
void model_housekeep(Model *m);
uint64_t model_sweep(Model *m);

/* --- shared by the model_*.c ------------------------------------------------------------------ */
#define model_add(table, ...)                                                                      \
    ((table)->rows =                                                                               \
         model_room((table)->rows, (table)->count, &(table)->room, sizeof *(table)->rows),         \
     (table)->rows[(table)->count++] = (__VA_ARGS__), &(table)->rows[(table)->count - 1])
void *model_room(void *rows, size_t count, size_t *room, size_t size);

ModelJob *model_job(Model *m, uint64_t job); /* NULL: there is none */
ModelLease *model_lease(Model *m, uint64_t job);
ModelAttempt *model_attempt(Model *m, uint64_t job, uint64_t attempt);
ModelInstance *model_instance(Model *m, const Uuid *id);
int64_t model_after(const Model *m, double seconds);
unsigned model_lanes(const ModelJob *job);
void model_move(Model *m, ModelJob *job, JobState to); /* only what lifecycle.def allows */
void model_decide(Model *m, uint64_t job, const char *verdict, const char *code, const char *text);
void model_decide_seldom(Model *m, uint64_t job, const char *verdict, const char *code,
                         const char *text);
bool model_nobody(const Model *m, const ModelJob *job, char out[96]); /* false: somebody can */
bool model_lives(const Model *m, const ModelInstance *instance);
void model_give(const Model *m, uint64_t job, TicketList *out);
/* What the instance lacks for the job; false: it is fit. */
bool model_missing(const Model *m, const ModelJob *job, const ModelInstance *instance,
                   char out[256]);
/* The scopes that count a job, sorted. */
size_t model_scopes(const Model *m, const ModelJob *job, const char *out[MODEL_SCOPES],
                    char room[MODEL_SCOPES][48]);
void model_defer(Model *m, uint64_t job, const char *code, const char *text);
void model_attempt_end(Model *m, uint64_t job, ModelOutcome outcome);
JobState model_end(Model *m, uint64_t job, ModelOutcome outcome, const char *cause, bool retry);

#endif
