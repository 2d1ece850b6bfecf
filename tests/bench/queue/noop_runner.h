/* SPDX-License-Identifier: Apache-2.0
 * noop_runner.h — worker/agent/runner.h without processes: a "child" binds its session and commits
 * a backup of nothing, on one of a few threads that keep their connections. What is left is what a
 * queue costs: ticket, claim, lease, commit, acknowledgement. */
#ifndef TESTS_BENCH_QUEUE_NOOP_RUNNER_H
#define TESTS_BENCH_QUEUE_NOOP_RUNNER_H

#include <stddef.h>

/* To be called before agent_run, once; the conninfo is borrowed for ever. */
void noop_runner_begin(const char *conninfo, size_t threads);

#endif
