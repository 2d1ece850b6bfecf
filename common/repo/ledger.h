/* SPDX-License-Identifier: Apache-2.0
 * ledger.h — what a write session must be told and must tell about packs and chunks.
 * The repository code needs no database: whoever keeps the truth (the catalogue, or memory in a
 * test) hands in a RepoLedger. Every function may be called from several threads at once, blocks,
 * and fails with ERR_FENCED when the attempt no longer holds its job. */
#ifndef COMMON_REPO_LEDGER_H
#define COMMON_REPO_LEDGER_H

#include "protocol/pack.h"

typedef struct RepoLedger RepoLedger;
typedef struct RepoLedgerOps {
    /* Announces a pack before its object is written. */
    bool (*pack_begin)(RepoLedger *ledger, const Uuid *object, const Uuid *pack, PackKind kind,
                       uint64_t *pack_no, Err *err);
    /* The object is durable: records its size, hash and chunks. All or nothing. */
    bool (*pack_stage)(RepoLedger *ledger, const PackRow *row, Err *err);
    /* ids ascend without repetition; fills places[i] for ids[i]. Only chunks that this session may
     * share are found: of its own domain or verified, undamaged, or staged by this attempt. */
    bool (*lookup)(RepoLedger *ledger, const ChunkId *ids, size_t count, ChunkPlace *places,
                   Err *err);
    /* Packs that an earlier attempt of the same job staged and this one took over. */
    bool (*adopted)(RepoLedger *ledger, PackVisit *visit, void *ctx, Err *err);
    /* Announces an index object before it is written, so that the collector knows each of them:
     * whose session writes it (nil: nobody's), and the packs that it names, all staged by this
     * attempt. */
    bool (*index_begin)(RepoLedger *ledger, const Uuid *backup, const Uuid *object,
                        const uint64_t *pack_nos, size_t count, Err *err);
} RepoLedgerOps;
struct RepoLedger {
    const RepoLedgerOps *ops; /* first member of every ledger */
};

#endif
