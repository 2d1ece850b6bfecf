/* SPDX-License-Identifier: Apache-2.0 */
#include "scheduler/api/api_times.h"

#include "common/base/mem.h"
#include "common/catalog/catalog_window.h"
#include "scheduler/plan/civil.h"

#include <inttypes.h>
#include <stdio.h>

/* What policies share: the same windows and calendars for the same method. */
typedef struct ApiShared {
    char *windows, *calendars, method[16];
    SourceTime time;
    WindowWeek *week; /* of its own allocation, for the array moves */
    Calendar *exclude;
    bool good;
} ApiShared;

static ApiShared *shared(ApiTimes *times, const TimeRow *row, const char *method)
{
    for (size_t i = times->shared_count; i > 0; i--) {
        ApiShared *one = &times->shared[i - 1];
        if (strcmp(one->method, method) == 0 && strcmp(one->windows, row->windows) == 0 &&
            strcmp(one->calendars, row->calendars) == 0)
            return one;
    }
    times->shared = mem_resize(times->shared, (times->shared_count + 1) * sizeof *times->shared);
    ApiShared *one = &times->shared[times->shared_count++];
    Err err = {0};
    *one = (ApiShared){.windows = mem_text(text_of(row->windows)),
                       .calendars = mem_text(text_of(row->calendars)),
                       .week = mem_new(WindowWeek),
                       .exclude = mem_new(Calendar)};
    snprintf(one->method, sizeof one->method, "%s", method);
    one->good =
        source_time_read(&one->time, text_of(row->windows), text_of(row->calendars), &err) &&
        source_time_week(&one->time, text_of(method), one->week, &err);
    *one->exclude = one->time.exclude;
    return one;
}

static void read_row(ApiTimes *times, const TimeList *list, size_t *at, size_t i)
{
    const ScheduleRow *row = &times->list.rows[i];
    ApiTime *time = &times->rows[i];
    Err err = {0};
    time->zone = zones_get(&times->zones, text_of(row->timezone), &err);
    time->valid = time->zone != NULL &&
                  cron_parse(text_of(row->at), text_of(row->source_name), &time->cron, &err);
    while (*at < list->count && list->rows[*at].source < row->source)
        ++*at;
    if (*at == list->count || list->rows[*at].source != row->source)
        return;
    const ApiShared *one = shared(times, &list->rows[*at], row->method);
    time->valid = time->valid && one->good;
    time->exclude = one->exclude;
    time->week = one->week;
}

bool api_times_load(Catalog *catalog, ApiTimes *out, Err *err)
{
    TimeList list = {0};
    size_t at = 0;
    *out = (ApiTimes){0};
    if (!catalog_schedule_load(catalog, &out->list, err) || !catalog_time_load(catalog, &list, err))
        return false;
    out->rows = mem_array(ApiTime, out->list.count);
    for (size_t i = 0; i < out->list.count; i++)
        read_row(out, &list, &at, i);
    catalog_time_free(&list);
    return true;
}

void api_times_free(ApiTimes *times)
{
    for (size_t i = 0; i < times->shared_count; i++) {
        mem_free(times->shared[i].windows);
        mem_free(times->shared[i].calendars);
        mem_free(times->shared[i].week);
        mem_free(times->shared[i].exclude);
        source_time_free(&times->shared[i].time);
    }
    mem_free(times->shared);
    mem_free(times->rows);
    zones_free(&times->zones);
    catalog_schedule_free(&times->list);
    *times = (ApiTimes){0};
}

void api_times_note(const ScheduleRow *row, const ApiTime *time, int64_t at,
                    char note[API_TIMES_NOTE])
{
    Civil local = civil_of(at + zone_offset(time->zone, at));
    const CalendarSpan *span =
        calendar_find(time->exclude, civil_days(local.year, local.month, local.day));
    int64_t open = at;
    snprintf(note, API_TIMES_NOTE, "%s", row->paused ? "paused" : row->timezone);
    if (span != NULL)
        snprintf(note, API_TIMES_NOTE, "excluded by the calendar '%.64s'", span->name);
    else if (time->week != NULL && !window_next_open(time->week, time->zone, at, &open))
        snprintf(note, API_TIMES_NOTE, "no window ever lets it run");
    else if (open > at) {
        local = civil_of(open + zone_offset(time->zone, open));
        bool late = row->start_deadline_s != 0 && open - at > row->start_deadline_s;
        snprintf(note, API_TIMES_NOTE, "its window opens %04" PRId64 "-%02d-%02d %02d:%02d %.64s%s",
                 local.year, local.month, local.day, local.hour, local.minute, row->timezone,
                 late ? ", after its start deadline" : "");
    }
}
