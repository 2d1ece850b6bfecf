/* SPDX-License-Identifier: Apache-2.0
 * idmap.h — chunk ids in the order they were first seen, each with one number.
 * 45 bytes an id, so a terabyte of 1 MiB chunks takes 45 MiB. Ids are keyed hashes: their first
 * bytes are as good as any hash of them, and an outsider cannot choose them to collide. */
#ifndef COMMON_REPO_IDMAP_H
#define COMMON_REPO_IDMAP_H

#include "protocol/ids.h"

#define IDMAP_NONE UINT32_MAX

typedef struct IdMap {
    ChunkId *ids;
    uint64_t *values;
    uint32_t *slots; /* index + 1; 0: free */
    uint32_t count, room, mask;
} IdMap;

/* Index of the id, IDMAP_NONE when it is not there. */
uint32_t idmap_find(const IdMap *map, const ChunkId *id);
/* The same, adding it with value 0 first where it is new; *added may be NULL. */
uint32_t idmap_add(IdMap *map, const ChunkId *id, bool *added);
void idmap_free(IdMap *map); /* empties the struct */

#endif
