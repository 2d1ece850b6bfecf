/* SPDX-License-Identifier: Apache-2.0 */
#include "scheduler/plan/due.h"

static const int64_t SECOND = 1000000000;

/* Without catch-up a slot still counts as in time for so long: a tick, a failover, a restart. */
static const int64_t IN_TIME_S = 300;

static void keep(DueList *out, int64_t slot_s)
{
    if (out->count == DUE_MOST) {
        memmove(out->slots, out->slots + 1, (DUE_MOST - 1) * sizeof *out->slots);
        out->count--;
        out->dropped++;
    }
    out->slots[out->count++] = (DueSlot){.slot_ns = slot_s * SECOND};
}

void due_slots(const DueRule *rule, int64_t last_ns, int64_t now_ns, DueList *out)
{
    int64_t now_s = now_ns / SECOND;
    int64_t at = last_ns / SECOND;
    *out = (DueList){0};
    while (cron_next(&rule->cron, rule->zone, at, &at) && at <= now_s)
        keep(out, at);
    for (size_t i = 0; i < out->count; i++) {
        DueSlot *slot = &out->slots[i];
        int64_t slot_s = slot->slot_ns / SECOND;
        if (rule->start_deadline_s != 0)
            slot->start_by_ns = (slot_s + rule->start_deadline_s) * SECOND;
        bool newest = i + 1 == out->count;
        bool late = rule->start_deadline_s != 0 && now_s - slot_s > rule->start_deadline_s;
        slot->missed = !newest || late || (!rule->catch_up && now_s - slot_s > IN_TIME_S);
    }
}
