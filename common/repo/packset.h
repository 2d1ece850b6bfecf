/* SPDX-License-Identifier: Apache-2.0
 * packset.h — a set of pack numbers: those a backup needs, or those it must not use. */
#ifndef COMMON_REPO_PACKSET_H
#define COMMON_REPO_PACKSET_H

#include "protocol/bytes.h"

typedef struct PackSet {
    uint64_t *slots; /* 0: free; a ledger numbers from 1 */
    size_t count, room;
} PackSet;

bool packset_add(PackSet *set, uint64_t pack_no); /* false: it was there */
bool packset_has(const PackSet *set, uint64_t pack_no);
uint64_t *packset_sorted(const PackSet *set); /* count numbers, ascending; mem_free */
void packset_free(PackSet *set);              /* empties the struct */

#endif
