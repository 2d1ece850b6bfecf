/* SPDX-License-Identifier: Apache-2.0
 * postgresql_target.h — the restoring side. request: {"target": {"server": {…}, "database": name or
 * "databases": {old: new}, "owners": "keep" or "ignore", "roles": true}, "select": {"paths": […],
 * "globs": […]}, "in_place": true, "confirm": name, or "confirmed": true when the caller has asked
 * already}. It selects by itself: every entry of the
 * backup must be offered to `begin`, which says which content it wants. */
#ifndef WORKER_ENGINE_POSTGRESQL_TARGET_H
#define WORKER_ENGINE_POSTGRESQL_TARGET_H

#include "worker/engine/engine.h"

MUST_CHECK bool postgresql_target_open(Target **out, const EngineParams *params, Err *err);

#endif
