/* SPDX-License-Identifier: Apache-2.0
 * postgresql_source.h — the reading side: lanes that take work from one queue. */
#ifndef WORKER_ENGINE_POSTGRESQL_SOURCE_H
#define WORKER_ENGINE_POSTGRESQL_SOURCE_H

#include "worker/engine/engine.h"

MUST_CHECK bool postgresql_source_open(Source **out, const EngineParams *params, Err *err);

#endif
