/* SPDX-License-Identifier: Apache-2.0 */
#include "scheduler/api/api.h"

#include "common/base/clock.h"
#include "common/base/json.h"
#include "common/base/units.h"
#include "scheduler/api/api_times.h"

#include <stdlib.h>

/* Slots that one answer may hold: a month of a small fleet, a day of a large one. */
enum { SLOTS_MOST = 10000 };

static void add_slots(json_t *items, const ScheduleRow *row, const ApiTime *time, int64_t now_s,
                      int64_t until_s)
{
    int64_t at = now_s;
    while (time->valid && json_array_size(items) < SLOTS_MOST &&
           cron_next(&time->cron, time->zone, at, &at) && at <= until_s) {
        char text[CLOCK_TEXT];
        char note[API_TIMES_NOTE];
        clock_rfc3339(at * 1000000000, text);
        api_times_note(row, time, at, note);
        json_array_append_new(items, json_pack("{s:s, s:s, s:s, s:s, s:s}", "at", text, "source",
                                               row->source_name, "schedule", row->name, "rule",
                                               row->at, "note", note));
    }
}

static int by_time(const void *a, const void *b)
{
    const json_t *const *left = a;
    const json_t *const *right = b;
    return strcmp(json_string_value(json_object_get(*left, "at")),
                  json_string_value(json_object_get(*right, "at")));
}

static json_t *sorted(json_t *items)
{
    size_t count = json_array_size(items);
    json_t **rows = malloc((count + 1) * sizeof *rows);
    json_t *out = json_array();
    if (rows == NULL)
        abort();
    for (size_t i = 0; i < count; i++)
        rows[i] = json_array_get(items, i);
    qsort(rows, count, sizeof *rows, by_time);
    for (size_t i = 0; i < count; i++)
        json_array_append(out, rows[i]);
    free(rows);
    return out;
}

bool api_schedule(ApiCall *call, Err *err)
{
    int64_t ahead_ms = 24ll * 3600 * 1000;
    ApiTimes times;
    scoped(buf_free) Buf span = {0};
    scoped(buf_free) Buf source = {0};
    if (api_query(call, "for", &span) && !units_duration_ms(buf_text(&span), &ahead_ms, err))
        return false;
    api_query(call, "source", &source);
    bool done = api_times_load(call->catalog, &times, err);
    json_t *items = json_array();
    int64_t now_s = times.list.now_ns / 1000000000;
    for (size_t i = 0; done && i < times.list.count; i++)
        if (source.len == 0 ||
            text_equal(text_of(times.list.rows[i].source_name), buf_text(&source)))
            add_slots(items, &times.list.rows[i], &times.rows[i], now_s, now_s + ahead_ms / 1000);
    json_t *body = json_pack("{s:o, s:n}", "items", sorted(items), "next_cursor");
    json_canonical(body, &call->answer->body);
    json_decref(body);
    json_decref(items);
    api_times_free(&times);
    return done;
}

/* The next slot of one schedule that is not excluded, as text; false: none, or it is paused. */
static bool next_slot(const ScheduleRow *row, const ApiTime *time, int64_t now_s,
                      char text[CLOCK_TEXT])
{
    enum { TRIES = 1000 };
    int64_t at = now_s;
    bool found = !row->paused && time->valid;
    for (int tries = 0; found && (tries == 0 || calendar_excludes(time->exclude, time->zone, at));
         tries++)
        found = tries < TRIES && cron_next(&time->cron, time->zone, at, &at);
    if (found)
        clock_rfc3339(at * 1000000000, text);
    return found;
}

static void note_next(json_t *source, const ScheduleRow *row, const char *text)
{
    size_t i;
    json_t *schedule;
    const char *known = json_string_value(json_object_get(source, "next_at"));
    if (known == NULL || strcmp(text, known) < 0)
        json_object_set_new(source, "next_at", json_string(text));
    json_array_foreach(json_object_get(source, "schedules"), i, schedule)
    {
        if (text_equal(json_text_or(schedule, "name", TEXT("")), text_of(row->name)))
            json_object_set_new(schedule, "next_at", json_string(text));
    }
}

bool api_schedule_next(ApiCall *call, json_t *sources, Err *err)
{
    size_t i;
    json_t *source;
    ApiTimes times;
    bool done = api_times_load(call->catalog, &times, err);
    json_t *by_name = json_object();
    json_array_foreach(sources, i, source)
    {
        json_object_set(by_name, json_string_value(json_object_get(source, "name")), source);
        json_object_set_new(source, "next_at", json_null());
    }
    for (size_t r = 0; done && r < times.list.count; r++) {
        char text[CLOCK_TEXT];
        const ScheduleRow *row = &times.list.rows[r];
        source = json_object_get(by_name, row->source_name);
        if (source != NULL && next_slot(row, &times.rows[r], times.list.now_ns / 1000000000, text))
            note_next(source, row, text);
    }
    json_decref(by_name);
    api_times_free(&times);
    return done;
}
