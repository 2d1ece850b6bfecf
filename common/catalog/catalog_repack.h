/* SPDX-License-Identifier: Apache-2.0
 * catalog_repack.h — half-dead packs and who needs them, for the attempt that holds a prune job on
 * a login enrolled as a pruner and a reader (else ERR_DENIED). Calls may be repeated. All refuse
 * while the repository is set back or frozen. */
#ifndef COMMON_CATALOG_CATALOG_REPACK_H
#define COMMON_CATALOG_CATALOG_REPACK_H

#include "common/catalog/catalog_job.h"
#include "protocol/pack.h"

/* One that may be half-dead. */
typedef struct RepackPack {
    PackRow row; /* without chunks */
    int64_t domain;
} RepackPack;

/* By domain and kind, as many as the budget of a run takes: first those known to be worth it, then
 * those that were looked at longest ago. all: those too of which nothing was let go since. mem_free
 * *out. */
MUST_CHECK bool catalog_repack_pick(Catalog *c, const Fence *fence, bool all, size_t most,
                                    RepackPack **out, size_t *count, Err *err);

/* The same of packs behind number `after` that nobody knows to be sealed to the readers of this
 * generation alone, whoever needs them: as many as one step of a re-encryption takes. */
MUST_CHECK bool catalog_reseal_pick(Catalog *c, const Fence *fence, uint64_t generation,
                                    uint64_t after, size_t most, RepackPack **out, size_t *count,
                                    Err *err);
/* These are. */
/* What holds of these backups say in the store is written again, by so many jobs. */
MUST_CHECK bool catalog_reseal_holds(Catalog *c, const Fence *fence, const Uuid *backups,
                                     size_t count, uint64_t *jobs, Err *err);
MUST_CHECK bool catalog_reseal_seen(Catalog *c, const Fence *fence, uint64_t generation,
                                    const uint64_t *nos, size_t count, Err *err);

typedef struct ResealLeft {
    uint64_t packs, bytes; /* in the repository, of which it is not known */
    uint64_t job_bytes;    /* so much does one job seal anew */
} ResealLeft;
/* Counts, and writes it down for `holdfast key list`. */
MUST_CHECK bool catalog_reseal_left(Catalog *c, const Fence *fence, uint64_t generation,
                                    ResealLeft *out, Err *err);

/* A backup names this pack. */
typedef struct RepackName {
    Uuid backup;
    Sha256 manifest;
    bool going; /* was deleted: it cannot be read, and still names it */
    uint64_t no;
} RepackName;
/* Of at most so many backups behind *after, which is moved on; none: count 0. mem_free *out. */
MUST_CHECK bool catalog_repack_backups(Catalog *c, const Fence *fence, const uint64_t *nos,
                                       size_t no_count, Uuid *after, size_t most, RepackName **out,
                                       size_t *count, Err *err);

/* needed[i]: bytes of nos[i] that backups need, of all its bytes. */
MUST_CHECK bool catalog_repack_looked(Catalog *c, const Fence *fence, const uint64_t *nos,
                                      const uint64_t *needed, size_t count, Err *err);

/* Of packs that were looked at: which are worth being packed anew. The half-dead ones (setting
 * repack_share), then the deadest until at most the share repack_max_unused of all that backups
 * name is unused; none of which less than repack_least is. mem_free *out. */
MUST_CHECK bool catalog_repack_take(Catalog *c, const Fence *fence, const uint64_t *nos,
                                    size_t count, uint64_t **out, size_t *out_count, Err *err);

/* Announces a pack of the domain and kind of `like`. */
MUST_CHECK bool catalog_repack_new(Catalog *c, const Fence *fence, const Uuid *object,
                                   const Uuid *pack, uint64_t like, uint64_t *no, Err *err);

/* What is swapped. from[i]'s needed chunks lie in into[i], among others. */
typedef struct RepackSwap {
    const uint64_t *made;
    size_t made_count;
    const uint64_t *old;
    size_t old_count;
    const uint64_t *from, *into;
    size_t pair_count;
    const Uuid *backups; /* that were walked: only these name the new packs */
    size_t backup_count;
    const Uuid *index; /* NULL: nothing was made */
} RepackSwap;
MUST_CHECK bool catalog_repack_commit(Catalog *c, const Fence *fence, const RepackSwap *swap,
                                      uint64_t *swapped, Err *err);

#endif
