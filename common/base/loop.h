/* SPDX-License-Identifier: Apache-2.0
 * loop.h — one thread's event loop over libevent: timers, signals, and a way in for other threads.
 * Everything but loop_post and loop_stop is called on the loop's own thread. */
#ifndef COMMON_BASE_LOOP_H
#define COMMON_BASE_LOOP_H

#include "protocol/err.h"

#include <event2/event.h>

typedef struct Loop Loop;
typedef struct LoopTimer LoopTimer;
typedef struct LoopWatch LoopWatch;
typedef void LoopCall(void *ctx);
typedef void LoopSignal(void *ctx, int number);

MUST_CHECK bool loop_new(Loop **out, Err *err);
void loop_run(Loop *loop);  /* until loop_stop */
void loop_stop(Loop *loop); /* from any thread */
void loop_free(Loop *loop); /* frees timers and signals too; calls posted and not run are dropped */

/* Calls `call` on the loop's thread soon, in the order posted. From any thread. */
void loop_post(Loop *loop, LoopCall *call, void *ctx);

/* A timer, not running. loop_timer_once starts it for one call after delay_ms, loop_timer_every for
 * a call each period_ms; starting again replaces what was set. */
LoopTimer *loop_timer_new(Loop *loop, LoopCall *call, void *ctx);
void loop_timer_once(LoopTimer *timer, int64_t delay_ms);
void loop_timer_every(LoopTimer *timer, int64_t period_ms);
void loop_timer_stop(LoopTimer *timer);
void loop_timer_free(LoopTimer *timer); /* NULL is fine */

/* Calls whenever fd can be read, or is at its end, until freed. The descriptor is borrowed. */
LoopWatch *loop_watch_new(Loop *loop, int fd, LoopCall *call, void *ctx);
void loop_watch_free(LoopWatch *watch); /* NULL is fine */

/* Signals arrive as ordinary calls on the loop's thread. */
void loop_signal(Loop *loop, int number, LoopSignal *call, void *ctx);

struct event_base *loop_base(Loop *loop);

#endif
