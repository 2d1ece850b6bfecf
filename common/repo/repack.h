/* SPDX-License-Identifier: Apache-2.0
 * repack.h — the chunks that are still needed of half-dead packs, in new packs.
 * Each is opened, named again from its content, and sealed anew; each new pack is read back and
 * opened whole before anybody hears of it. The session has an index object of its own, which names
 * no backup. Nothing is taken away here: an old pack dies when no backup names it any more. Needs a
 * keyring that reads and writes. One thread. */
#ifndef COMMON_REPO_REPACK_H
#define COMMON_REPO_REPACK_H

#include "common/repo/ledger.h"
#include "common/repo/repo.h"

typedef struct Repack Repack;

/* ledger: its pack_begin, pack_stage and index_begin are called. pack_bytes 0: 16 MiB. */
MUST_CHECK bool repack_open(Repack **out, Repo *repo, RepoLedger *ledger, size_t pack_bytes,
                            Err *err);

/* Moves from->chunks, some or all of that pack's, ascending. into[i]: the number of the pack that
 * has chunk i from now on. good false, and *why: the pack does not hold what its rows say; what was
 * moved of it before is whole. */
MUST_CHECK bool repack_move(Repack *repack, const PackRow *from, uint64_t *into, bool *good,
                            Err *why, Err *err);

/* Ends the pack that is open: what is moved next goes into another. */
MUST_CHECK bool repack_cut(Repack *repack, Err *err);

/* Ends the last pack, looks through all of them, stores the index. *packs is borrowed. */
MUST_CHECK bool repack_finish(Repack *repack, Uuid *index, const uint64_t **packs, size_t *count,
                              Err *err);

uint64_t repack_bytes(const Repack *repack); /* of the packs that were ended */
void repack_close(Repack *repack);           /* NULL is fine */

#endif
