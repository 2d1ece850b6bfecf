/* SPDX-License-Identifier: Apache-2.0 */
#include "scheduler/plan/timeline.h"

#include "common/base/mem.h"

static bool before(const TimelineEvent *a, const TimelineEvent *b)
{
    if (a->at != b->at)
        return a->at < b->at;
    return a->kind != b->kind ? a->kind < b->kind : a->number < b->number;
}

void timeline_add(Timeline *timeline, TimelineEvent event)
{
    if (timeline->count == timeline->room) {
        timeline->room = timeline->room == 0 ? 64 : timeline->room * 2;
        timeline->events = mem_resize(timeline->events, timeline->room * sizeof *timeline->events);
    }
    size_t at = timeline->count++;
    while (at > 0 && before(&event, &timeline->events[(at - 1) / 2])) {
        timeline->events[at] = timeline->events[(at - 1) / 2];
        at = (at - 1) / 2;
    }
    timeline->events[at] = event;
}

bool timeline_take(Timeline *timeline, TimelineEvent *out)
{
    if (timeline->count == 0)
        return false;
    *out = timeline->events[0];
    TimelineEvent last = timeline->events[--timeline->count];
    size_t at = 0;
    for (size_t child = 1; child < timeline->count; child = 2 * at + 1) {
        if (child + 1 < timeline->count &&
            before(&timeline->events[child + 1], &timeline->events[child]))
            child++;
        if (!before(&timeline->events[child], &last))
            break;
        timeline->events[at] = timeline->events[child];
        at = child;
    }
    timeline->events[at] = last;
    return true;
}

void timeline_free(Timeline *timeline)
{
    mem_free(timeline->events);
    *timeline = (Timeline){0};
}
