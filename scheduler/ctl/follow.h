/* SPDX-License-Identifier: Apache-2.0
 * follow.h — watching jobs until they end. A terminal gets one redrawn line a job, a log gets a
 * line at each phase and every 30 s, --json gets NDJSON once a second. The numbers are the worker's
 * own; an ETA is shown only with a basis: after 10 s, a rate over the last 60 s and a known total.
 */
#ifndef SCHEDULER_CTL_FOLLOW_H
#define SCHEDULER_CTL_FOLLOW_H

#include "scheduler/ctl/client.h"

/* Watches until every job is terminal or the time of --timeout is over. *exit_code is the worst of
 * the jobs': 0 completed, 3 partial, 1 failed, 6 skipped or missed, 130 cancelled, 7 timed out. */
MUST_CHECK bool follow_jobs(Client *client, const Args *args, const json_t *jobs, int *exit_code,
                            Err *err);

/* Waits for one small job (a probe) without drawing; *job is the finished one, the caller's. */
MUST_CHECK bool follow_quietly(Client *client, const char *id, int64_t timeout_ms, json_t **job,
                               Err *err);

/* The same however long it takes; a scheduler that restarts is borne for a minute. */
MUST_CHECK bool follow_to_end(Client *client, const char *id, json_t **job, Err *err);

bool follow_terminal(const char *state);
int follow_exit_code(const char *state);

/* "90s", "5m", "8h" as milliseconds. */
MUST_CHECK bool follow_timeout(const char *text, int64_t *timeout_ms, Err *err);

#endif
