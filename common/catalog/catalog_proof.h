/* SPDX-License-Identifier: Apache-2.0
 * catalog_proof.h — what checks found, on its way into the store and back: a prune job asks what
 * the store does not say yet and writes it there; a rebuild tells it again. Every call may be
 * repeated. */
#ifndef COMMON_CATALOG_CATALOG_PROOF_H
#define COMMON_CATALOG_CATALOG_PROOF_H

#include "common/catalog/catalog_rebuild.h"

/* One verification of one backup. */
typedef struct ProofCheck {
    uint64_t id; /* of the catalogue's row; nothing to a rebuild */
    Uuid backup;
    Text level, result, worker, host;
    Text checks; /* a JSON object */
    int64_t started_ns, finished_ns;
} ProofCheck;

/* The last word on one pack; a time of 0 is never. */
typedef struct ProofPack {
    uint64_t pack_no; /* nothing to a rebuild */
    Uuid object;
    Sha256 sha256;
    int64_t verified_ns, checked_ns, damaged_ns;
    Text damage;
} ProofPack;

/* What one object of the store says, or will. Texts are lent by `text` where the catalogue filled
 * it. Freed by catalog_proofs_free. */
typedef struct Proofs {
    ProofCheck *checks;
    size_t check_count;
    ProofPack *packs;
    size_t pack_count;
    Buf text;
} Proofs;
void catalog_proofs_free(Proofs *proofs);

/* For the attempt that holds a prune job on a login enrolled as a pruner. The object that was
 * written last (nil: none), and what is not told yet: so many of each at most. */
MUST_CHECK bool catalog_proofs_last(Catalog *c, const Fence *fence, Uuid *object, Sha256 *sha256,
                                    Err *err);
MUST_CHECK bool catalog_proofs(Catalog *c, const Fence *fence, size_t most_checks,
                               size_t most_packs, Proofs *out, Err *err);
/* All of it is in the store, in this object. */
MUST_CHECK bool catalog_proofs_told(Catalog *c, const Fence *fence, const Uuid *object,
                                    const Sha256 *sha256, const Proofs *told, Err *err);

/* What came of one object for a rebuild: news each. */
typedef struct ProofsBack {
    uint64_t checks, proven, damaged;
} ProofsBack;
MUST_CHECK bool catalog_rebuild_proofs(Catalog *c, const Rebuilder *who, const Uuid *object,
                                       const Sha256 *sha256, const Proofs *said, ProofsBack *back,
                                       Err *err);

#endif
