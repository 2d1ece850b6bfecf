/* SPDX-License-Identifier: Apache-2.0 */
#include "common/repo/moves.h"

#include "common/base/mem.h"

enum {
    ROOM = 1024 * 1024, /* slots: at most half of them are used */
    PART_BITS = 24,
};

static const uint64_t PART_MASK = ((uint64_t)1 << PART_BITS) - 1;

/* A slot: the number of a part below PART_BITS bits of a stamp; 0: free. */
struct Moves {
    uint64_t *slots;
    size_t count;
};

Moves *moves_new(void)
{
    Moves *moves = mem_new(Moves);
    moves->slots = mem_array(uint64_t, ROOM);
    return moves;
}

static size_t slot_of(uint64_t stamp)
{
    return (size_t)(stamp >> PART_BITS) % ROOM;
}

void moves_add(Moves *moves, const Parents *part, uint32_t number)
{
    uint64_t stamp;
    if (number > PART_MASK)
        return;
    for (size_t at = 0; moves->count < ROOM / 2 && parents_stamps(part, &at, &stamp);) {
        size_t slot = slot_of(stamp);
        while (moves->slots[slot] != 0)
            slot = (slot + 1) % ROOM;
        moves->slots[slot] = (stamp & ~PART_MASK) | number;
        moves->count++;
    }
}

uint32_t moves_part(const Moves *moves, const ParentsKey *key)
{
    uint64_t stamp = parents_stamp(key);
    for (size_t slot = slot_of(stamp); moves->slots[slot] != 0; slot = (slot + 1) % ROOM)
        if (((moves->slots[slot] ^ stamp) & ~PART_MASK) == 0)
            return (uint32_t)(moves->slots[slot] & PART_MASK);
    return 0;
}

void moves_free(Moves *moves)
{
    if (moves == NULL)
        return;
    mem_free(moves->slots);
    mem_free(moves);
}
