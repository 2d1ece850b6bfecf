/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/sim/events.h"

#include "common/base/mem.h"

#include <event2/thread.h>

struct event {
    struct event *next; /* of its base */
    struct event_base *base;
    event_callback_fn call;
    void *ctx;
    int fd; /* or the number of a signal */
    short flags;
    bool active, timed;
    int64_t at;
    uint64_t order; /* of adding: timers of one instant keep it */
};

typedef struct Post {
    struct Post *next;
    int64_t at;
    VmCall *call;
    void *ctx;
} Post;

struct event_base {
    struct event_base *next;
    Process *process;
    struct event *first;
    Post *posts;
    Task *waiting;
    uint64_t order;
    bool stop, freed;
};

static struct event_base *bases;

static void wake(struct event_base *base)
{
    if (base->waiting != NULL)
        vm_wake(base->waiting);
}

void events_reset(void)
{
    while (bases != NULL) {
        struct event_base *base = bases;
        bases = base->next;
        while (base->posts != NULL) {
            Post *post = base->posts;
            base->posts = post->next;
            mem_free(post);
        }
        mem_free(base);
    }
}

/* The loop's thread may have ended, or its process be dead: then nobody waits. */
static void kick(void *ctx)
{
    struct event_base *base = ctx;
    if (!base->freed && vm_alive(base->process))
        wake(base);
}

void events_post(struct event_base *base, int64_t when, VmCall *call, void *ctx)
{
    if (base->freed || !vm_alive(base->process))
        return;
    Post *post = mem_new(Post);
    *post = (Post){.at = when, .call = call, .ctx = ctx};
    Post **at = &base->posts;
    while (*at != NULL && (*at)->at <= when)
        at = &(*at)->next;
    post->next = *at;
    *at = post;
    vm_at(when, kick, base);
}

void events_signal(const Process *process, int number)
{
    for (struct event_base *base = bases; base != NULL; base = base->next) {
        if (base->process != process || base->freed)
            continue;
        for (struct event *one = base->first; one != NULL; one = one->next)
            if ((one->flags & EV_SIGNAL) != 0 && one->fd == number)
                one->active = true;
        wake(base);
    }
}

/* --- under libevent's names ------------------------------------------------------------------ */

int evthread_use_pthreads(void)
{
    return 0;
}

struct event_base *event_base_new(void)
{
    struct event_base *base = mem_new(struct event_base);
    base->process = vm_current_process();
    base->next = bases;
    bases = base;
    return base;
}

/* What is posted and not called is dropped; the struct itself stays until the history ends. */
void event_base_free(struct event_base *base)
{
    base->freed = true;
}

struct event *event_new(struct event_base *base, evutil_socket_t fd, short flags,
                        event_callback_fn call, void *ctx)
{
    struct event *one = mem_new(struct event);
    *one = (struct event){.base = base, .call = call, .ctx = ctx, .fd = fd, .flags = flags};
    struct event **at = &base->first;
    while (*at != NULL)
        at = &(*at)->next;
    *at = one;
    return one;
}

int event_add(struct event *one, const struct timeval *in)
{
    one->timed = in != NULL;
    one->order = one->base->order++;
    if (in != NULL)
        one->at = vm_now() + (int64_t)in->tv_sec * VM_S + (int64_t)in->tv_usec * VM_US;
    if (one->timed && one->base->waiting != NULL && one->base->waiting != vm_current())
        wake(one->base);
    return 0;
}

int event_del(struct event *one)
{
    one->timed = one->active = false;
    return 0;
}

void event_free(struct event *one)
{
    struct event **at = &one->base->first;
    while (*at != one)
        at = &(*at)->next;
    *at = one->next;
    mem_free(one);
}

void event_active(struct event *one, int what, short count)
{
    (void)what, (void)count;
    one->active = true;
    wake(one->base);
}

int event_base_loopbreak(struct event_base *base)
{
    base->stop = true;
    return 0;
}

/* The next callback that may run now: posts, then activated events, then the earliest timer. */
static bool run_one(struct event_base *base)
{
    Post *post = base->posts;
    if (post != NULL && post->at <= vm_now()) {
        VmCall *call = post->call;
        void *ctx = post->ctx;
        base->posts = post->next;
        mem_free(post);
        call(ctx);
        return true;
    }
    struct event *best = NULL;
    for (struct event *one = base->first; one != NULL && (best == NULL || !best->active);
         one = one->next) {
        bool due = one->timed && one->at <= vm_now();
        if (one->active || (due && (best == NULL || one->at < best->at ||
                                    (one->at == best->at && one->order < best->order))))
            best = one;
    }
    if (best == NULL)
        return false;
    if (!best->active || (best->flags & EV_PERSIST) == 0)
        best->timed = false;
    best->active = false;
    best->call(best->fd, EV_TIMEOUT, best->ctx);
    return true;
}

static int64_t next_instant(const struct event_base *base)
{
    int64_t next = base->posts == NULL ? VM_NEVER : base->posts->at;
    for (const struct event *one = base->first; one != NULL; one = one->next) {
        if (one->active)
            return vm_now();
        if (one->timed && one->at < next)
            next = one->at;
    }
    return next;
}

int event_base_loop(struct event_base *base, int flags)
{
    bool ran = false;
    base->stop = false;
    for (;;) {
        while (!base->stop && run_one(base))
            ran = true;
        if (base->stop || (flags & EVLOOP_NONBLOCK) != 0 || ((flags & EVLOOP_ONCE) != 0 && ran))
            return 0;
        int64_t next = next_instant(base);
        if (next > vm_now()) {
            base->waiting = vm_current();
            vm_block(next);
            base->waiting = NULL;
        }
    }
}

int event_base_dispatch(struct event_base *base)
{
    return event_base_loop(base, 0);
}
