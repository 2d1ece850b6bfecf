/* SPDX-License-Identifier: Apache-2.0
 * repo_copy.h — objects brought from one repository of a key set into another, without opening
 * them. The cryptography binds the key set and the pack id, never a place: a pack lies under a
 * fresh name with the same bytes. Its hash is reckoned while it passes, and nothing that has
 * another is ever given a name. */
#ifndef COMMON_REPO_REPO_COPY_H
#define COMMON_REPO_REPO_COPY_H

#include "common/repo/repo.h"
#include "common/store/store.h"
#include "protocol/pack.h"

typedef struct RepoCopyWatch {
    void *ctx;
    bool (*passed)(void *ctx, size_t bytes, Err *err); /* false ends the copy, with *err set */
} RepoCopyWatch;

/* The object of `row` becomes `object` in the other store, durable when it returns. *whole false:
 * it is not there, or not what the row says, and nothing was stored; *why has the reason. */
MUST_CHECK bool repo_copy_pack(Store *from, Store *to, const PackRow *row, const Uuid *object,
                               const RepoCopyWatch *watch, bool *whole, Err *why, Err *err);

/* The manifest under its own name; one that is there already must be the same. */
MUST_CHECK bool repo_copy_manifest(Store *from, Store *to, const Uuid *backup, const Sha256 *sha256,
                                   bool *whole, Err *why, Err *err);

#endif
