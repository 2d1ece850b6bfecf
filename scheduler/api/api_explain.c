/* SPDX-License-Identifier: Apache-2.0
 * Why a source is due when it is: each of its rules as it became for this source, what its zone's
 * clocks show then, and what may keep a slot from running. */
#include "scheduler/api/api.h"

#include "common/base/clock.h"
#include "common/base/json.h"
#include "scheduler/api/api_times.h"
#include "scheduler/plan/civil.h"
#include "scheduler/plan/cron_words.h"

enum { SLOTS_SHOWN = 5 };

/* An instant, what the clocks of the zone show, and what keeps it from running then. */
static json_t *slot_of(const ScheduleRow *row, const ApiTime *time, int64_t at_s, int64_t before_s)
{
    char note[API_TIMES_NOTE];
    const Zone *zone = time->zone;
    char utc[CLOCK_TEXT];
    scoped(buf_free) Buf local = {0};
    static const char *const days[] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
    int64_t offset = zone_offset(zone, at_s);
    Civil shown = civil_of(at_s + offset);
    clock_rfc3339(at_s * 1000000000, utc);
    buf_printf(&local, "%s %04d-%02d-%02d %02d:%02d", days[shown.weekday], (int)shown.year,
               shown.month, shown.day, shown.hour, shown.minute);
    json_t *slot = json_pack("{s:s, s:s, s:I}", "at", utc, "local", buf_cstr(&local),
                             "offset_seconds", (json_int_t)offset);
    api_times_note(row, time, at_s, note);
    if (strcmp(note, row->timezone) != 0)
        json_object_set_new(slot, "note", json_string(note));
    else if (offset != zone_offset(zone, before_s))
        json_object_set_new(slot, "note", json_string("clocks change before this one"));
    return slot;
}

static json_t *slots_of(const ScheduleRow *row, const ApiTime *time, int64_t now_s)
{
    json_t *slots = json_array();
    int64_t at = now_s;
    int64_t next;
    while (json_array_size(slots) < SLOTS_SHOWN && cron_next(&time->cron, time->zone, at, &next)) {
        json_array_append_new(slots, slot_of(row, time, next, at));
        at = next;
    }
    return slots;
}

static void copy_member(const json_t *from, json_t *to, const char *key)
{
    if (json_object_get(from, key) != NULL)
        json_object_set(to, key, json_object_get(from, key));
}

static json_t *explain(const ScheduleRow *row, const ApiTime *time, int64_t now_s,
                       const json_t *source)
{
    scoped(buf_free) Buf fields = {0};
    scoped(buf_free) Buf words = {0};
    static const char *const members[] = {"overlap", "catch_up",  "start_deadline_s", "initial",
                                          "windows", "calendars", "concurrent",       "rate"};
    const json_t *spec = json_object_get(source, "spec");
    json_t *item = json_pack("{s:s, s:s, s:s, s:s, s:s, s:b}", "source", row->source_name,
                             "schedule", row->name, "rule", row->at, "kind", row->kind, "timezone",
                             row->timezone, "paused", (int)row->paused);
    for (size_t i = 0; i < sizeof members / sizeof *members; i++)
        copy_member(spec, item, members[i]);
    copy_member(source, item, "state");
    if (time->valid) {
        cron_words_fields(text_of(row->at), &time->cron, &fields);
        cron_words_told(&time->cron, &words);
        json_object_set_new(item, "fields", json_string(buf_cstr(&fields)));
        json_object_set_new(item, "words", json_string(buf_cstr(&words)));
        json_object_set_new(item, "next", slots_of(row, time, now_s));
    }
    return item;
}

bool api_source_schedule(ApiCall *call, Err *err)
{
    ViewArgs args = {.name = call->parts[0]};
    ApiTimes times = {0};
    scoped(buf_free) Buf text = {0};
    scoped(json_release) json_t *source = NULL;
    if (!catalog_view(call->catalog, VIEW_SOURCE, &args, &text, err)) {
        bool unknown = strcmp(err->cause, "view.nothing") == 0;
        return unknown && err_set(err, ERR_MISSING, "source.unknown", "no source is called %.*s",
                                  TEXT_ARG(call->parts[0]));
    }
    bool done =
        json_parse(buf_text(&text), &source, err) && api_times_load(call->catalog, &times, err);
    json_t *items = json_array();
    for (size_t i = 0; done && i < times.list.count; i++)
        if (text_equal(text_of(times.list.rows[i].source_name), call->parts[0]))
            json_array_append_new(items, explain(&times.list.rows[i], &times.rows[i],
                                                 times.list.now_ns / 1000000000, source));
    json_t *body = json_pack("{s:o, s:n}", "items", items, "next_cursor");
    json_canonical(body, &call->answer->body);
    json_decref(body);
    api_times_free(&times);
    return done;
}
