/* SPDX-License-Identifier: Apache-2.0
 * postgresql_slot.h — the end of the replication slot that a log was read from. Only slots that are
 * named like ours are touched: an order that names another is refused. */
#ifndef WORKER_ENGINE_POSTGRESQL_SLOT_H
#define WORKER_ENGINE_POSTGRESQL_SLOT_H

#include "worker/engine/engine.h"

/* Engine's let_go. One that is not there any more is as good as dropped; one that somebody reads
 * from is source.slot_active. */
MUST_CHECK bool postgresql_slot_drop(const EngineParams *params, json_t **report, Err *err);

#endif
