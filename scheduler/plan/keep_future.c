/* SPDX-License-Identifier: Apache-2.0 */
#include "scheduler/plan/keep_future.h"

#include "common/base/mem.h"

#include <string.h>

enum { SLOTS = 4000 };

static const int64_t YEARS_S = INT64_C(10) * 366 * 86400;

/* The backups of today, and behind them those that slots will make, in order. */
typedef struct Future {
    const KeepPolicy *policy;
    KeepFacts facts;
    KeepBackup *backups;
    KeepRuling *rulings;
    size_t now, slots, index;
} Future;

static bool next_of(const KeepComing *coming, size_t count, const Zone *zone, int64_t after,
                    int64_t *at, Text *name)
{
    bool found = false;
    for (size_t i = 0; i < count; i++) {
        int64_t next;
        if (!cron_next(&coming[i].cron, zone, after, &next) || (found && next >= *at))
            continue;
        *at = next;
        *name = coming[i].name;
        found = true;
    }
    return found;
}

static void foresee(Future *future, const KeepComing *coming, size_t count)
{
    int64_t at = future->facts.now_s;
    uint64_t sequence = 0;
    Text name;
    for (size_t i = 0; i < future->now; i++)
        if (future->backups[i].sequence > sequence)
            sequence = future->backups[i].sequence;
    while (future->slots < SLOTS && next_of(coming, count, future->facts.zone, at, &at, &name) &&
           at < future->facts.now_s + YEARS_S)
        future->backups[future->now + future->slots++] = (KeepBackup){.at_s = at,
                                                                      .started_s = at,
                                                                      .committed_s = at,
                                                                      .sequence = ++sequence,
                                                                      .schedule = name,
                                                                      .quality = KEEP_GOOD};
}

/* Does it expire once so many slots have made theirs? */
static bool goes_after(Future *future, size_t slots)
{
    KeepFacts facts = {.now_s = future->facts.now_s, .zone = future->facts.zone};
    if (slots > 0)
        facts.now_s = future->backups[future->now + slots - 1].at_s;
    keep_decide(future->policy, &facts, future->backups, future->now + slots, future->rulings);
    return future->rulings[future->index].why == 0;
}

bool keep_goes(const KeepPolicy *policy, const KeepFacts *facts, const KeepBackup *backups,
               size_t count, size_t index, const KeepComing *coming, size_t coming_count,
               int64_t *at_s)
{
    Future future = {.policy = policy,
                     .facts = *facts,
                     .backups = mem_array(KeepBackup, count + SLOTS),
                     .rulings = mem_array(KeepRuling, count + SLOTS),
                     .now = count,
                     .index = index};
    memcpy(future.backups, backups, count * sizeof *backups);
    future.backups[index].in_use = false;
    foresee(&future, coming, coming_count);
    size_t kept = 0, gone = 0;
    bool found = goes_after(&future, 0);
    while (!found && gone < future.slots) {
        kept = gone;
        gone = gone == 0 ? 1 : gone * 2 < future.slots ? gone * 2 : future.slots;
        found = goes_after(&future, gone);
    }
    while (found && gone > kept + 1) {
        size_t middle = kept + (gone - kept) / 2;
        if (goes_after(&future, middle))
            gone = middle;
        else
            kept = middle;
    }
    *at_s = gone == 0 ? facts->now_s : future.backups[count + gone - 1].at_s;
    mem_free(future.backups);
    mem_free(future.rulings);
    return found;
}
