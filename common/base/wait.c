/* SPDX-License-Identifier: Apache-2.0 */
#include "common/base/wait.h"

#include <time.h>

void wait_signal(pthread_cond_t *cond, pthread_mutex_t *lock)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec++;
    (void)pthread_cond_clockwait(cond, lock, CLOCK_MONOTONIC, &until);
}
