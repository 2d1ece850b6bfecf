/* SPDX-License-Identifier: Apache-2.0 */
#include "common/repo/yesterday.h"

#include "common/base/mem.h"
#include "common/repo/moves.h"

enum {
    WINDOW = 2,
    ASIDE_LOADS = 64, /* of parts for files that moved, besides twice as many as there are */
};

typedef struct Sign {
    uint64_t token;
    uint32_t part; /* 0: free */
} Sign;

struct Yesterday {
    YesterdayLoad *load;
    void *ctx;
    bool in_order;
    uint64_t parts;                /* besides the last */
    YesterdayPart *window[WINDOW]; /* two that follow each other; NULL: there is none */
    uint64_t number;               /* of window[0] */
    YesterdayPart *last;
    Sign *signs; /* open addressing */
    size_t mask;
    Moves *moves; /* NULL: no file was met that moved */
    YesterdayPart *aside;
    uint64_t aside_loads;
};

void yesterday_release(YesterdayPart *part)
{
    if (part == NULL || --part->holders > 0)
        return;
    parents_free(part->parents);
    mem_free(part->state);
    mem_free(part->pack_nos);
    mem_free(part);
}

static YesterdayPart *load(const Yesterday *y, uint64_t number)
{
    scoped(buf_free) Buf body = {0};
    Parents *parents;
    Err ignored = {0};
    if (!y->load(y->ctx, number, &body) || !parents_read(&parents, buf_slice(&body), &ignored))
        return NULL;
    YesterdayPart *part = mem_new(YesterdayPart);
    uint32_t count = parents_ids(parents)->count;
    *part = (YesterdayPart){.parents = parents,
                            .state = mem_array(uint8_t, count),
                            .pack_nos = mem_array(uint64_t, count),
                            .number = number,
                            .holders = 1};
    return part;
}

/* Makes `number` the first of the window. */
static void move_to(Yesterday *y, uint64_t number)
{
    YesterdayPart *old[WINDOW];
    memcpy(old, y->window, sizeof old);
    for (uint64_t i = 0; i < WINDOW; i++) {
        bool kept = number + i == y->number + 1 && old[1] != NULL;
        y->window[i] = NULL;
        if (kept) {
            y->window[i] = old[1];
            old[1] = NULL;
        } else if (number + i <= y->parts) {
            y->window[i] = load(y, number + i);
        }
    }
    for (unsigned i = 0; i < WINDOW; i++)
        yesterday_release(old[i]);
    y->number = number;
}

static void read_signs(Yesterday *y)
{
    Slice signs = parents_end(y->last->parents).signs;
    size_t room = 64;
    while (room < signs.len / PARENTS_SIGN * 2)
        room *= 2;
    y->signs = mem_array(Sign, room);
    y->mask = room - 1;
    for (const uint8_t *at = signs.at; at < signs.at + signs.len; at += PARENTS_SIGN) {
        Sign sign;
        memcpy(&sign.token, at, sizeof sign.token);
        sign.part = (uint32_t)at[8] | (uint32_t)at[9] << 8 | (uint32_t)at[10] << 16 |
                    (uint32_t)at[11] << 24;
        size_t slot = (size_t)(sign.token >> 32) & y->mask;
        while (y->signs[slot].part != 0)
            slot = (slot + 1) & y->mask;
        y->signs[slot] = sign;
    }
}

/* The part that the path is said to be in; 0: nothing is said. */
static uint64_t sign_of(const Yesterday *y, uint64_t token)
{
    for (size_t slot = (size_t)(token >> 32) & y->mask; y->signs[slot].part != 0;
         slot = (slot + 1) & y->mask)
        if (y->signs[slot].token == token)
            return y->signs[slot].part;
    return 0;
}

Yesterday *yesterday_open(YesterdayLoad *from, void *ctx, bool in_order)
{
    Yesterday *y = mem_new(Yesterday);
    *y = (Yesterday){.load = from, .ctx = ctx, .in_order = in_order};
    y->last = load(y, 0);
    if (y->last == NULL) {
        yesterday_free(y);
        return NULL;
    }
    y->parts = parents_end(y->last->parents).parts;
    read_signs(y);
    if (y->parts > 0)
        move_to(y, 1);
    return y;
}

static YesterdayPart *row_here(const Yesterday *y, const ParentsKey *key, ParentsRow *row)
{
    for (unsigned i = 0; i < WINDOW; i++)
        if (y->window[i] != NULL && parents_find(y->window[i]->parents, key, row))
            return y->window[i];
    return parents_find(y->last->parents, key, row) ? y->last : NULL;
}

static void find_all(Yesterday *y)
{
    y->moves = moves_new();
    for (uint64_t number = 1; number <= y->parts && number < UINT32_MAX; number++) {
        YesterdayPart *part = load(y, number);
        if (part != NULL)
            moves_add(y->moves, part->parents, (uint32_t)number);
        yesterday_release(part);
    }
}

/* Holds that part beside the others. Files that come from everywhere are not worth it. */
static bool set_aside(Yesterday *y, uint64_t number)
{
    if (y->aside != NULL && y->aside->number == number)
        return true;
    if (number == 0 || y->aside_loads++ >= ASIDE_LOADS + 2 * y->parts)
        return false;
    yesterday_release(y->aside);
    y->aside = load(y, number);
    return y->aside != NULL;
}

/* A file that lies elsewhere in the list: where both walks lost each other, or because it had
 * another path. Its ctime is older than the list, or it is new. */
static YesterdayPart *row_elsewhere(Yesterday *y, const ParentsKey *key, ParentsRow *row)
{
    if (!key->movable || key->ctime_ns > parents_end(y->last->parents).newest_ns)
        return NULL;
    YesterdayPart *held[WINDOW + 2] = {y->window[0], y->window[1], y->last, y->aside};
    for (unsigned i = 0; i < WINDOW + 2; i++)
        if (held[i] != NULL && parents_find_moved(held[i]->parents, key, row))
            return held[i];
    if (y->moves == NULL)
        find_all(y);
    uint64_t number = moves_part(y->moves, key);
    if (!set_aside(y, number))
        return NULL;
    if (number > y->number && parents_find(y->aside->parents, key, row)) {
        move_to(y, number);
        return row_here(y, key, row);
    }
    return parents_find_moved(y->aside->parents, key, row) ? y->aside : NULL;
}

/* Where a sign leads from here. */
static YesterdayPart *row_ahead(Yesterday *y, const ParentsKey *key, ParentsRow *row)
{
    uint64_t number = sign_of(y, key->token);
    bool ahead = number > y->number || !y->in_order;
    if (number == 0 || number > y->parts || number == y->number || !ahead)
        return NULL;
    move_to(y, number);
    return row_here(y, key, row);
}

YesterdayPart *yesterday_row(Yesterday *y, const ParentsKey *key, ParentsRow *row)
{
    YesterdayPart *part = row_here(y, key, row);
    if (part != NULL && part == y->window[1])
        move_to(y, part->number);
    if (part == NULL)
        part = row_ahead(y, key, row);
    if (part == NULL)
        part = row_elsewhere(y, key, row);
    if (part != NULL)
        part->holders++;
    return part;
}

YesterdayPart *yesterday_marked(Yesterday *y, const ParentsKey *key,
                                const uint8_t mark[PARENTS_MARK], ParentsRow *row)
{
    YesterdayPart *held[WINDOW + 1] = {y->window[0], y->window[1], y->last};
    for (unsigned i = 0; i <= WINDOW; i++) {
        if (held[i] == NULL || !parents_find_marked(held[i]->parents, key, mark, row))
            continue;
        held[i]->holders++;
        if (i == 1)
            move_to(y, held[i]->number);
        return held[i];
    }
    return NULL;
}

YesterdayPart *yesterday_id(Yesterday *y, const ChunkId *id, uint32_t *index)
{
    YesterdayPart *held[WINDOW + 1] = {y->window[0], y->window[1], y->last};
    for (unsigned i = 0; i <= WINDOW; i++) {
        *index = held[i] == NULL ? IDMAP_NONE : idmap_find(parents_ids(held[i]->parents), id);
        if (*index == IDMAP_NONE)
            continue;
        /* Without an order of paths, content itself says how far today has come. */
        if (i == 1 && !y->in_order)
            move_to(y, held[i]->number);
        return held[i];
    }
    return NULL;
}

void yesterday_free(Yesterday *y)
{
    if (y == NULL)
        return;
    for (unsigned i = 0; i < WINDOW; i++)
        yesterday_release(y->window[i]);
    yesterday_release(y->last);
    yesterday_release(y->aside);
    moves_free(y->moves);
    mem_free(y->signs);
    mem_free(y);
}
