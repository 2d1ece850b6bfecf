/* SPDX-License-Identifier: Apache-2.0
 * events.h — the little of libevent that our loops use, on virtual time; its functions carry
 * libevent's names, so that loop.c, queue.c and taker.c run unchanged. Beside them, a way in for
 * the simulated world. */
#ifndef TESTS_SIM_EVENTS_H
#define TESTS_SIM_EVENTS_H

#include "common/base/loop.h"
#include "tests/sim/vm.h"

void events_reset(void); /* with vm_begin */

/* Calls inside the loop of `base` at that instant, or as soon as its process runs after it; in the
 * order of the instants. Dropped when the base is freed. */
void events_post(struct event_base *base, int64_t when, VmCall *call, void *ctx);

/* A signal for a process that watches for it. */
void events_signal(const Process *process, int number);

#endif
