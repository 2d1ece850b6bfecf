/* SPDX-License-Identifier: Apache-2.0
 * catalog_verify.h — what checks need: packs that nobody has seen whole, what the catalogue says is
 * in them, and the rounds that see all packs of a source again and again. What proves content is
 * for enrolled readers (ERR_DENIED else). */
#ifndef COMMON_CATALOG_CATALOG_VERIFY_H
#define COMMON_CATALOG_CATALOG_VERIFY_H

#include "common/catalog/catalog_job.h"
#include "protocol/pack.h"

/* Undamaged packs of the backup that this job is about: those that a reader has opened whole
 * (seen), or those that none has; rows without chunks. */
MUST_CHECK bool catalog_pack_unseen(Catalog *c, const Fence *fence, const Uuid *backup, bool seen,
                                    PackVisit *visit, void *ctx, Err *err);

/* The rows of one pack, by ordinal; freed with mem_free. */
MUST_CHECK bool catalog_pack_chunks(Catalog *c, const Fence *fence, uint64_t pack_no,
                                    ChunkRow **chunks, size_t *count, Err *err);

/* --- rounds: what a source's backups name in one repository, by schedule or by hand ---------- */

typedef struct VerifyAsk {
    Text source, level;
    Text store, pool, actor, idempotency_key; /* may be empty, but for the actor */
    uint64_t within_s;                        /* 0: every pack */
} VerifyAsk;

/* A round of this source in one store, or in each that holds its backups. */
MUST_CHECK bool catalog_verify_ask(Catalog *c, const VerifyAsk *ask, JobCreated *out, Err *err);

typedef struct VerifyRound {
    uint64_t packs, bytes, done, done_bytes;
} VerifyRound;

/* What the round looks at is chosen by its first attempt; the others go on with what is left. */
MUST_CHECK bool catalog_verify_begin(Catalog *c, const Fence *fence, VerifyRound *out, Err *err);

/* The next packs of the round behind place *after, which moves; rows has room for *count of them
 * and *count says how many came. Rows without chunks. */
MUST_CHECK bool catalog_verify_next(Catalog *c, const Fence *fence, uint64_t *after, PackRow *rows,
                                    size_t *count, Err *err);

/* These were read whole, and of content opened whole too. */
MUST_CHECK bool catalog_verify_seen(Catalog *c, const Fence *fence, const uint64_t *pack_nos,
                                    const Sha256 *sha256s, size_t count, Err *err);

typedef struct VerifyLoss {
    Uuid backup, object; /* of the damaged pack */
    uint64_t chunks;     /* in it and nowhere else */
} VerifyLoss;

typedef struct VerifyJudged {
    VerifyLoss *losses; /* mem_free */
    size_t loss_count;
    uint64_t proved; /* backups that were called good */
} VerifyJudged;

/* The round is over: each backup that all was seen of, and each that has lost something, gets its
 * verification. May be asked again. */
MUST_CHECK bool catalog_verify_end(Catalog *c, const Fence *fence, VerifyJudged *out, Err *err);

#endif
