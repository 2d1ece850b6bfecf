/* SPDX-License-Identifier: Apache-2.0
 * repo_hold.h — what must not be deleted, said in the store itself: holds/<backup>, signed by a
 * certificate of the prune role, replaced by every later hold or release. A catalogue can be lost;
 * a legal hold must not be. */
#ifndef COMMON_REPO_REPO_HOLD_H
#define COMMON_REPO_REPO_HOLD_H

#include "common/base/buf.h"
#include "common/repo/repo.h"

typedef struct RepoHold {
    Uuid backup;
    int64_t until_s; /* 0: it was released */
    int64_t said_s;
    Buf reason; /* of one that was read; freed by repo_hold_free */
} RepoHold;

/* Durable when it returns. A keyring of the prune role signs. */
MUST_CHECK bool repo_hold_put(Repo *repo, const RepoHold *hold, Err *err);

/* Needs a reader. found false: there is none, or it is not by somebody who may say so. */
MUST_CHECK bool repo_hold_get(Repo *repo, const Uuid *backup, RepoHold *hold, bool *found,
                              Err *err);
void repo_hold_free(RepoHold *hold);

#endif
