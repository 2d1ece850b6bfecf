/* SPDX-License-Identifier: Apache-2.0
 * files_grown.h — was a file only appended to while it was read?
 * A log never stands still for a reading. What was read is nevertheless a state that the file had,
 * where the reading gave the bytes that another one had given before it began: at the moment
 * between the two all of them stood there at once. A look afterwards alone would not do: it cannot
 * see what changed between the beginning of a reading and its arrival there. It is done, too: what
 * is changed in place all the time is no log. */
#ifndef WORKER_ENGINE_FILES_GROWN_H
#define WORKER_ENGINE_FILES_GROWN_H

#include "worker/engine/engine.h"

/* A sum over what was read, in order; it begins with 0. */
uint32_t files_grown_add(uint32_t sum, const uint8_t *at, size_t len);
uint32_t files_grown_zeros(uint32_t sum, uint64_t count);

/* The sum of the first `length` bytes; false when they cannot be read, or the job was cancelled. */
bool files_grown_sum(int fd, uint64_t length, const EngineHost *host, uint32_t *sum);

#endif
