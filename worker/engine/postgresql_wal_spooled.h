/* SPDX-License-Identifier: Apache-2.0
 * postgresql_wal_spooled.h — the log of a server that archives it (config: method: wal, from:
 * spool, returns: stored | spooled): a batch is what `holdfast-worker wal-push` put into the spool
 * of this host. Its entries, receipt and request are those of postgresql_wal.h; the server is asked
 * for its identity only where nothing of its log is stored yet, so what a server pushes while it
 * stops is stored too. A batch's instant is that of the latest commit in it, less a microsecond: a
 * recovery to it finds one that is later. */
#ifndef WORKER_ENGINE_POSTGRESQL_WAL_SPOOLED_H
#define WORKER_ENGINE_POSTGRESQL_WAL_SPOOLED_H

#include "worker/engine/engine.h"

/* Does this source's log come out of a spool? */
bool postgresql_wal_spooled_asked(const EngineParams *params);
MUST_CHECK bool postgresql_wal_spooled_open(Source **out, const EngineParams *params, Err *err);

#endif
