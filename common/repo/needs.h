/* SPDX-License-Identifier: Apache-2.0
 * needs.h — which packs a backup needs, found by walking its manifest.
 * What a page needs is remembered by the page's name: backups of one source share nearly all their
 * pages, so asking for many costs little more than for the first. Not thread-safe. */
#ifndef COMMON_REPO_NEEDS_H
#define COMMON_REPO_NEEDS_H

#include "common/repo/locator.h"
#include "common/repo/manifest.h"
#include "common/repo/packset.h"
#include "common/repo/repo.h"

typedef struct Needs Needs;

/* Borrows both. memory_bytes: of remembered pages and decoded ones together; 0: 64 MiB. */
Needs *needs_new(Repo *repo, RepoLocator *locator, size_t memory_bytes);

/* Adds to packs. *missing counts chunks that are nowhere and pages that do not open: what these
 * would have named is not known. */
MUST_CHECK bool needs_of(Needs *needs, const Manifest *manifest, PackSet *packs, uint64_t *missing,
                         Err *err);

void needs_free(Needs *needs); /* NULL is fine */

#endif
