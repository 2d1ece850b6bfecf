/* SPDX-License-Identifier: Apache-2.0
 * timeline.h — events that are to come, taken in the order of their time; of one time, in that of
 * their kinds, then of their numbers, so that the same events always come in the same order. */
#ifndef SCHEDULER_PLAN_TIMELINE_H
#define SCHEDULER_PLAN_TIMELINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct TimelineEvent {
    int64_t at;
    uint32_t kind, number;
} TimelineEvent;

typedef struct Timeline {
    TimelineEvent *events; /* a binary heap; owned */
    size_t count, room;
} Timeline; /* {0} is an empty one */

void timeline_add(Timeline *timeline, TimelineEvent event);
bool timeline_take(Timeline *timeline, TimelineEvent *out); /* false: nothing is to come */
void timeline_free(Timeline *timeline);

#endif
