/* SPDX-License-Identifier: Apache-2.0
 * packset.c — open addressing, half full at most. */
#include "common/repo/packset.h"

#include "common/base/mem.h"

#include <stdlib.h>

static size_t slot_of(const PackSet *set, uint64_t pack_no)
{
    size_t at = (size_t)((pack_no * 0x9e3779b97f4a7c15u) >> 20) & (set->room - 1);
    while (set->slots[at] != 0 && set->slots[at] != pack_no)
        at = (at + 1) & (set->room - 1);
    return at;
}

static void packset_grow(PackSet *set)
{
    PackSet larger = {.room = set->room == 0 ? 64 : set->room * 2};
    larger.slots = mem_array(uint64_t, larger.room);
    for (size_t i = 0; i < set->room; i++)
        if (set->slots[i] != 0)
            larger.slots[slot_of(&larger, set->slots[i])] = set->slots[i];
    mem_free(set->slots);
    set->slots = larger.slots;
    set->room = larger.room;
}

bool packset_add(PackSet *set, uint64_t pack_no)
{
    if (set->count * 2 >= set->room)
        packset_grow(set);
    size_t at = slot_of(set, pack_no);
    if (set->slots[at] != 0)
        return false;
    set->slots[at] = pack_no;
    set->count++;
    return true;
}

bool packset_has(const PackSet *set, uint64_t pack_no)
{
    return set->count > 0 && set->slots[slot_of(set, pack_no)] != 0;
}

void packset_free(PackSet *set)
{
    mem_free(set->slots);
    memset(set, 0, sizeof *set);
}

static int compare_numbers(const void *a, const void *b)
{
    const uint64_t *left = a, *right = b;
    return (*left > *right) - (*left < *right);
}

uint64_t *packset_sorted(const PackSet *set)
{
    uint64_t *sorted = mem_array(uint64_t, set->count);
    size_t count = 0;
    for (size_t i = 0; i < set->room; i++)
        if (set->slots[i] != 0)
            sorted[count++] = set->slots[i];
    qsort(sorted, count, sizeof sorted[0], compare_numbers);
    return sorted;
}
