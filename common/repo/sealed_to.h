/* SPDX-License-Identifier: Apache-2.0
 * sealed_to.h — to which readers a stored object is sealed, as its head says in the clear: no key
 * is needed, and nothing of it is checked. For whoever looks what a retired reader still opens. */
#ifndef COMMON_REPO_SEALED_TO_H
#define COMMON_REPO_SEALED_TO_H

#include "common/codec/keyfile.h"
#include "common/store/store.h"

typedef struct SealedTo {
    uint8_t readers[DISK_READERS_MOST][16]; /* keyfile_reader_id of each */
    unsigned count;                         /* 0: to nobody, or under a derived key */
} SealedTo;

/* A pack, an HFOB object or a wrapped one; ERR_CORRUPT for anything else. */
MUST_CHECK bool sealed_to_read(Store *store, const char *name, SealedTo *out, Err *err);

/* Is it sealed to a reader that is none of the `count` ids at `current`? */
bool sealed_to_others(const SealedTo *sealed, const uint8_t (*current)[16], unsigned count);

#endif
