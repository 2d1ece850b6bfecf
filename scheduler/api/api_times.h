/* SPDX-License-Identifier: Apache-2.0
 * api_times.h — every schedule of the fleet as the planner takes it: rule, zone, excluded days and
 * windows, each of them read once however many sources share it. */
#ifndef SCHEDULER_API_API_TIMES_H
#define SCHEDULER_API_API_TIMES_H

#include "common/catalog/catalog_plan.h"
#include "scheduler/plan/cron.h"
#include "scheduler/plan/source_time.h"
#include "scheduler/plan/zones.h"

typedef struct ApiTime {
    bool valid; /* else its rule or its zone cannot be read any more, and it has no slots */
    Cron cron;
    const Zone *zone;
    const Calendar *exclude; /* NULL: none */
    const WindowWeek *week;  /* NULL: always open */
} ApiTime;

typedef struct ApiTimes {
    ScheduleList list;
    ApiTime *rows; /* one a row of the list */
    Zones zones;
    struct ApiShared *shared;
    size_t shared_count;
} ApiTimes; /* {0} is empty */

MUST_CHECK bool api_times_load(Catalog *catalog, ApiTimes *out, Err *err);
void api_times_free(ApiTimes *times); /* leaves an empty one; what did not load is fine */

/* Why a slot of a valid row does not run when it is due, as far as that is certain; else its zone.
 */
enum { API_TIMES_NOTE = 160 };
void api_times_note(const ScheduleRow *row, const ApiTime *time, int64_t at,
                    char note[API_TIMES_NOTE]);

#endif
