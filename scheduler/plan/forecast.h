/* SPDX-License-Identifier: Apache-2.0
 * forecast.h — what a policy will do: every slot of every schedule in a span of time, when it would
 * start and end if runs take as long as they usually do, and where they are in each other's way.
 * Pure: (schedules, rooms, span) -> slots and collisions, in a stream. Memory grows with the number
 * of schedules and rooms, not with the slots.
 *
 * The model: a slot waits for its window, for its source (one run of a source at a time), and for a
 * place in each of its rooms (pool, host, budget); who waited longest for a room goes first. With
 * overlap skip a slot is skipped while an earlier one of its source waits or runs; with queue it
 * waits, but at most one of a schedule does. Priorities, failures and retries are not foreseen. */
#ifndef SCHEDULER_PLAN_FORECAST_H
#define SCHEDULER_PLAN_FORECAST_H

#include "scheduler/plan/calendar.h"
#include "scheduler/plan/cron.h"
#include "scheduler/plan/window.h"

enum { FORECAST_ROOMS = 8 };

typedef struct ForecastSchedule {
    const Cron *cron;
    const Zone *zone;
    const Calendar *exclude; /* NULL: none */
    const WindowWeek *week;  /* NULL: always open */
    uint32_t source;         /* below source_count */
    uint32_t rooms[FORECAST_ROOMS];
    uint32_t room_count;
    int64_t expected_s;       /* the median of its history; 0 counts as 1 */
    int64_t start_deadline_s; /* 0: none */
    bool overlap_queue;       /* else skip */
} ForecastSchedule;

/* A place where runs meet. The caller sets places; the rest is the answer. */
typedef struct ForecastRoom {
    uint32_t places; /* runs at once; 0: any number */
    uint32_t running, waiting;
    uint32_t most; /* running and waiting together, at their most */
    int64_t most_at_s;
    int64_t busy_s;  /* of all runs together, inside the span */
    uint64_t waited; /* slots that waited here */
    int64_t longest_wait_s;
    uint32_t longest_schedule; /* whose slot that was */
} ForecastRoom;

typedef enum ForecastFate {
    FORECAST_RUNS,
    FORECAST_EXCLUDED,  /* by a calendar */
    FORECAST_SKIPPED,   /* overlap: an earlier one of its source waits or runs */
    FORECAST_COALESCED, /* an earlier one of its schedule waits, and stands for it */
    FORECAST_MISSED,    /* its start deadline passes first */
    FORECAST_SHUT,      /* no window ever lets it in */
} ForecastFate;

typedef struct ForecastSlot {
    uint32_t schedule;
    ForecastFate fate;
    int64_t slot_s;
    int64_t start_s, end_s; /* of one that runs */
    int64_t window_wait_s;  /* parts of what lies between slot and start: for a window, */
    int64_t room_wait_s;    /* and for its source or a room */
    bool cut;               /* its window closes before it is through, */
    WindowClose on_close;   /* and this happens then; cancel: end_s is that instant */
} ForecastSlot;

/* Runs waited for this room from one instant to the other. */
typedef struct ForecastCollision {
    uint32_t room;
    int64_t from_s, until_s;
    uint32_t most_waiting;
} ForecastCollision;

typedef struct ForecastSink {
    void *ctx;
    /* Each slot once, when its fate is known; false ends the forecast. */
    bool (*slot)(void *ctx, const ForecastSlot *slot);
    /* Each collision when it is over. NULL: nobody asks. */
    void (*collision)(void *ctx, const ForecastCollision *collision);
} ForecastSink;

typedef struct ForecastPlan {
    const ForecastSchedule *schedules;
    size_t schedule_count;
    ForecastRoom *rooms; /* filled in */
    size_t room_count, source_count;
    int64_t from_s, until_s; /* slots in (from, until]; none of their runs is known at from */
} ForecastPlan;

/* False: the sink did not want more. */
bool forecast_run(const ForecastPlan *plan, const ForecastSink *sink);

#endif
