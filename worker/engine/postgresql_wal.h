/* SPDX-License-Identifier: Apache-2.0
 * postgresql_wal.h — the log of a server as a source of its own (config: method: wal, slot).
 * One backup of it is one batch: what the server wrote since the batch before, up to where it had
 * flushed when the batch began.
 * Entries of a batch:
 *   <24 hex digits>           a whole segment, byte for byte as in pg_wal
 *   <24 hex digits>.partial   the last one, up to where the batch ends; the next has it again
 *   <8 hex digits>.history    of the server's own timeline, from the second on
 * Where it goes on is what the catalogue says is committed: request {"log": {"system", "timeline",
 * "end", "at_us", "sha256" of the segment that ends there}}, absent for the first batch; a server
 * that has other bytes there is refused. The slot is told that position only, so the server
 * keeps every byte until it is stored: a run that dies anywhere leaves no hole. The slot is made
 * here where there is none; where it was lost the log goes on after the hole, and the receipt names
 * it. Its details are described in protocol/README.md, "The log of a server". */
#ifndef WORKER_ENGINE_POSTGRESQL_WAL_H
#define WORKER_ENGINE_POSTGRESQL_WAL_H

#include "worker/engine/engine.h"

/* Does this source or this run ask for the log? */
bool postgresql_wal_asked(const EngineParams *params);
MUST_CHECK bool postgresql_wal_source_open(Source **out, const EngineParams *params, Err *err);

#endif
