/* SPDX-License-Identifier: Apache-2.0
 * window.h — when a policy lets its jobs run: hours of certain weekdays, by the clocks of its zone.
 *
 * A window is a statement about what clocks show, as office hours are: it is open whenever they
 * show a minute inside. So an hour that clocks repeat is inside both times, one that they skip
 * opens nothing, and hours that touch each other leave no moment between them, whatever clocks do.
 * Hours across midnight belong to the day on which they begin: {days: [sat], hours: 22:00-06:00}
 * ends on Sunday morning. Several windows are open together as one. Pure. */
#ifndef SCHEDULER_PLAN_WINDOW_H
#define SCHEDULER_PLAN_WINDOW_H

#include "scheduler/plan/zone.h"

enum { WINDOW_MINUTES = 7 * 1440, WINDOW_WORDS = (WINDOW_MINUTES + 63) / 64 };

/* What becomes of a run that is not through when the last window closes; the mildest first. */
typedef enum WindowClose {
    WINDOW_FINISH,   /* it goes on */
    WINDOW_THROTTLE, /* it goes on slowly, until a window opens */
    WINDOW_CANCEL,   /* it ends, and is not tried again before a window opens */
    WINDOW_CLOSES,
} WindowClose;

typedef struct Window {
    uint8_t days; /* on which it opens; bit 0: Sunday */
    int from, to; /* minutes of the day; to <= from: of the next day */
    WindowClose on_close;
} Window;

/* The week of one method under one policy: the minutes from Sunday 00:00 on in which it may run,
 * by what happens at their end. `WindowWeek week = {0};` is always open. */
typedef struct WindowWeek {
    bool limited; /* the policy has windows: where none lets the method in, it is never open */
    uint64_t open[WINDOW_WORDS];
    uint64_t by_close[WINDOW_CLOSES][WINDOW_WORDS];
} WindowWeek;

/* "22:00-06:00", "00:00-24:00" (a whole day), "22:00-00:00". ERR_INVALID window.hours: not of that
 * form, or a span of no time. */
MUST_CHECK bool window_hours(Text text, int *from, int *to, Err *err);

/* "sun" … "sat" -> 0…6, "finish" "throttle" "cancel"; false: no such word. */
MUST_CHECK bool window_day(Text text, int *day);
MUST_CHECK bool window_on_close(Text text, WindowClose *out);

/* Lets the method in through this window too. */
void window_add(WindowWeek *week, const Window *window);

/* May the method run at this instant? */
bool window_open_at(const WindowWeek *week, const Zone *zone, int64_t at);

/* The first instant from `at` on (`at` itself, when it is open) at which it may. False: never. */
bool window_next_open(const WindowWeek *week, const Zone *zone, int64_t at, int64_t *open);

/* The first instant after `at` at which it may no longer, and what then becomes of a run: the
 * mildest of what the windows say that close then. False: it is not open at `at`, or never closes.
 */
bool window_closes_at(const WindowWeek *week, const Zone *zone, int64_t at, int64_t *close,
                      WindowClose *on_close);

/* What the windows that were open last before `at`, when none is, said of a run at their close: the
 * mildest of it. FINISH where there is none. */
WindowClose window_closed_as(const WindowWeek *week, const Zone *zone, int64_t at);

#endif
