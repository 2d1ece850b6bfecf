/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/agent/desk.h"

#include "common/base/clock.h"
#include "common/base/mem.h"
#include "common/base/wait.h"

#include <errno.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

static const int64_t RETRY_MS = 500;
static const int64_t NS_A_MS = 1000000;

struct Desk {
    DeskParams params;
    pthread_t thread;
    pthread_mutex_t lock; /* guards the lists, stopping, down, why, told */
    pthread_cond_t wake;
    DeskTask *first, **end;     /* to be done */
    size_t alone;               /* so many of the first go one by one: together they were refused */
    DeskTask *over, **over_end; /* done, their ends not told yet */
    bool stopping;
    bool down;
    bool state_changed;
    Err why;
    int interrupt;    /* eventfd: readable when the thread shall not wait for an answer any more */
    Catalog *catalog; /* the thread's own */
};

static void append(DeskTask ***end, DeskTask *task)
{
    task->next = NULL;
    **end = task;
    *end = &task->next;
}

/* On the loop's thread: tells the ends, in order. */
static void tell(void *ctx)
{
    Desk *desk = ctx;
    pthread_mutex_lock(&desk->lock);
    DeskTask *list = desk->over;
    desk->over = NULL;
    desk->over_end = &desk->over;
    bool changed = desk->state_changed;
    bool down = desk->down;
    Err why = desk->why;
    desk->state_changed = false;
    pthread_mutex_unlock(&desk->lock);
    if (changed)
        desk->params.on_state(desk->params.ctx, down ? &why : NULL);
    while (list != NULL) {
        DeskTask *task = list;
        list = task->next;
        task->done(task, &task->err);
    }
}

static void set_state(Desk *desk, const Err *err)
{
    bool down = err != NULL;
    if (desk->down != down)
        desk->state_changed = true;
    desk->down = down;
    if (down)
        desk->why = *err;
    if (desk->state_changed)
        loop_post(desk->params.loop, tell, desk);
}

static void end_task(Desk *desk, DeskTask *task)
{
    append(&desk->over_end, task);
    loop_post(desk->params.loop, tell, desk);
}

bool desk_passing(const Err *err)
{
    return err->code == ERR_UNREACHABLE || err->code == ERR_TIMEOUT || err->code == ERR_BUSY ||
           err->code == ERR_FULL;
}

static bool connected(Desk *desk, Err *err)
{
    if (desk->catalog == NULL)
        return catalog_open(&desk->catalog, &desk->params.catalog, err);
    return catalog_ok(desk->catalog) || catalog_reset(desk->catalog, err);
}

/* After a failure: ends what has no patience left. Under the lock. */
static void end_impatient(Desk *desk, const Err *err)
{
    int64_t now = clock_boot_ns();
    DeskTask **at = &desk->first;
    while (*at != NULL) {
        DeskTask *task = *at;
        if (task->until_ns > now) {
            at = &task->next;
            continue;
        }
        *at = task->next;
        task->err = *err;
        end_task(desk, task);
    }
    desk->end = at;
}

static void wait_for_retry(Desk *desk)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    int64_t ns = until.tv_nsec + RETRY_MS * NS_A_MS;
    until.tv_sec += (time_t)(ns / 1000000000);
    until.tv_nsec = (long)(ns % 1000000000);
    while (!desk->stopping && pthread_cond_timedwait(&desk->wake, &desk->lock, &until) != ETIMEDOUT)
        ;
}

/* The first, and those behind it that are done with it. Under the lock. */
static size_t together(const Desk *desk, DeskTask *tasks[DESK_TOGETHER_MOST])
{
    size_t count = 0;
    for (DeskTask *task = desk->first; task != NULL && count < DESK_TOGETHER_MOST;
         task = task->next) {
        if (count > 0 && (task->work_all == NULL || task->work_all != tasks[0]->work_all))
            break;
        tasks[count++] = task;
        if (desk->alone > 0)
            break;
    }
    return count;
}

static void end_first(Desk *desk, const Err *err)
{
    DeskTask *task = desk->first;
    desk->first = task->next;
    if (desk->first == NULL)
        desk->end = &desk->first;
    task->err = *err;
    end_task(desk, task);
}

static bool do_tasks(DeskTask *const *tasks, size_t count, Catalog *catalog, Err *err)
{
    return count == 1 ? tasks[0]->work(tasks[0], catalog, err)
                      : tasks[0]->work_all(tasks, count, catalog, err);
}

/* What is done in one turn, or one attempt to connect. Under the lock, which is given up while the
 * catalogue is asked. */
static void turn(Desk *desk)
{
    DeskTask *tasks[DESK_TOGETHER_MOST];
    size_t count = together(desk, tasks);
    Err err = {0};
    pthread_mutex_unlock(&desk->lock);
    bool reached = connected(desk, &err);
    bool done = reached && do_tasks(tasks, count, desk->catalog, &err);
    pthread_mutex_lock(&desk->lock);
    if (done || (reached && !desk_passing(&err))) {
        set_state(desk, NULL);
        if (!done && count > 1) { /* one of them, or each; the others are not to suffer for it */
            desk->alone = count;
            return;
        }
        desk->alone -= desk->alone > 0;
        for (size_t i = 0; i < count; i++)
            end_first(desk, done ? &(Err){0} : &err);
        return;
    }
    if (err.code != ERR_BUSY) /* a lock is not an absence */
        set_state(desk, &err);
    end_impatient(desk, &err);
    wait_for_retry(desk);
}

static void *run(void *ctx)
{
    Desk *desk = ctx;
    pthread_mutex_lock(&desk->lock);
    while (!desk->stopping) {
        if (desk->first != NULL) {
            turn(desk);
        } else if (desk->down) {
            /* Nobody asks: find out whether it is back, so that taking may begin again. */
            Err err = {0};
            pthread_mutex_unlock(&desk->lock);
            bool reached = connected(desk, &err);
            pthread_mutex_lock(&desk->lock);
            set_state(desk, reached ? NULL : &err);
            if (!reached)
                wait_for_retry(desk);
        } else {
            wait_signal(&desk->wake, &desk->lock);
        }
    }
    pthread_mutex_unlock(&desk->lock);
    catalog_close(desk->catalog);
    return NULL;
}

bool desk_start(Desk **out, const DeskParams *params, Err *err)
{
    Desk *desk = mem_new(Desk);
    pthread_condattr_t attributes;
    desk->params = *params;
    desk->interrupt = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    desk->params.catalog.interrupt_fd = desk->interrupt;
    desk->end = &desk->first;
    desk->over_end = &desk->over;
    pthread_mutex_init(&desk->lock, NULL);
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&desk->wake, &attributes);
    pthread_condattr_destroy(&attributes);
    if (desk->interrupt < 0 || pthread_create(&desk->thread, NULL, run, desk) != 0) {
        if (desk->interrupt >= 0)
            close(desk->interrupt);
        mem_free(desk);
        return err_set(err, ERR_FULL, "agent.thread", "no thread for the catalogue");
    }
    *out = desk;
    return true;
}

void desk_post(Desk *desk, DeskTask *task)
{
    pthread_mutex_lock(&desk->lock);
    task->until_ns = clock_boot_ns() + task->patience_ms * NS_A_MS;
    append(&desk->end, task);
    pthread_cond_signal(&desk->wake);
    pthread_mutex_unlock(&desk->lock);
}

void desk_stop(Desk *desk)
{
    if (desk == NULL)
        return;
    pthread_mutex_lock(&desk->lock);
    desk->stopping = true;
    pthread_cond_signal(&desk->wake);
    pthread_mutex_unlock(&desk->lock);
    eventfd_write(desk->interrupt, 1);
    pthread_join(desk->thread, NULL);
    /* What a done posts now is never done, and ends here in its turn. */
    while (desk->first != NULL || desk->over != NULL) {
        while (desk->first != NULL) {
            DeskTask *task = desk->first;
            desk->first = task->next;
            if (desk->first == NULL)
                desk->end = &desk->first;
            err_set(&task->err, ERR_CANCELLED, "agent.stopped", "the worker stops");
            append(&desk->over_end, task);
        }
        tell(desk);
    }
    pthread_cond_destroy(&desk->wake);
    pthread_mutex_destroy(&desk->lock);
    close(desk->interrupt);
    mem_free(desk);
}
