/* SPDX-License-Identifier: Apache-2.0
 * What production code calls threads, clocks and randomness. The linker's --wrap leads its calls
 * here; outside of every simulated process the real functions answer. */
#include "tests/sim/trace.h"
#include "tests/sim/vm.h"

#include "protocol/err.h"

#include <errno.h>
#include <ftw.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <time.h>

int __real_pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*start)(void *),
                          void *ctx);
int __real_pthread_join(pthread_t thread, void **result);
int __real_pthread_mutex_lock(pthread_mutex_t *mutex);
int __real_pthread_mutex_unlock(pthread_mutex_t *mutex);
int __real_clock_gettime(clockid_t which, struct timespec *out);

int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*start)(void *),
                          void *ctx);
int __wrap_pthread_join(pthread_t thread, void **result);
int __wrap_pthread_mutex_lock(pthread_mutex_t *mutex);
int __wrap_pthread_mutex_unlock(pthread_mutex_t *mutex);
void __wrap_wait_signal(pthread_cond_t *cond, pthread_mutex_t *mutex);
int __wrap_pthread_cond_timedwait(pthread_cond_t *cond, pthread_mutex_t *mutex,
                                  const struct timespec *until);
int __wrap_pthread_cond_signal(pthread_cond_t *cond);
int __wrap_clock_gettime(clockid_t which, struct timespec *out);
int __wrap_nanosleep(const struct timespec *ns, struct timespec *left);
ssize_t __wrap_getrandom(void *at, size_t len, unsigned flags);
char *__wrap_mkdtemp(char *name);
int __wrap_nftw(const char *path, int (*call)(const char *, const struct stat *, int, struct FTW *),
                int fds, int flags);
void __wrap_log_line(int level, const char *event, const char *format, ...) PRINTF_LIKE(3, 4);
void __wrap_log_err(const char *event, const Err *err);

typedef struct Start {
    void *(*start)(void *);
    void *ctx;
} Start;

static void run(void *ctx)
{
    Start *start = ctx;
    start->start(start->ctx);
}

int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*start)(void *),
                          void *ctx)
{
    static Start starts[4096]; /* small, and read only when the thread begins */
    static size_t at;
    if (vm_current() == NULL)
        return __real_pthread_create(thread, attr, start, ctx);
    Start *one = &starts[at++ % (sizeof starts / sizeof starts[0])];
    *one = (Start){start, ctx};
    *thread = (pthread_t)vm_thread(run, one);
    return 0;
}

int __wrap_pthread_join(pthread_t thread, void **result)
{
    if (vm_current() == NULL)
        return __real_pthread_join(thread, result);
    vm_join((Task *)thread);
    return 0;
}

/* Threads change places where they block, and sometimes where they let go of a lock. */
int __wrap_pthread_mutex_unlock(pthread_mutex_t *mutex)
{
    int result = __real_pthread_mutex_unlock(mutex);
    if (vm_current() != NULL && vm_chance(20))
        vm_sleep(vm_between(1, 2000) * VM_US);
    return result;
}

int __wrap_pthread_mutex_lock(pthread_mutex_t *mutex)
{
    if (vm_current() == NULL)
        return __real_pthread_mutex_lock(mutex);
    while (pthread_mutex_trylock(mutex) == EBUSY)
        vm_sleep(VM_MS / 10);
    return 0;
}

/* Who waits on which condition: few at any time, of all processes. */
static struct {
    pthread_cond_t *cond;
    Task *task;
} waiters[512];
static size_t waiter_count;

static int wait_for(pthread_cond_t *cond, pthread_mutex_t *mutex, int64_t until)
{
    Task *me = vm_current();
    for (size_t i = 0; i < waiter_count;) /* the dead wait no more */
        if (vm_alive(vm_process_of(waiters[i].task)))
            i++;
        else
            waiters[i] = waiters[--waiter_count];
    if (waiter_count == sizeof waiters / sizeof waiters[0])
        return EINVAL;
    waiters[waiter_count].cond = cond;
    waiters[waiter_count++].task = me;
    __real_pthread_mutex_unlock(mutex);
    bool woken = vm_block(until);
    for (size_t i = 0; i < waiter_count; i++)
        if (waiters[i].task == me) {
            waiters[i] = waiters[--waiter_count];
            break;
        }
    __wrap_pthread_mutex_lock(mutex);
    return woken ? 0 : ETIMEDOUT;
}

/* No signal is lost here. */
void __wrap_wait_signal(pthread_cond_t *cond, pthread_mutex_t *mutex)
{
    (void)wait_for(cond, mutex, VM_NEVER);
}

/* Every condition of ours counts on CLOCK_MONOTONIC. */
int __wrap_pthread_cond_timedwait(pthread_cond_t *cond, pthread_mutex_t *mutex,
                                  const struct timespec *until)
{
    int64_t at = (int64_t)until->tv_sec * VM_S + until->tv_nsec;
    return wait_for(cond, mutex, vm_now() + at - vm_mono(vm_current_process()));
}

int __wrap_pthread_cond_signal(pthread_cond_t *cond)
{
    for (size_t i = 0; i < waiter_count; i++)
        if (waiters[i].cond == cond) {
            vm_wake(waiters[i].task);
            break;
        }
    return 0;
}

void wraps_reset(void)
{
    waiter_count = 0;
}

int __wrap_clock_gettime(clockid_t which, struct timespec *out)
{
    Process *process = vm_current_process();
    if (process == NULL)
        return __real_clock_gettime(which, out);
    int64_t ns = which == CLOCK_REALTIME ? vm_wall(process) : vm_mono(process);
    *out = (struct timespec){.tv_sec = ns / VM_S, .tv_nsec = ns % VM_S};
    return 0;
}

int __wrap_nanosleep(const struct timespec *ns, struct timespec *left)
{
    (void)left;
    vm_sleep((int64_t)ns->tv_sec * VM_S + ns->tv_nsec);
    return 0;
}

ssize_t __wrap_getrandom(void *at, size_t len, unsigned flags)
{
    (void)flags;
    vm_random(at, len);
    return (ssize_t)len;
}

/* A scratch directory is a name here. */
char *__wrap_mkdtemp(char *name)
{
    return name;
}

int __wrap_nftw(const char *path, int (*call)(const char *, const struct stat *, int, struct FTW *),
                int fds, int flags)
{
    (void)path, (void)call, (void)fds, (void)flags;
    return 0;
}

void __wrap_log_line(int level, const char *event, const char *format, ...)
{
    (void)level;
    if (!trace_on())
        return;
    char text[300];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    trace("log %s %s", event, text);
}

void __wrap_log_err(const char *event, const Err *err)
{
    trace("log %s cause=%s %s", event, err->cause, err->text);
}
