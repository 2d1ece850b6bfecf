/* SPDX-License-Identifier: Apache-2.0 */
#include "common/repo/today.h"

#include "common/base/mem.h"

enum {
    SIGN_SPREAD = 1024,          /* of so many rows one is a sign: what is read for nothing where
                                    yesterday's list and today's walk have lost each other */
    SIGNS_MAX = 8 * 1024 * 1024, /* bytes; 700 million entries */
};

typedef struct Part {
    struct Part *next;
    Parents *parents;
    uint64_t number;
    unsigned users;
} Part;

struct Today {
    TodayPut *put;
    void *ctx;
    Part *parts; /* the newest first */
    uint64_t count;
    int64_t newest_ns;
    Buf signs;
};

Today *today_new(TodayPut *put, void *ctx)
{
    Today *today = mem_new(Today);
    today->put = put;
    today->ctx = ctx;
    return today;
}

static Part *newest(Today *today)
{
    if (today->parts != NULL && !parents_full(today->parts->parents))
        return today->parts;
    Part *part = mem_new(Part);
    *part = (Part){today->parts, parents_new(), ++today->count, 0};
    today->parts = part;
    return part;
}

static Part **place_of(Today *today, const Parents *parents)
{
    Part **at = &today->parts;
    while ((*at)->parents != parents)
        at = &(*at)->next;
    return at;
}

static void drop(Part **at)
{
    Part *part = *at;
    *at = part->next;
    parents_free(part->parents);
    mem_free(part);
}

static bool hand_over(Today *today, Part **at, Err *err)
{
    scoped(buf_free) Buf body = {0};
    parents_body((*at)->parents, &(ParentsEnd){0}, &body);
    if (!today->put(today->ctx, (*at)->number, buf_slice(&body), err))
        return false;
    drop(at);
    return true;
}

Parents *today_join(Today *today)
{
    Part *part = newest(today);
    part->users++;
    return part->parents;
}

void today_add(Today *today, Parents *parents, const ParentsKey *key, const ParentsFacts *facts,
               Slice row)
{
    parents_add(parents, key, facts, row);
    if (key->ctime_ns > today->newest_ns)
        today->newest_ns = key->ctime_ns;
    if (key->token % SIGN_SPREAD != 0 || today->signs.len >= SIGNS_MAX)
        return;
    buf_add(&today->signs, &key->token, sizeof key->token);
    buf_add_le32(&today->signs, (uint32_t)(*place_of(today, parents))->number);
}

bool today_leave(Today *today, Parents *parents, Err *err)
{
    Part **at = place_of(today, parents);
    return --(*at)->users > 0 || !parents_full(parents) || hand_over(today, at, err);
}

bool today_page(Today *today, const ChunkId *id, Err *err)
{
    Part *part = newest(today);
    parents_add_page(part->parents, id);
    return part->users > 0 || !parents_full(part->parents) ||
           hand_over(today, place_of(today, part->parents), err);
}

bool today_finish(Today *today, Err *err)
{
    scoped(buf_free) Buf body = {0};
    const Part *last = newest(today);
    while (last->next != NULL)
        if (!hand_over(today, &today->parts->next, err))
            return false;
    ParentsEnd end = {last->number - 1, buf_slice(&today->signs), today->newest_ns};
    parents_body(last->parents, &end, &body);
    return today->put(today->ctx, 0, buf_slice(&body), err);
}

void today_free(Today *today)
{
    if (today == NULL)
        return;
    while (today->parts != NULL)
        drop(&today->parts);
    buf_free(&today->signs);
    mem_free(today);
}
