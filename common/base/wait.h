/* SPDX-License-Identifier: Apache-2.0
 * wait.h — waiting for what another thread signals. glibc from 2.25 to 2.40 (Debian 12 has 2.36)
 * loses a signal now and then where several threads wait for one condition variable (sourceware
 * bug 25847): all of them sleep on, though there is work. So nobody sleeps for more than a second
 * without looking again, and a lost signal costs that second instead of the job. */
#ifndef COMMON_BASE_WAIT_H
#define COMMON_BASE_WAIT_H

#include <pthread.h>

/* Like pthread_cond_wait, under the lock: comes back when signalled, after a second, or for no
 * reason at all. The caller looks at what it waits for, and waits again. */
void wait_signal(pthread_cond_t *cond, pthread_mutex_t *lock);

#endif
