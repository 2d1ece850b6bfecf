/* SPDX-License-Identifier: Apache-2.0
 * quarantine.h — objects are laid aside in quarantine/ before they are let go. What reads a
 * repository never looks there. No key is needed: an object is copied as it is. */
#ifndef COMMON_REPO_QUARANTINE_H
#define COMMON_REPO_QUARANTINE_H

#include "common/repo/repo.h"

/* name under place too, durable when it returns; the object stays where it is. A copy from before
 * must hold the same bytes (else ERR_CONFLICT quarantine.other), so it may be repeated. found
 * false: it is not there. */
MUST_CHECK bool quarantine_copy(Store *store, const char *name, const char *place, bool *found,
                                Err *err);

/* The packs that an index object names in its head, which lies in the clear; freed with mem_free.
 * readable false: it does not hold what an index object holds, or is not there any more. */
MUST_CHECK bool quarantine_index(Store *store, const char *name, bool *readable, Uuid **packs,
                                 size_t *count, Err *err);

#endif
