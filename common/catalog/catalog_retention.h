/* SPDX-License-Identifier: Apache-2.0
 * catalog_retention.h — what the planner of retention wants to know, and what becomes of its word.
 * The scheduler plans (scheduler/plan/keep.h), the catalogue keeps each ruling with its reason, a
 * pruner asks what it may let go at that moment: rulings that somebody's hold, a reader or a failed
 * check has overtaken are not among it. A plan that is older than ten minutes, or made under
 * another policy, is nobody's order. */
#ifndef COMMON_CATALOG_CATALOG_RETENTION_H
#define COMMON_CATALOG_CATALOG_RETENTION_H

#include "common/catalog/catalog_job.h"

typedef struct RetentionSource {
    uint32_t source, repository;
    char name[64], store[64], key_set[64]; /* key_set "": plain */
    char timezone[64];
    char *spec; /* compiled; owned by the list */
    uint64_t failures;
    char *suspicious, *frozen; /* why; NULL: it is not */
    int64_t lock_s;            /* of its store */
    int64_t policy;            /* mark of the one in force */
    int64_t now_ns;
    bool retired;
} RetentionSource;

typedef struct RetentionSources {
    RetentionSource *rows;
    size_t count;
} RetentionSources;

/* Every repository that holds backups of this source (name), or of the next `most` living sources
 * after that name where `name` is empty. */
MUST_CHECK bool catalog_retention_sources(Catalog *c, Text name, Text after, uint32_t most,
                                          RetentionSources *out, Err *err);
/* One pair of them. */
MUST_CHECK bool catalog_retention_source(Catalog *c, uint32_t source, uint32_t repository,
                                         RetentionSources *out, Err *err);
void catalog_retention_sources_free(RetentionSources *list);

typedef struct RetentionBackup {
    Uuid id;
    int64_t at_ns, started_ns, committed_ns;
    uint64_t sequence;
    char schedule[48];
    uint32_t quality; /* 1 good, 2 doubtful, 3 partial */
    bool proved, in_use;
    int64_t held_until_ns, locked_until_ns; /* 0: not */
    uint64_t bytes;
    char outcome[16];
} RetentionBackup;

typedef struct RetentionBackups {
    RetentionBackup *rows;
    size_t count;
} RetentionBackups;

MUST_CHECK bool catalog_retention_backups(Catalog *c, uint32_t source, uint32_t repository,
                                          RetentionBackups *out, Err *err);
void catalog_retention_backups_free(RetentionBackups *list);

/* The same of the source's plain copies, which stores hold. */
typedef struct RetentionPlainStore {
    char name[64];
    int64_t lock_s;
} RetentionPlainStore;
MUST_CHECK bool catalog_retention_plain_stores(Catalog *c, uint32_t source,
                                               RetentionPlainStore **out, size_t *count, Err *err);
MUST_CHECK bool catalog_retention_plain(Catalog *c, uint32_t source, Text store,
                                        RetentionBackups *out, Err *err);

/* What each would free if all of them went; bytes has count places. A pack that several of them
 * name goes with the newest. */
MUST_CHECK bool catalog_retention_frees(Catalog *c, uint32_t repository, const Uuid *backups,
                                        size_t count, uint64_t *bytes, Err *err);

typedef struct RetentionJob {
    uint64_t job;
    uint32_t source, repository;
} RetentionJob;

/* Nothing of this source expires until catalog_retention_resume names it. */
MUST_CHECK bool catalog_source_suspect(Catalog *c, Text source, Text reason, Text actor, Err *err);

/* Jobs that wait for a plan; *count on the way in: room for so many. */
MUST_CHECK bool catalog_retention_due(Catalog *c, RetentionJob *jobs, size_t *count, Err *err);

typedef struct RetentionRuling {
    Uuid backup;
    bool expires;
    Text reason;
} RetentionRuling;

/* frozen may be NULL. taken false: the job waits no more, or another policy is in force by now. */
MUST_CHECK bool catalog_retention_plan(Catalog *c, uint64_t job, int64_t policy, const char *frozen,
                                       const RetentionRuling *rulings, size_t count, bool *taken,
                                       Err *err);

/* The same of plain copies, which have no job of their own; where some expire, one that takes them
 * away is made. taken false: another policy is in force by now. */
MUST_CHECK bool catalog_retention_plain_plan(Catalog *c, uint32_t source, Text store,
                                             int64_t policy, const RetentionRuling *rulings,
                                             size_t count, bool *taken, Err *err);

/* For the running job: what may go now, oldest first. visit false ends it with its *err.
 * ERR_CONFLICT retention.stale, retention.suspicious, retention.last_good. */
typedef bool RetentionVisit(void *ctx, const Uuid *backup, Text reason, Err *err);
MUST_CHECK bool catalog_retention_take(Catalog *c, const Fence *fence, RetentionVisit *visit,
                                       void *ctx, Err *err);

/* Frozen repositories of a store (empty: all), or a source under suspicion, go on. ERR_USAGE
 * without a reason. */
MUST_CHECK bool catalog_retention_resume(Catalog *c, Text store, Text source, Text reason,
                                         Text actor, uint32_t *resumed, Err *err);

/* --- holds ---------------------------------------------------------------------------------- */

/* A backup is held until then (0: released) from now on; the job that says so in its store is
 * *made. ERR_MISSING backup.unknown, ERR_USAGE hold.reason, ERR_CONFLICT hold.none. */
MUST_CHECK bool catalog_backup_hold(Catalog *c, const Uuid *backup, int64_t until_ns, Text reason,
                                    Text actor, Text idempotency_key, JobCreated *made, Err *err);

/* For the running job of a hold: what the catalogue says of its backup at this moment. */
typedef struct RetentionHold {
    Uuid backup;
    int64_t until_ns; /* 0: released */
    Buf reason;       /* the caller's */
} RetentionHold;
MUST_CHECK bool catalog_hold_now(Catalog *c, const Fence *fence, RetentionHold *out, Err *err);
/* The store says so by now. same false: the catalogue says something else by now. */
MUST_CHECK bool catalog_hold_stored(Catalog *c, const Fence *fence, int64_t until_ns, bool *same,
                                    Err *err);

#endif
