/* SPDX-License-Identifier: Apache-2.0
 * postgresql_probe.h — looking before leaping: can this source be dumped, and what would a restore
 * do. Both answer with a report even when something is wrong; Err is for what kept them from
 * looking. */
#ifndef WORKER_ENGINE_POSTGRESQL_PROBE_H
#define WORKER_ENGINE_POSTGRESQL_PROBE_H

#include "worker/engine/engine.h"

MUST_CHECK bool postgresql_probe_test(const EngineParams *params, json_t **report, Err *err);
MUST_CHECK bool postgresql_probe_plan(const EngineParams *params, json_t **report, Err *err);

#endif
