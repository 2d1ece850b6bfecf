/* SPDX-License-Identifier: Apache-2.0
 * fleet_log.h — the log of a source as a source of its own: `wal: stream` and `wal:
 * archive_command` make "NAME-wal" beside NAME, read from the server or from the spool of its host.
 * Each backup of it is a batch of the log, so batches are committed, copied, checked, collected and
 * rebuilt as every backup is, in a session of their own; and a stream holds no lane, limit or
 * window of the backups of NAME, nor do they hold it up. Its batches stay as long as a base backup
 * needs them, whatever the keep rules say; of the rest the newest hour stays. */
#ifndef SCHEDULER_PLAN_FLEET_LOG_H
#define SCHEDULER_PLAN_FLEET_LOG_H

#include "scheduler/plan/fleet_check.h"

#include <jansson.h>

/* Adds what the compiled source NAME needs to `sources`, where its file asks for it. */
void fleet_log_add(const char *name, const json_t *compiled, json_t *sources);
/* Of a source whose log is kept: that the name is free. */
void fleet_log_check(FleetCheck *check, const YamlPair *source);

#endif
