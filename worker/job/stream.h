/* SPDX-License-Identifier: Apache-2.0
 * stream.h — from an engine's source into a repository's writer, one thread a lane.
 * The first failure of any lane stops the others and is the one that is returned. */
#ifndef WORKER_JOB_STREAM_H
#define WORKER_JOB_STREAM_H

#include "common/repo/writer.h"
#include "worker/engine/engine.h"

/* Until every lane of the source is at its end. */
MUST_CHECK bool stream_run(Source *source, RepoWriter *writer, Err *err);

#endif
