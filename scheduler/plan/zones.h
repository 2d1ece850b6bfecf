/* SPDX-License-Identifier: Apache-2.0
 * zones.h — the time zones that a fleet uses, each read once however many schedules name it. */
#ifndef SCHEDULER_PLAN_ZONES_H
#define SCHEDULER_PLAN_ZONES_H

#include "scheduler/plan/zone.h"

typedef struct Zones {
    struct ZonesEntry *entries; /* owned */
    size_t count, room;
} Zones; /* {0} is an empty set */

/* The zone of this name, alive until zones_free; NULL with zone.unknown. One that is not known is
 * not looked for again. */
const Zone *zones_get(Zones *zones, Text name, Err *err);

void zones_free(Zones *zones); /* leaves an empty one */

#endif
