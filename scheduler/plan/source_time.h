/* SPDX-License-Identifier: Apache-2.0
 * source_time.h — what the compiled policy of one source says of time beside its rules: windows and
 * excluded days, as JSON in, as a week of each method and one calendar out. Pure. */
#ifndef SCHEDULER_PLAN_SOURCE_TIME_H
#define SCHEDULER_PLAN_SOURCE_TIME_H

#include "scheduler/plan/calendar.h"
#include "scheduler/plan/window.h"

#include <jansson.h>

typedef struct SourceTime {
    Calendar exclude; /* of all its calendars; their names live as long as this */
    json_t *windows;
    json_t *calendars;
} SourceTime; /* {0} is one without either */

/* windows: [{"hours":"22:00-06:00","days":["sat"],"on_close":"cancel","methods":["logical"]}], all
 * but hours optional; calendars: {"holidays":["12-25"]}. ERR_INVALID with what is wrong; the policy
 * was checked, so that is a defect. */
MUST_CHECK bool source_time_read(SourceTime *out, Text windows, Text calendars, Err *err);

/* The week of this method; "" of an engine that has none, which every window lets in. */
MUST_CHECK bool source_time_week(const SourceTime *time, Text method, WindowWeek *out, Err *err);

void source_time_free(SourceTime *time); /* leaves an empty one */

#endif
