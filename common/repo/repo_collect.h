/* SPDX-License-Identifier: Apache-2.0
 * repo_collect.h — what is ever taken out of a repository, and the order in which it is.
 * Never data before the thing that points to it: who forgets a backup says so first
 * (forgotten/<id>, signed by a certificate of the prune role), then its marker goes, then its
 * manifest and its parent lists. Packs go later, after the epoch of their death is in the store.
 * All of it needs a store that may delete (store_let_remove), and may be repeated after a kill at
 * any point. */
#ifndef COMMON_REPO_REPO_COLLECT_H
#define COMMON_REPO_REPO_COLLECT_H

#include "common/repo/repo.h"

/* The epoch and who brings it, durable when it returns. */
MUST_CHECK bool repo_epoch_put(Repo *repo, uint64_t epoch, uint64_t job, uint64_t attempt,
                               Err *err);

/* A keyring of the prune role signs. manifest: the sha256 that its marker names. */
MUST_CHECK bool repo_forget(Repo *repo, const Uuid *backup, const Sha256 *manifest, Err *err);

/* Was it forgotten, by somebody who may? Needs a reader; another's word counts as none. */
MUST_CHECK bool repo_forgotten(Repo *repo, const Uuid *backup, bool *forgotten, Err *err);

/* Absent is fine. */
MUST_CHECK bool repo_pack_remove(Repo *repo, const Uuid *object, Err *err);
MUST_CHECK bool repo_index_remove(Repo *repo, const Uuid *object, Err *err);

#endif
