/* SPDX-License-Identifier: Apache-2.0 */
#include "scheduler/api/api.h"

#include "common/base/clock.h"
#include "common/base/json.h"
#include "common/base/units.h"
#include "common/catalog/catalog_plan.h"
#include "scheduler/plan/cron.h"

#include <stdlib.h>

/* Slots that one answer may hold: a month of a small fleet, a day of a large one. */
enum { SLOTS_MOST = 10000 };

static void add_slots(json_t *items, const ScheduleRow *row, int64_t now_s, int64_t until_s)
{
    Cron cron;
    Zone *zone = NULL;
    Err err = {0};
    int64_t at = now_s;
    if (!cron_parse(text_of(row->at), text_of(row->source_name), &cron, &err) ||
        !zone_open(&zone, text_of(row->timezone), &err))
        return;
    while (json_array_size(items) < SLOTS_MOST && cron_next(&cron, zone, at, &at) &&
           at <= until_s) {
        char text[CLOCK_TEXT];
        clock_rfc3339(at * 1000000000, text);
        json_array_append_new(items,
                              json_pack("{s:s, s:s, s:s, s:s, s:s}", "at", text, "source",
                                        row->source_name, "schedule", row->name, "rule", row->at,
                                        "note", row->paused ? "paused" : row->timezone));
    }
    zone_free(zone);
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
    ScheduleList list = {0};
    scoped(buf_free) Buf span = {0};
    scoped(buf_free) Buf source = {0};
    if (api_query(call, "for", &span) && !units_duration_ms(buf_text(&span), &ahead_ms, err))
        return false;
    api_query(call, "source", &source);
    if (!catalog_schedule_load(call->catalog, &list, err))
        return false;
    json_t *items = json_array();
    int64_t now_s = list.now_ns / 1000000000;
    for (size_t i = 0; i < list.count; i++)
        if (source.len == 0 || text_equal(text_of(list.rows[i].source_name), buf_text(&source)))
            add_slots(items, &list.rows[i], now_s, now_s + ahead_ms / 1000);
    json_t *body = json_pack("{s:o, s:n}", "items", sorted(items), "next_cursor");
    json_canonical(body, &call->answer->body);
    json_decref(body);
    json_decref(items);
    catalog_schedule_free(&list);
    return true;
}

/* The next slot of one schedule as text; false: none, or it is paused. */
static bool next_slot(const ScheduleRow *row, int64_t now_s, char text[CLOCK_TEXT])
{
    Cron cron;
    Zone *zone = NULL;
    Err err = {0};
    int64_t at;
    bool found =
        !row->paused && cron_parse(text_of(row->at), text_of(row->source_name), &cron, &err) &&
        zone_open(&zone, text_of(row->timezone), &err) && cron_next(&cron, zone, now_s, &at);
    if (found)
        clock_rfc3339(at * 1000000000, text);
    zone_free(zone);
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
    ScheduleList list = {0};
    if (!catalog_schedule_load(call->catalog, &list, err))
        return false;
    json_t *by_name = json_object();
    json_array_foreach(sources, i, source)
    {
        json_object_set(by_name, json_string_value(json_object_get(source, "name")), source);
        json_object_set_new(source, "next_at", json_null());
    }
    for (size_t r = 0; r < list.count; r++) {
        char text[CLOCK_TEXT];
        source = json_object_get(by_name, list.rows[r].source_name);
        if (source != NULL && next_slot(&list.rows[r], list.now_ns / 1000000000, text))
            note_next(source, &list.rows[r], text);
    }
    json_decref(by_name);
    catalog_schedule_free(&list);
    return true;
}
