/* SPDX-License-Identifier: Apache-2.0
 * files_grown.h — was a file only appended to while it was read?
 * A log never stands still for a reading. What it held when the reading began is nevertheless a
 * state that it had, where nothing of that changed until all of it had been read: the file still
 * begins with the same bytes afterwards. */
#ifndef WORKER_ENGINE_FILES_GROWN_H
#define WORKER_ENGINE_FILES_GROWN_H

#include "worker/engine/engine.h"

/* A sum over what was read, in order; it begins with 0. */
uint32_t files_grown_add(uint32_t sum, const uint8_t *at, size_t len);
uint32_t files_grown_zeros(uint32_t sum, uint64_t count);

/* Reads the first `length` bytes again: is their sum the same? False also when they cannot be read,
 * or the job was cancelled. */
bool files_grown_same(int fd, uint64_t length, uint32_t sum, const EngineHost *host);

#endif
