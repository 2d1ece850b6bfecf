/* SPDX-License-Identifier: Apache-2.0
 * verify.h — is what was stored still there, and does it still open?
 * `stored` needs no key: the sha256 of whole objects. `content` opens every chunk of a backup and
 * names it again from its plain bytes. Both go on after damage and report all of it. */
#ifndef COMMON_REPO_VERIFY_H
#define COMMON_REPO_VERIFY_H

#include "common/repo/reader.h"

typedef struct VerifyCounts {
    uint64_t packs, chunks, entries, bytes; /* looked at */
    uint64_t damaged, missing;              /* packs (stored) or chunks (content) */
} VerifyCounts;

/* One thing that is wrong. object and pack are nil where the chunk was found nowhere. */
typedef struct VerifyDamage {
    uint64_t pack_no;
    Uuid object, pack;
    ChunkId chunk; /* zero for a whole pack */
    Text path;     /* an entry that needs it, where that is known */
    Err why;
} VerifyDamage;
typedef void VerifyReport(void *ctx, const VerifyDamage *damage);

/* row->chunks may be empty. *good tells whether the object is there, whole and unchanged; false is
 * a result, not an error, and says why in *why. */
MUST_CHECK bool verify_stored(Repo *repo, const PackRow *row, bool *good, Err *why, Err *err);

/* The object as verify_stored looks at it, and every one of row->chunks opened where the row says
 * it lies and named again: what may be shared with others afterwards. Read once for both. */
MUST_CHECK bool verify_whole(Repo *repo, const PackRow *row, bool *good, Err *why, Err *err);

/* One pack to be looked at, and what came of it. */
typedef struct VerifyLook {
    PackRow row;
    bool whole; /* as verify_whole does, else as verify_stored */
    bool good;
    Err why;
} VerifyLook;
/* All of them, by as many threads as there are processors. On an error nothing is said of any. */
MUST_CHECK bool verify_packs(Repo *repo, VerifyLook *looks, size_t count, Err *err);

/* Who watches a check of content; what is NULL is not asked. Called by the thread that checks. */
typedef struct VerifyWatch {
    void *ctx;
    VerifyReport *damaged;
    bool (*cancelled)(void *ctx);
    /* Only with `prove`: each chunk that the backup needs, once, where it lies. */
    void (*needed)(void *ctx, const ChunkPlace *place);
    /* After the last of them: looks at packs as a whole. *all when that were all that are needed;
     * else the chunks are opened one by one of which `whole` is not true. */
    bool (*prove)(void *ctx, bool *all, Err *err);
    bool (*whole)(void *ctx, uint64_t pack_no);
} VerifyWatch;

/* Opens every chunk that the backup needs, but those in packs that the watch has proved. */
MUST_CHECK bool verify_content(RepoReader *reader, const VerifyWatch *watch, VerifyCounts *counts,
                               Err *err);

#endif
