/* SPDX-License-Identifier: Apache-2.0 */
#include "scheduler/plan/due.h"

static const int64_t SECOND = 1000000000;

static int64_t seconds_of(int64_t ns)
{
    return ns / SECOND - (ns % SECOND < 0);
}

static bool excluded(const DueRule *rule, int64_t slot_s)
{
    return calendar_excludes(rule->exclude, rule->zone, slot_s);
}

/* The newest slots in (last, now] into the list, oldest first; older ones are counted. */
static void collect(const DueRule *rule, int64_t last_s, int64_t now_s, DueList *out)
{
    int64_t at = now_s + 1;
    size_t free_below = DUE_MOST;
    bool runs = false;
    while (cron_prev(&rule->cron, rule->zone, at, &at) && at > last_s) {
        bool out_of_it = excluded(rule, at);
        if (out->dropped == DUE_COUNT) {
            out->uncounted = true;
            break;
        }
        /* The last place is kept for one that may run, however many excluded ones are newer. */
        size_t least = out_of_it && !runs ? 1 : 0;
        if (free_below <= least) {
            out->dropped++;
            out->dropped_excluded += out_of_it;
            if (!out_of_it)
                out->slots[0].first_ns = at * SECOND;
            continue;
        }
        runs = runs || !out_of_it;
        out->slots[--free_below] = (DueSlot){.slot_ns = at * SECOND,
                                             .first_ns = at * SECOND,
                                             .why = out_of_it ? DUE_EXCLUDED : DUE_RUNS};
    }
    out->count = DUE_MOST - free_below;
    memmove(out->slots, out->slots + free_below, out->count * sizeof *out->slots);
}

/* What becomes of the newest slot. */
static DueWhy newest_why(const DueRule *rule, int64_t age_s)
{
    if (rule->start_deadline_s != 0 && age_s > rule->start_deadline_s)
        return DUE_LATE;
    return rule->catch_up || age_s <= DUE_IN_TIME_S ? DUE_RUNS : DUE_NO_CATCH_UP;
}

/* What becomes of one that is not the newest. */
static DueWhy older_why(const DueRule *rule, DueWhy newest, int64_t age_s)
{
    if (rule->catch_up && newest == DUE_RUNS)
        return DUE_COALESCED;
    bool late = rule->start_deadline_s != 0 && age_s > rule->start_deadline_s;
    return late ? DUE_LATE : DUE_NO_CATCH_UP;
}

static void decide(const DueRule *rule, int64_t now_s, DueList *out)
{
    DueSlot *newest = NULL;
    for (size_t i = out->count; i > 0; i--) {
        DueSlot *slot = &out->slots[i - 1];
        int64_t slot_s = seconds_of(slot->slot_ns);
        if (rule->start_deadline_s != 0)
            slot->start_by_ns = (slot_s + rule->start_deadline_s) * SECOND;
        if (slot->why == DUE_EXCLUDED)
            continue;
        if (newest == NULL) {
            newest = slot;
            slot->why = newest_why(rule, now_s - slot_s);
            slot->stands_for = slot->why == DUE_RUNS;
        } else {
            slot->why = older_why(rule, newest->why, now_s - slot_s);
            newest->stands_for += slot->why == DUE_COALESCED;
            if (slot->why == DUE_COALESCED)
                newest->first_ns = slot->first_ns;
        }
        slot->missed = slot->why != DUE_RUNS;
    }
    if (newest != NULL && rule->catch_up && newest->why == DUE_RUNS) {
        newest->stands_for += out->dropped - out->dropped_excluded;
        if (out->dropped != out->dropped_excluded)
            newest->first_ns = out->slots[0].first_ns;
    }
}

/* One slot, missed: the newest before now. Had it been decided, the catalogue knows, and only the
 * schedule's last slot moves. */
static void set_back(const DueRule *rule, int64_t now_s, DueList *out)
{
    int64_t at;
    if (!cron_prev(&rule->cron, rule->zone, now_s + 1, &at))
        return;
    out->count = 1;
    out->slots[0] = (DueSlot){
        .slot_ns = at * SECOND, .first_ns = at * SECOND, .why = DUE_SET_BACK, .missed = true};
}

void due_slots(const DueRule *rule, int64_t last_ns, int64_t now_ns, DueList *out)
{
    int64_t now_s = seconds_of(now_ns);
    int64_t last_s = seconds_of(last_ns);
    *out = (DueList){0};
    if (last_s > now_s + DUE_AHEAD_S) {
        out->ahead_s = last_s - now_s;
        set_back(rule, now_s, out);
        return;
    }
    collect(rule, last_s, now_s, out);
    decide(rule, now_s, out);
}
