/* SPDX-License-Identifier: Apache-2.0 */
#include "scheduler/api/api.h"

#include "common/base/clock.h"
#include "common/base/json.h"
#include "common/base/mem.h"
#include "scheduler/api/api_times.h"
#include "scheduler/plan/forecast.h"

#include <stdio.h>
#include <stdlib.h>

enum {
    DAYS = 30,
    DAYS_MOST = 366,
    NOTED_MOST = 1000,     /* rows of each list of the answer */
    SLOTS_MOST = 20000000, /* some twenty seconds' work */
    ASSUMED_S = 600,       /* for a run nobody has measured, nor one of its type */
    FATES = FORECAST_SHUT + 1,
};

static const char *const fate_names[FATES] = {"runs",      "excluded", "skipped",
                                              "coalesced", "missed",   "shut"};

/* Pools, policies, hosts, budgets: whatever limits how many run at once. */
typedef struct Rooms {
    ForecastRoom *rooms;
    const char **names; /* borrowed from the facts */
    bool *by_workers;   /* the places are those of live workers */
    size_t count;
} Rooms;

typedef struct Teller {
    ApiTimes times;
    json_t *facts;
    json_t *typical;        /* seconds by type, as far as they were asked for */
    const json_t **sources; /* of each schedule that takes part */
    const ScheduleRow **rows;
    ForecastSchedule *schedules;
    size_t count;
    Rooms rooms;
    int64_t from_s, until_s;
    Text only; /* source; empty: all */
    /* the answer */
    uint64_t fates[FATES], slots, cut, waited;
    json_t *noted, *collisions, *paused;
} Teller;

static json_t *instant(int64_t at_s)
{
    char text[CLOCK_TEXT];
    clock_rfc3339(at_s * 1000000000, text);
    return json_string(text);
}

/* --- what is asked --------------------------------------------------------------------------- */

static uint32_t room_of(Rooms *rooms, const char *name, bool by_workers, uint32_t places)
{
    for (uint32_t i = 0; i < rooms->count; i++)
        if (rooms->by_workers[i] == by_workers && strcmp(rooms->names[i], name) == 0)
            return i;
    size_t count = rooms->count + 1;
    rooms->rooms = mem_resize(rooms->rooms, count * sizeof *rooms->rooms);
    rooms->names = mem_resize(rooms->names, count * sizeof *rooms->names);
    rooms->by_workers = mem_resize(rooms->by_workers, count * sizeof *rooms->by_workers);
    rooms->rooms[rooms->count] = (ForecastRoom){.places = places};
    rooms->names[rooms->count] = name;
    rooms->by_workers[rooms->count] = by_workers;
    return (uint32_t)rooms->count++;
}

/* The limits that the catalogue would count its jobs in, and the slots of its pool's workers; a
 * pool without a live worker is taken for one that will have enough. */
static void add_rooms(Teller *t, const json_t *source, ForecastSchedule *schedule)
{
    const char *pool = json_string_value(json_object_get(source, "pool"));
    const json_t *limits = json_object_get(t->facts, "limits");
    uint64_t slots = json_u64_or(json_object_get(t->facts, "slots"), pool, 0);
    const json_t *scope;
    size_t i;
    json_array_foreach(json_object_get(source, "scopes"), i, scope)
    {
        const char *name = json_string_value(scope);
        if (schedule->room_count + 1 < FORECAST_ROOMS)
            schedule->rooms[schedule->room_count++] =
                room_of(&t->rooms, name, false, (uint32_t)json_u64_or(limits, name, 0));
    }
    schedule->rooms[schedule->room_count++] = room_of(&t->rooms, pool, true, (uint32_t)slots);
}

static int by_number(const void *a, const void *b)
{
    const int64_t *x = a;
    const int64_t *y = b;
    return *x < *y ? -1 : *x > *y;
}

/* The median of what the sources of one type have; -1: none of them was measured. */
static int64_t of_type(const Teller *t, Text type)
{
    const json_t *all = json_object_get(t->facts, "sources");
    int64_t *known = mem_array(int64_t, json_array_size(all));
    const json_t *other;
    size_t i;
    size_t count = 0;
    json_array_foreach(all, i, other)
    {
        const json_t *seconds = json_object_get(other, "seconds");
        if (json_is_number(seconds) && text_equal(json_text_or(other, "type", (Text){0}), type))
            known[count++] = (int64_t)json_number_value(seconds);
    }
    qsort(known, count, sizeof *known, by_number);
    int64_t median = count == 0 ? -1 : known[count / 2];
    mem_free(known);
    return median;
}

/* The median of its own runs; else that of its type's; else a guess, which is called one. */
static int64_t expected(const Teller *t, const json_t *source, const char **basis)
{
    const char *type = json_string_value(json_object_get(source, "type"));
    const json_t *seconds = json_object_get(source, "seconds");
    *basis = "measured";
    if (json_is_number(seconds))
        return (int64_t)json_number_value(seconds);
    if (json_object_get(t->typical, type) == NULL)
        json_object_set_new(t->typical, type, json_integer(of_type(t, text_of(type))));
    int64_t median = (int64_t)json_integer_value(json_object_get(t->typical, type));
    *basis = median < 0 ? "assumed" : "type";
    return median < 0 ? ASSUMED_S : median;
}

static void add_schedule(Teller *t, size_t row, const json_t *source, uint32_t number)
{
    const ScheduleRow *schedule = &t->times.list.rows[row];
    const ApiTime *time = &t->times.rows[row];
    const char *basis;
    if (!time->valid || strcmp(schedule->kind, "backup") != 0)
        return; /* retention takes no place worth reckoning with */
    if (schedule->paused) {
        size_t known = json_array_size(t->paused);
        json_t *name = json_object_get(source, "name");
        if (known == 0 || !json_equal(json_array_get(t->paused, known - 1), name))
            json_array_append(t->paused, name);
        return;
    }
    ForecastSchedule *one = &t->schedules[t->count];
    *one = (ForecastSchedule){.cron = &time->cron,
                              .zone = time->zone,
                              .exclude = time->exclude,
                              .week = time->week,
                              .source = number,
                              .expected_s = expected(t, source, &basis),
                              .start_deadline_s = schedule->start_deadline_s,
                              .overlap_queue = schedule->overlap_queue};
    add_rooms(t, source, one);
    t->sources[t->count] = source;
    t->rows[t->count++] = schedule;
}

/* Both lists come in the order of the source's number; *sources counts those of the facts. */
static void add_schedules(Teller *t)
{
    const json_t *all = json_object_get(t->facts, "sources");
    size_t at = 0;
    t->schedules = mem_array(ForecastSchedule, t->times.list.count);
    t->sources = mem_zeroed(t->times.list.count, sizeof *t->sources);
    t->rows = mem_zeroed(t->times.list.count, sizeof *t->rows);
    for (size_t i = 0; i < t->times.list.count; i++) {
        uint32_t number = t->times.list.rows[i].source;
        while (at < json_array_size(all) && json_u64_or(json_array_get(all, at), "no", 0) < number)
            at++;
        if (at < json_array_size(all) && json_u64_or(json_array_get(all, at), "no", 0) == number)
            add_schedule(t, i, json_array_get(all, at), (uint32_t)at);
    }
}

/* --- what is told ---------------------------------------------------------------------------- */

static bool asked_for(const Teller *t, uint32_t schedule)
{
    return t->only.len == 0 || text_equal(t->only, text_of(t->rows[schedule]->source_name));
}

static void note_slot(Teller *t, const ForecastSlot *slot)
{
    const ScheduleRow *row = t->rows[slot->schedule];
    bool runs = slot->fate == FORECAST_RUNS;
    json_array_append_new(t->noted,
                          json_pack("{s:o, s:s, s:s, s:s, s:o, s:o, s:I, s:I, s:s?}", "at",
                                    instant(slot->slot_s), "source", row->source_name, "schedule",
                                    row->name, "fate", fate_names[slot->fate], "start_at",
                                    runs ? instant(slot->start_s) : json_null(), "end_at",
                                    runs ? instant(slot->end_s) : json_null(),
                                    "window_wait_seconds", (json_int_t)slot->window_wait_s,
                                    "room_wait_seconds", (json_int_t)slot->room_wait_s, "cut",
                                    !slot->cut                        ? NULL
                                    : slot->on_close == WINDOW_CANCEL ? "cancel"
                                                                      : "finish"));
}

static bool on_slot(void *ctx, const ForecastSlot *slot)
{
    Teller *t = ctx;
    bool waits = slot->fate == FORECAST_RUNS && slot->start_s > slot->slot_s;
    if (asked_for(t, slot->schedule)) {
        t->slots++;
        t->fates[slot->fate]++;
        t->cut += slot->fate == FORECAST_RUNS && slot->cut;
        t->waited += waits;
        if ((slot->fate != FORECAST_RUNS || slot->cut || waits) &&
            json_array_size(t->noted) < NOTED_MOST)
            note_slot(t, slot);
    }
    return t->slots < SLOTS_MOST;
}

static json_t *room_name(const Rooms *rooms, size_t i)
{
    return rooms->by_workers[i] ? json_sprintf("workers of %s", rooms->names[i])
                                : json_string(rooms->names[i]);
}

static void on_collision(void *ctx, const ForecastCollision *collision)
{
    Teller *t = ctx;
    if (json_array_size(t->collisions) < NOTED_MOST)
        json_array_append_new(t->collisions, json_pack("{s:o, s:o, s:o, s:I}", "room",
                                                       room_name(&t->rooms, collision->room),
                                                       "from", instant(collision->from_s), "until",
                                                       instant(collision->until_s), "most_waiting",
                                                       (json_int_t)collision->most_waiting));
}

static json_t *rooms_json(const Teller *t)
{
    json_t *list = json_array();
    for (size_t i = 0; i < t->rooms.count; i++) {
        const ForecastRoom *room = &t->rooms.rooms[i];
        double span = (double)(t->until_s - t->from_s) * room->places;
        json_array_append_new(
            list,
            json_pack("{s:o, s:o, s:I, s:o, s:o, s:I, s:I, s:o}", "name", room_name(&t->rooms, i),
                      "places", room->places == 0 ? json_null() : json_integer(room->places),
                      "most", (json_int_t)room->most, "most_at",
                      room->most == 0 ? json_null() : instant(room->most_at_s), "busy_share",
                      room->places == 0 ? json_null() : json_real((double)room->busy_s / span),
                      "waited", (json_int_t)room->waited, "longest_wait_seconds",
                      (json_int_t)room->longest_wait_s, "longest_wait",
                      room->waited == 0
                          ? json_null()
                          : json_string(t->rows[room->longest_schedule]->source_name)));
    }
    return list;
}

static json_t *durations_json(const Teller *t)
{
    json_t *list = json_array();
    for (size_t i = 0; i < t->count; i++) {
        const char *basis;
        if ((i > 0 && t->sources[i] == t->sources[i - 1]) || !asked_for(t, (uint32_t)i))
            continue;
        int64_t seconds = expected(t, t->sources[i], &basis);
        json_array_append_new(list, json_pack("{s:O, s:I, s:s, s:I}", "source",
                                              json_object_get(t->sources[i], "name"), "seconds",
                                              (json_int_t)seconds, "basis", basis, "runs",
                                              (json_int_t)json_u64_or(t->sources[i], "runs", 0)));
    }
    return list;
}

static void write_answer(const Teller *t, Buf *out)
{
    json_t *slots = json_pack("{s:I, s:I, s:I}", "due", (json_int_t)t->slots, "cut",
                              (json_int_t)t->cut, "waited", (json_int_t)t->waited);
    for (size_t i = 0; i < FATES; i++)
        json_object_set_new(slots, fate_names[i], json_integer((json_int_t)t->fates[i]));
    json_t *body =
        json_pack("{s:s, s:o, s:o, s:o, s:o, s:O, s:O, s:o, s:O}", "schema", "holdfast.forecast/1",
                  "from", instant(t->from_s), "until", instant(t->until_s), "slots", slots, "rooms",
                  rooms_json(t), "collisions", t->collisions, "slots_to_note", t->noted,
                  "durations", durations_json(t), "paused", t->paused);
    json_canonical(body, out);
    json_decref(body);
}

static void teller_free(Teller *t)
{
    api_times_free(&t->times);
    json_decref(t->facts);
    json_decref(t->typical);
    json_decref(t->noted);
    json_decref(t->collisions);
    json_decref(t->paused);
    mem_free(t->schedules);
    mem_free(t->sources);
    mem_free(t->rows);
    mem_free(t->rooms.rooms);
    mem_free(t->rooms.names);
    mem_free(t->rooms.by_workers);
}

static bool tell(Teller *t, Err *err)
{
    ForecastSink sink = {.ctx = t, .slot = on_slot, .collision = on_collision};
    add_schedules(t);
    ForecastPlan plan = {.schedules = t->schedules,
                         .schedule_count = t->count,
                         .rooms = t->rooms.rooms,
                         .room_count = t->rooms.count,
                         .source_count = json_array_size(json_object_get(t->facts, "sources")),
                         .from_s = t->from_s,
                         .until_s = t->until_s};
    return forecast_run(&plan, &sink) ||
           err_set(err, ERR_USAGE, "forecast.long",
                   "more than %d slots are due in that time: ask for fewer days", SLOTS_MOST);
}

bool api_schedule_forecast(ApiCall *call, Err *err)
{
    uint64_t days;
    scoped(buf_free) Buf source = {0};
    scoped(buf_free) Buf facts = {0};
    Teller t = {.noted = json_array(),
                .collisions = json_array(),
                .paused = json_array(),
                .typical = json_object()};
    ViewArgs args = {0};
    api_query(call, "source", &source);
    bool done = api_number(call, "days", DAYS, &days, err) &&
                (days <= DAYS_MOST ||
                 err_set(err, ERR_USAGE, "forecast.days", "days is at most %d", DAYS_MOST)) &&
                api_times_load(call->catalog, &t.times, err) &&
                catalog_view(call->catalog, VIEW_FORECAST, &args, &facts, err) &&
                json_parse(buf_text(&facts), &t.facts, err);
    if (done) {
        t.only = buf_text(&source);
        t.from_s = t.times.list.now_ns / 1000000000;
        t.until_s = t.from_s + (int64_t)days * 86400;
        done = tell(&t, err);
    }
    if (done)
        write_answer(&t, &call->answer->body);
    teller_free(&t);
    return done;
}
