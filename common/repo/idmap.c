/* SPDX-License-Identifier: Apache-2.0
 * idmap.c — open addressing over an array of ids. */
#include "common/repo/idmap.h"

#include "common/base/mem.h"

static uint32_t hash_of(const ChunkId *id)
{
    uint32_t hash;
    memcpy(&hash, id->bytes, sizeof hash);
    return hash;
}

uint32_t idmap_find(const IdMap *map, const ChunkId *id)
{
    if (map->count == 0)
        return IDMAP_NONE;
    for (uint32_t at = hash_of(id) & map->mask;; at = (at + 1) & map->mask) {
        uint32_t slot = map->slots[at];
        if (slot == 0)
            return IDMAP_NONE;
        if (memcmp(&map->ids[slot - 1], id, sizeof *id) == 0)
            return slot - 1;
    }
}

static void place(IdMap *map, uint32_t index)
{
    uint32_t at = hash_of(&map->ids[index]) & map->mask;
    while (map->slots[at] != 0)
        at = (at + 1) & map->mask;
    map->slots[at] = index + 1;
}

/* At most half of the slots are taken. */
static void grow(IdMap *map)
{
    map->room = map->room == 0 ? 64 : map->room * 2;
    map->ids = mem_resize(map->ids, map->room * sizeof map->ids[0]);
    map->values = mem_resize(map->values, map->room * sizeof map->values[0]);
    mem_free(map->slots);
    map->slots = mem_array(uint32_t, (size_t)map->room * 2);
    map->mask = map->room * 2 - 1;
    for (uint32_t i = 0; i < map->count; i++)
        place(map, i);
}

uint32_t idmap_add(IdMap *map, const ChunkId *id, bool *added)
{
    uint32_t index = idmap_find(map, id);
    if (added != NULL)
        *added = index == IDMAP_NONE;
    if (index != IDMAP_NONE)
        return index;
    if (map->count == map->room)
        grow(map);
    index = map->count++;
    map->ids[index] = *id;
    map->values[index] = 0;
    place(map, index);
    return index;
}

void idmap_free(IdMap *map)
{
    mem_free(map->ids);
    mem_free(map->values);
    mem_free(map->slots);
    memset(map, 0, sizeof *map);
}
