/* SPDX-License-Identifier: Apache-2.0
 * catalog_collect.h — forgetting backups and collecting packs, for the attempt that holds a prune
 * or retention job on a login enrolled as a pruner (else ERR_DENIED worker.no_pruner).
 * A backup is deleted (nobody may use it), then its objects go, then it is gone; only then do its
 * packs count as unused. A pack is condemned, flipped (irrevocable), its epoch brought to the store
 * and confirmed, its object deleted, then it is gone. Every call may be repeated; all but
 * forget_done and gone refuse while the repository is set back (repo.rolled_back) or frozen
 * (repo.frozen). */
#ifndef COMMON_CATALOG_CATALOG_COLLECT_H
#define COMMON_CATALOG_CATALOG_COLLECT_H

#include "common/catalog/catalog_job.h"

/* answer: deleted, already, unknown, held, locked, pinned (a job reads it at this moment),
 * last_good (nothing else of a source of the policy is good). */
typedef struct ForgetAnswer {
    Uuid backup;
    char answer[12];
    char why[400];
} ForgetAnswer;

/* reasons: one a backup, for the audit log. *out has count rows, in the order of their ids;
 * mem_free it. */
MUST_CHECK bool catalog_backups_forget(Catalog *c, const Fence *fence, const Uuid *backups,
                                       const Text *reasons, size_t count, ForgetAnswer **out,
                                       size_t *answered, Err *err);

/* A deleted backup whose objects may still be there. */
typedef struct ForgetRow {
    Uuid backup;
    Sha256 manifest;
    char source[128], reason[400];
} ForgetRow;
MUST_CHECK bool catalog_forgets_due(Catalog *c, const Fence *fence, size_t most, ForgetRow **out,
                                    size_t *count, Err *err); /* mem_free *out */
MUST_CHECK bool catalog_forget_done(Catalog *c, const Fence *fence, const Uuid *backup, Err *err);

/* What a repack would look into: packs whose own backup is gone. half_dead of them are known to be
 * from the last look, and frees is what is not needed in these. Of all that backups name,
 * named_bytes, unused_bytes are known to be unused; takes packs would be packed anew within the
 * budget of a run, which frees take_frees. */
typedef struct RepackLook {
    uint64_t candidates, candidate_bytes, half_dead, frees;
    uint64_t named_bytes, unused_bytes, takes, take_frees;
} RepackLook;
MUST_CHECK bool catalog_repack_look(Catalog *c, const Fence *fence, RepackLook *out, Err *err);

/* What a run would find. unused: live and named by no backup; damaged: of these, the
 * ones that are laid aside instead. */
typedef struct CollectLook {
    uint64_t unused, unused_bytes, live, condemned, dying, damaged;
} CollectLook;
MUST_CHECK bool catalog_collect_look(Catalog *c, const Fence *fence, CollectLook *out, Err *err);

typedef struct CollectCondemned {
    uint64_t condemned, bytes, pardoned, live;
} CollectCondemned;
/* anyway: even more than setting collect_share of the repository (else ERR_CONFLICT
 * prune.too_much). */
MUST_CHECK bool catalog_collect_condemn(Catalog *c, const Fence *fence, bool anyway,
                                        CollectCondemned *out, Err *err);

typedef struct CollectFlipped {
    uint64_t flipped, bytes, pardoned;
    uint64_t spared; /* by sessions that began before they were condemned */
} CollectFlipped;
/* At most `most` packs, in one short transaction; flipped and pardoned 0: nothing is left. Commits
 * wait for it, and it waits 100 ms for them (ERR_BUSY). */
MUST_CHECK bool catalog_collect_flip(Catalog *c, const Fence *fence, size_t most,
                                     CollectFlipped *out, Err *err);

/* epoch must be in the store, and then confirmed, before anything is deleted. */
MUST_CHECK bool catalog_collect_epoch(Catalog *c, const Fence *fence, uint64_t *epoch,
                                      uint64_t *confirmed, Err *err);
MUST_CHECK bool catalog_collect_confirm(Catalog *c, const Fence *fence, uint64_t epoch, Err *err);

typedef struct DeadPack {
    uint64_t no, bytes;
    Uuid object;
    bool again;   /* deleted before; a late PUT may have made it anew */
    bool damaged; /* goes to quarantine instead: catalog_orphan_damaged */
} DeadPack;
MUST_CHECK bool catalog_collect_dead(Catalog *c, const Fence *fence, uint64_t after, size_t most,
                                     DeadPack **out, size_t *count, Err *err); /* mem_free *out */
MUST_CHECK bool catalog_collect_gone(Catalog *c, const Fence *fence, const uint64_t *nos,
                                     size_t count, Err *err);

/* The index object (nil: none) of a backup that is gone, and so are the packs it tells of. */
typedef struct DeadIndex {
    Uuid backup, object;
} DeadIndex;
MUST_CHECK bool catalog_collect_indexes(Catalog *c, const Fence *fence, size_t most,
                                        DeadIndex **out, size_t *count, Err *err);
MUST_CHECK bool catalog_collect_indexes_gone(Catalog *c, const Fence *fence, const DeadIndex *rows,
                                             size_t count, Err *err);

/* Is the epoch in the store, below what is confirmed, that of a collector which was taken for dead
 * and wrote it late? For every session that opens. */
MUST_CHECK bool catalog_epoch_is_late(Catalog *c, const Fence *fence, uint64_t epoch,
                                      uint64_t by_job, uint64_t by_attempt, bool *late, Err *err);

/* JSON: what a run did, into the audit log. */
MUST_CHECK bool catalog_collect_tell(Catalog *c, const Fence *fence, Text done, Err *err);

/* --- the scheduler's side ------------------------------------------------------------------- */

typedef struct RepositoryRequest {
    Text kind, trigger; /* prune or retention; manual, scheduled */
    Text store;
    Text key_set; /* empty: the store's only one */
    Text params, actor, idempotency_key;
} RepositoryRequest;
/* Goes to a pool where a live pruner is. ERR_MISSING store.unknown, ERR_USAGE store.several. */
MUST_CHECK bool catalog_repository_job(Catalog *c, const RepositoryRequest *request,
                                       JobCreated *out, Err *err);

/* Jobs that forget one backup: in every store, or in one of them (ERR_MISSING backup.not_there);
 * the first of them is answered. ERR_USAGE backup.reason without a reason; ERR_CONFLICT
 * backup.held, backup.locked, backup.pinned, backup.last_good, backup.already. key may be empty. */
MUST_CHECK bool catalog_backup_delete(Catalog *c, const Uuid *backup, Text store, Text reason,
                                      Text actor, Text key, JobCreated *out, Err *err);

/* Makes the prune jobs that are due: one a day for each repository that a live pruner serves. */
MUST_CHECK bool catalog_prunes_fire(Catalog *c, uint64_t *made, Err *err);

#endif
