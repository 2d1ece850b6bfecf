/* SPDX-License-Identifier: Apache-2.0
 * files_sandbox.h — files are tried in a folder: restored into it, written to disk, and compared
 * from there byte by byte with what the repository gives, with type, mode, time and link of each,
 * and with how many there are. Owners are compared by nobody, devices are not made. */
#ifndef WORKER_ENGINE_FILES_SANDBOX_H
#define WORKER_ENGINE_FILES_SANDBOX_H

#include "worker/engine/sandbox.h"

extern const SandboxOps files_sandbox;

#endif
