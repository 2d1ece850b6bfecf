/* SPDX-License-Identifier: Apache-2.0
 * repo_grant.h — the keys of everything that one backup needs, for a grant. */
#ifndef COMMON_REPO_REPO_GRANT_H
#define COMMON_REPO_REPO_GRANT_H

#include "common/codec/grant.h"
#include "common/repo/locator.h"
#include "common/repo/reader.h"

/* Its manifest's, and each of its chunks'. go_on is asked between packs. Needs a reader key. */
MUST_CHECK bool repo_grant(Repo *repo, RepoLocator *locator, RepoReader *reader, const Uuid *backup,
                           GrantWriter *out, bool (*go_on)(void *ctx, Err *err), void *ctx,
                           Err *err);

#endif
