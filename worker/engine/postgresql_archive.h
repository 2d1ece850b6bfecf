/* SPDX-License-Identifier: Apache-2.0
 * postgresql_archive.h — what makes a restored data directory recover to an instant: the segments
 * and histories of the log in its folder holdfast_wal, and the server's recovery settings, written
 * last. The settings copy from that folder alone, so recovery needs neither Holdfast, nor its
 * servers, nor the network; the directory may be moved first. A segment that is there in part is
 * filled up with zeros, where PostgreSQL sees the log's end. Once the server runs the folder may be
 * deleted. request "archive": {"path": data directory, "timeline": number, and at most one of
 * "time" (RFC 3339), "lsn", "xid", "name"; none: to the end of the log}. */
#ifndef WORKER_ENGINE_POSTGRESQL_ARCHIVE_H
#define WORKER_ENGINE_POSTGRESQL_ARCHIVE_H

#include "worker/engine/engine.h"

#define POSTGRESQL_ARCHIVE_FOLDER "holdfast_wal"

bool postgresql_archive_asked(const EngineParams *params);

/* Entries as postgresql_wal.h has them, from any number of batches; `finish` writes the settings.
 */
MUST_CHECK bool postgresql_archive_open(Target **out, const EngineParams *params, Err *err);

/* The lines for postgresql.auto.conf; what is asked for is checked: ERR_USAGE "target.until". */
MUST_CHECK bool postgresql_archive_settings(const json_t *archive, Buf *out, Err *err);

#endif
