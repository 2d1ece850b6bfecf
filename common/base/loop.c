/* SPDX-License-Identifier: Apache-2.0 */
#include "common/base/loop.h"

#include "common/base/mem.h"

#include <event2/thread.h>
#include <pthread.h>

enum { SIGNALS_MOST = 8 };

typedef struct Posted {
    struct Posted *next;
    LoopCall *call;
    void *ctx;
} Posted;

typedef struct SignalCall {
    LoopSignal *call;
    void *ctx;
    int number;
    struct event *event;
} SignalCall;

struct Loop {
    struct event_base *base;
    struct event *wake;
    pthread_mutex_t lock; /* guards first, last, stopped */
    Posted *first;
    Posted *last;
    bool stopped;
    SignalCall signals[SIGNALS_MOST];
    size_t signal_count;
};

struct LoopTimer {
    struct event *event;
    LoopCall *call;
    void *ctx;
    Loop *loop;
    bool repeats;
    struct timeval period;
};

struct LoopWatch {
    struct event *event;
    LoopCall *call;
    void *ctx;
};

static pthread_once_t threads_once = PTHREAD_ONCE_INIT;

static void use_threads(void)
{
    evthread_use_pthreads();
}

static Posted *take_posted(Loop *loop, bool *stopped)
{
    pthread_mutex_lock(&loop->lock);
    Posted *list = loop->first;
    loop->first = loop->last = NULL;
    *stopped = loop->stopped;
    pthread_mutex_unlock(&loop->lock);
    return list;
}

static void on_wake(evutil_socket_t fd, short what, void *ctx)
{
    Loop *loop = ctx;
    bool stopped;
    (void)fd;
    (void)what;
    for (Posted *posted = take_posted(loop, &stopped), *next; posted != NULL; posted = next) {
        next = posted->next;
        posted->call(posted->ctx);
        mem_free(posted);
    }
    if (stopped)
        event_base_loopbreak(loop->base);
}

bool loop_new(Loop **out, Err *err)
{
    pthread_once(&threads_once, use_threads);
    Loop *loop = mem_new(Loop);
    *out = loop;
    pthread_mutex_init(&loop->lock, NULL);
    loop->base = event_base_new();
    if (loop->base == NULL)
        return err_set(err, ERR_FULL, "loop.new", "libevent makes no event loop");
    loop->wake = event_new(loop->base, -1, EV_PERSIST, on_wake, loop);
    /* Far away: the event exists to be activated, and keeps the loop alive. */
    struct timeval year = {365 * 86400, 0};
    event_add(loop->wake, &year);
    return true;
}

void loop_run(Loop *loop)
{
    event_base_dispatch(loop->base);
}

void loop_stop(Loop *loop)
{
    pthread_mutex_lock(&loop->lock);
    loop->stopped = true;
    pthread_mutex_unlock(&loop->lock);
    event_active(loop->wake, EV_TIMEOUT, 0);
}

void loop_free(Loop *loop)
{
    bool stopped;
    if (loop == NULL)
        return;
    for (Posted *posted = take_posted(loop, &stopped), *next; posted != NULL; posted = next) {
        next = posted->next;
        mem_free(posted);
    }
    for (size_t i = 0; i < loop->signal_count; i++)
        event_free(loop->signals[i].event);
    if (loop->wake != NULL)
        event_free(loop->wake);
    if (loop->base != NULL)
        event_base_free(loop->base);
    pthread_mutex_destroy(&loop->lock);
    mem_free(loop);
}

void loop_post(Loop *loop, LoopCall *call, void *ctx)
{
    Posted *posted = mem_new(Posted);
    *posted = (Posted){.call = call, .ctx = ctx};
    pthread_mutex_lock(&loop->lock);
    if (loop->last == NULL)
        loop->first = posted;
    else
        loop->last->next = posted;
    loop->last = posted;
    pthread_mutex_unlock(&loop->lock);
    event_active(loop->wake, EV_TIMEOUT, 0);
}

static void on_timer(evutil_socket_t fd, short what, void *ctx)
{
    LoopTimer *timer = ctx;
    (void)fd;
    (void)what;
    if (timer->repeats)
        event_add(timer->event, &timer->period);
    timer->call(timer->ctx);
}

LoopTimer *loop_timer_new(Loop *loop, LoopCall *call, void *ctx)
{
    LoopTimer *timer = mem_new(LoopTimer);
    *timer = (LoopTimer){.call = call, .ctx = ctx, .loop = loop};
    timer->event = event_new(loop->base, -1, 0, on_timer, timer);
    return timer;
}

static void start_timer(LoopTimer *timer, int64_t ms, bool repeats)
{
    timer->repeats = repeats;
    timer->period = (struct timeval){ms / 1000, ms % 1000 * 1000};
    event_add(timer->event, &timer->period);
}

void loop_timer_once(LoopTimer *timer, int64_t delay_ms)
{
    start_timer(timer, delay_ms, false);
}

void loop_timer_every(LoopTimer *timer, int64_t period_ms)
{
    start_timer(timer, period_ms, true);
}

void loop_timer_stop(LoopTimer *timer)
{
    timer->repeats = false;
    event_del(timer->event);
}

void loop_timer_free(LoopTimer *timer)
{
    if (timer == NULL)
        return;
    event_free(timer->event);
    mem_free(timer);
}

static void on_readable(evutil_socket_t fd, short what, void *ctx)
{
    LoopWatch *watch = ctx;
    (void)fd;
    (void)what;
    watch->call(watch->ctx);
}

LoopWatch *loop_watch_new(Loop *loop, int fd, LoopCall *call, void *ctx)
{
    LoopWatch *watch = mem_new(LoopWatch);
    *watch = (LoopWatch){.call = call, .ctx = ctx};
    watch->event = event_new(loop->base, fd, EV_READ | EV_PERSIST, on_readable, watch);
    event_add(watch->event, NULL);
    return watch;
}

void loop_watch_free(LoopWatch *watch)
{
    if (watch == NULL)
        return;
    event_free(watch->event);
    mem_free(watch);
}

static void on_signal(evutil_socket_t number, short what, void *ctx)
{
    SignalCall *signal = ctx;
    (void)what;
    signal->call(signal->ctx, (int)number);
}

void loop_signal(Loop *loop, int number, LoopSignal *call, void *ctx)
{
    if (loop->signal_count == SIGNALS_MOST)
        return;
    SignalCall *signal = &loop->signals[loop->signal_count++];
    *signal = (SignalCall){.call = call, .ctx = ctx, .number = number};
    signal->event = evsignal_new(loop->base, number, on_signal, signal);
    event_add(signal->event, NULL);
}

struct event_base *loop_base(Loop *loop)
{
    return loop->base;
}
