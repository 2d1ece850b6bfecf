/* SPDX-License-Identifier: Apache-2.0
 * files_source.h — reads trees of files: one lane, bytewise path order (files.h has the config).
 * A file that changes while it is read is withdrawn and yielded again; when the second reading saw
 * a change too it is kept and told as torn, but where it only grew: then what it held when that
 * reading began was read. A file that cannot be read is withdrawn and told. */
#ifndef WORKER_ENGINE_FILES_SOURCE_H
#define WORKER_ENGINE_FILES_SOURCE_H

#include "worker/engine/engine.h"

MUST_CHECK bool files_source_open(Source **out, const EngineParams *params, Err *err);

/* The config's paths and patterns, checked; *paths borrows from config and is freed by mem_free. */
MUST_CHECK bool files_source_paths(const json_t *config, Text **paths, size_t *count, Err *err);

#endif
