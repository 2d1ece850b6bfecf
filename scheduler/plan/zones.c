/* SPDX-License-Identifier: Apache-2.0 */
#include "scheduler/plan/zones.h"

#include "common/base/mem.h"

typedef struct ZonesEntry {
    char *name;
    Zone *zone; /* NULL: this system has none of that name */
    Err why;
} ZonesEntry;

const Zone *zones_get(Zones *zones, Text name, Err *err)
{
    /* From the newest: schedules of one zone stand together. A fleet has a few dozens at most. */
    for (size_t i = zones->count; i > 0; i--) {
        const ZonesEntry *entry = &zones->entries[i - 1];
        if (!text_equal(text_of(entry->name), name))
            continue;
        if (entry->zone == NULL)
            *err = entry->why;
        return entry->zone;
    }
    if (zones->count == zones->room) {
        zones->room = zones->room == 0 ? 8 : 2 * zones->room;
        zones->entries = mem_resize(zones->entries, zones->room * sizeof *zones->entries);
    }
    ZonesEntry *entry = &zones->entries[zones->count++];
    *entry = (ZonesEntry){.name = mem_text(name)};
    if (!zone_open(&entry->zone, name, &entry->why))
        *err = entry->why;
    return entry->zone;
}

void zones_free(Zones *zones)
{
    for (size_t i = 0; i < zones->count; i++) {
        mem_free(zones->entries[i].name);
        zone_free(zones->entries[i].zone);
    }
    mem_free(zones->entries);
    *zones = (Zones){0};
}
