/* SPDX-License-Identifier: Apache-2.0
 * files_compare.h — a target that makes nothing: what it is given is compared with what is there.
 * All of it is looked at; finish fails with cause "proof.files" and the first difference. */
#ifndef WORKER_ENGINE_FILES_COMPARE_H
#define WORKER_ENGINE_FILES_COMPARE_H

#include "worker/engine/engine.h"

MUST_CHECK bool files_compare_open(Target **out, const char *folder, Err *err);

#endif
