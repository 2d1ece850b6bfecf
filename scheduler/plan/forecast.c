/* SPDX-License-Identifier: Apache-2.0 */
#include "scheduler/plan/forecast.h"

#include "common/base/mem.h"
#include "scheduler/plan/timeline.h"

static const uint32_t NOBODY = UINT32_MAX;

/* What can happen, in the order in which it does at one instant: places are given back first. */
typedef enum Kind { RUN_ENDS, WINDOW_OPENS, DEADLINE_PASSED, SLOT_COMES } Kind;

/* Schedules that wait for one room, or for one source; who came first stands first. */
typedef struct Queue {
    uint32_t first, last, length;
    uint32_t room; /* NOBODY: a source */
    uint32_t most;
    int64_t since;
} Queue;

/* One schedule on its way: at most one slot that waits, and one that runs. */
typedef struct Track {
    bool waiting;
    bool alarmed;      /* a DEADLINE_PASSED is to come */
    ForecastSlot slot; /* that waits */
    Queue *queue;      /* where it stands; NULL: it waits for its window, or does not wait */
    int64_t since;     /* when it came there */
    uint32_t before, behind;
} Track;

/* A source: one run at a time. */
typedef struct Lane {
    uint32_t unended; /* slots that wait or run */
    bool running;
    Queue queue;
} Lane;

typedef struct Forecast {
    const ForecastPlan *plan;
    const ForecastSink *sink;
    Timeline timeline;
    Track *tracks;
    Lane *lanes;
    Queue *queues; /* one a room */
    bool stopped;
} Forecast;

static void emit(Forecast *f, const ForecastSlot *slot)
{
    if (!f->stopped && !f->sink->slot(f->sink->ctx, slot))
        f->stopped = true;
}

/* A slot that waited and does not run. */
static void give_up(Forecast *f, uint32_t number, ForecastFate fate)
{
    Track *track = &f->tracks[number];
    track->waiting = false;
    track->slot.fate = fate;
    f->lanes[f->plan->schedules[number].source].unended--;
    emit(f, &track->slot);
}

static void count_room(ForecastRoom *room, int64_t now)
{
    if (room->running + room->waiting > room->most) {
        room->most = room->running + room->waiting;
        room->most_at_s = now;
    }
}

static void queue_join(Forecast *f, Queue *queue, uint32_t number, int64_t now)
{
    Track *track = &f->tracks[number];
    track->queue = queue;
    track->since = now;
    track->before = queue->length == 0 ? NOBODY : queue->last;
    track->behind = NOBODY;
    if (queue->length == 0) {
        queue->first = number;
        queue->since = now;
        queue->most = 0;
    } else
        f->tracks[queue->last].behind = number;
    queue->last = number;
    if (++queue->length > queue->most)
        queue->most = queue->length;
    if (queue->room != NOBODY) {
        ForecastRoom *room = &f->plan->rooms[queue->room];
        room->waiting++;
        room->waited++;
        count_room(room, now);
    }
}

/* Nobody waits for this room any more. */
static void collision_over(Forecast *f, const Queue *queue, int64_t now)
{
    if (f->sink->collision != NULL && !f->stopped)
        f->sink->collision(f->sink->ctx, &(ForecastCollision){.room = queue->room,
                                                              .from_s = queue->since,
                                                              .until_s = now,
                                                              .most_waiting = queue->most});
}

static void queue_leave(Forecast *f, Queue *queue, uint32_t number, int64_t now)
{
    Track *track = &f->tracks[number];
    int64_t wait = now - track->since;
    track->slot.room_wait_s += wait;
    track->queue = NULL;
    if (track->before == NOBODY)
        queue->first = track->behind;
    else
        f->tracks[track->before].behind = track->behind;
    if (track->behind == NOBODY)
        queue->last = track->before;
    else
        f->tracks[track->behind].before = track->before;
    queue->length--;
    if (queue->room == NOBODY)
        return;
    ForecastRoom *room = &f->plan->rooms[queue->room];
    room->waiting--;
    if (wait > room->longest_wait_s) {
        room->longest_wait_s = wait;
        room->longest_schedule = number;
    }
    if (queue->length == 0)
        collision_over(f, queue, now);
}

/* The first room of a schedule without a place for it. */
static uint32_t full_room(const Forecast *f, const ForecastSchedule *schedule)
{
    for (uint32_t i = 0; i < schedule->room_count; i++) {
        const ForecastRoom *room = &f->plan->rooms[schedule->rooms[i]];
        if (room->places != 0 && room->running >= room->places)
            return schedule->rooms[i];
    }
    return NOBODY;
}

/* How much of [from, until) lies in the span of the forecast. */
static int64_t inside(const ForecastPlan *plan, int64_t from, int64_t until)
{
    if (from < plan->from_s)
        from = plan->from_s;
    if (until > plan->until_s)
        until = plan->until_s;
    return until > from ? until - from : 0;
}

static void start(Forecast *f, uint32_t number, int64_t now)
{
    const ForecastSchedule *schedule = &f->plan->schedules[number];
    Track *track = &f->tracks[number];
    ForecastSlot *slot = &track->slot;
    int64_t close;
    slot->fate = FORECAST_RUNS;
    slot->start_s = now;
    slot->end_s = now + (schedule->expected_s > 0 ? schedule->expected_s : 1);
    slot->cut = schedule->week != NULL &&
                window_closes_at(schedule->week, schedule->zone, now, &close, &slot->on_close) &&
                close < slot->end_s;
    if (slot->cut && slot->on_close == WINDOW_CANCEL)
        slot->end_s = close;
    track->waiting = false;
    f->lanes[schedule->source].running = true;
    for (uint32_t i = 0; i < schedule->room_count; i++) {
        ForecastRoom *room = &f->plan->rooms[schedule->rooms[i]];
        room->running++;
        room->busy_s += inside(f->plan, now, slot->end_s);
        count_room(room, now);
    }
    timeline_add(&f->timeline, (TimelineEvent){slot->end_s, RUN_ENDS, number});
    emit(f, slot);
}

static int64_t deadline_of(const Forecast *f, uint32_t number)
{
    int64_t span = f->plan->schedules[number].start_deadline_s;
    return span == 0 ? INT64_MAX : f->tracks[number].slot.slot_s + span;
}

/* A slot that waits starts, or waits for what is missing, or is given up. */
static void try_start(Forecast *f, uint32_t number, int64_t now)
{
    const ForecastSchedule *schedule = &f->plan->schedules[number];
    Track *track = &f->tracks[number];
    Lane *lane = &f->lanes[schedule->source];
    int64_t deadline = deadline_of(f, number);
    int64_t open = now;
    if (schedule->week != NULL && !window_next_open(schedule->week, schedule->zone, now, &open)) {
        give_up(f, number, FORECAST_SHUT);
        return;
    }
    uint32_t full = full_room(f, schedule);
    if (open == now && !lane->running && full == NOBODY) {
        start(f, number, now);
        return;
    }
    if (open > now) {
        track->slot.window_wait_s += (open < deadline ? open : deadline) - now;
        if (open <= deadline)
            timeline_add(&f->timeline, (TimelineEvent){open, WINDOW_OPENS, number});
    } else
        queue_join(f, lane->running ? &lane->queue : &f->queues[full], number, now);
    if (deadline != INT64_MAX && !track->alarmed) {
        track->alarmed = true;
        timeline_add(&f->timeline, (TimelineEvent){deadline + 1, DEADLINE_PASSED, number});
    }
}

/* The one alarm of a schedule: for the slot that waits now, or for one that waited before it. */
static void deadline_passed(Forecast *f, uint32_t number, int64_t now)
{
    Track *track = &f->tracks[number];
    int64_t deadline = deadline_of(f, number);
    track->alarmed = false;
    if (!track->waiting)
        return;
    if (now <= deadline) {
        track->alarmed = true;
        timeline_add(&f->timeline, (TimelineEvent){deadline + 1, DEADLINE_PASSED, number});
        return;
    }
    if (track->queue != NULL)
        queue_leave(f, track->queue, number, now);
    give_up(f, number, FORECAST_MISSED);
}

static void slot_comes(Forecast *f, uint32_t number, int64_t now)
{
    const ForecastSchedule *schedule = &f->plan->schedules[number];
    Track *track = &f->tracks[number];
    Lane *lane = &f->lanes[schedule->source];
    ForecastSlot slot = {.schedule = number, .slot_s = now};
    int64_t next;
    if (cron_next(schedule->cron, schedule->zone, now, &next) && next <= f->plan->until_s)
        timeline_add(&f->timeline, (TimelineEvent){next, SLOT_COMES, number});
    if (calendar_excludes(schedule->exclude, schedule->zone, now))
        slot.fate = FORECAST_EXCLUDED;
    else if (lane->unended != 0 && !schedule->overlap_queue)
        slot.fate = FORECAST_SKIPPED;
    else if (track->waiting)
        slot.fate = FORECAST_COALESCED;
    else {
        track->slot = slot;
        track->waiting = true;
        lane->unended++;
        try_start(f, number, now);
        return;
    }
    emit(f, &slot);
}

/* Who waits for a place tries again, while there is one. */
static void call_room(Forecast *f, uint32_t index, int64_t now)
{
    const ForecastRoom *room = &f->plan->rooms[index];
    while (f->queues[index].length != 0 && room->running < room->places) {
        uint32_t number = f->queues[index].first;
        queue_leave(f, &f->queues[index], number, now);
        try_start(f, number, now);
    }
}

static void run_ends(Forecast *f, uint32_t number, int64_t now)
{
    const ForecastSchedule *schedule = &f->plan->schedules[number];
    Lane *lane = &f->lanes[schedule->source];
    lane->running = false;
    lane->unended--;
    for (uint32_t i = 0; i < schedule->room_count; i++)
        f->plan->rooms[schedule->rooms[i]].running--;
    while (lane->queue.length != 0 && !lane->running) {
        uint32_t first = lane->queue.first;
        queue_leave(f, &lane->queue, first, now);
        try_start(f, first, now);
    }
    for (uint32_t i = 0; i < schedule->room_count; i++)
        call_room(f, schedule->rooms[i], now);
}

static void begin(Forecast *f)
{
    const ForecastPlan *plan = f->plan;
    for (size_t i = 0; i < plan->room_count; i++) {
        plan->rooms[i] = (ForecastRoom){.places = plan->rooms[i].places};
        f->queues[i].room = (uint32_t)i;
    }
    for (size_t i = 0; i < plan->source_count; i++)
        f->lanes[i].queue.room = NOBODY;
    for (size_t i = 0; i < plan->schedule_count; i++) {
        int64_t next;
        const ForecastSchedule *schedule = &plan->schedules[i];
        if (cron_next(schedule->cron, schedule->zone, plan->from_s, &next) && next <= plan->until_s)
            timeline_add(&f->timeline, (TimelineEvent){next, SLOT_COMES, (uint32_t)i});
    }
}

bool forecast_run(const ForecastPlan *plan, const ForecastSink *sink)
{
    TimelineEvent event;
    Forecast f = {.plan = plan,
                  .sink = sink,
                  .tracks = mem_array(Track, plan->schedule_count),
                  .lanes = mem_array(Lane, plan->source_count),
                  .queues = mem_array(Queue, plan->room_count)};
    begin(&f);
    while (!f.stopped && timeline_take(&f.timeline, &event)) {
        if (event.kind == RUN_ENDS)
            run_ends(&f, event.number, event.at);
        else if (event.kind == WINDOW_OPENS)
            try_start(&f, event.number, event.at);
        else if (event.kind == DEADLINE_PASSED)
            deadline_passed(&f, event.number, event.at);
        else
            slot_comes(&f, event.number, event.at);
    }
    timeline_free(&f.timeline);
    mem_free(f.tracks);
    mem_free(f.lanes);
    mem_free(f.queues);
    return !f.stopped;
}
