/* SPDX-License-Identifier: Apache-2.0
 * files_target.h — makes files again, beneath one directory (files.h has the request).
 * A name that would leave the target, or meets a symbolic link on its way, is refused and told as
 * an Issue; so is a hard link to anything that this restore did not make. One entry's failure does
 * not end a restore, a full or broken disk does. Until finish an unfinished restore is marked by a
 * file at the top of the target. */
#ifndef WORKER_ENGINE_FILES_TARGET_H
#define WORKER_ENGINE_FILES_TARGET_H

#include "worker/engine/engine.h"

#define FILES_TARGET_MARK ".holdfast-unfinished-restore"

MUST_CHECK bool files_target_open(Target **out, const EngineParams *params, Err *err);
/* After a finish that kept the mark: removes it where it is the request's own. */
MUST_CHECK bool files_target_settle(const EngineParams *params, Err *err);
MUST_CHECK bool files_target_plan(const EngineParams *params, json_t **report, Err *err);

#endif
