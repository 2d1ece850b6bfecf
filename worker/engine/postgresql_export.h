/* SPDX-License-Identifier: Apache-2.0
 * postgresql_export.h — a logical backup as one .sql.gz that `gunzip -c FILE | psql -v
 * ON_ERROR_STOP=1 -d EMPTY_DATABASE` restores, with no program of ours. It is a Target: fed with
 * every entry of a backup, phase by phase. Roles are not in it: psql would stop at the first one
 * that is there. With `all` every database is made and connected to by the file itself, which is
 * then fed to psql -d postgres. */
#ifndef WORKER_ENGINE_POSTGRESQL_EXPORT_H
#define WORKER_ENGINE_POSTGRESQL_EXPORT_H

#include "worker/engine/engine.h"

/* Where the text goes instead of a file: as it is, not compressed. */
typedef struct PostgresqlExportSink {
    void *ctx;
    bool (*take)(void *ctx, Slice text, Err *err);
} PostgresqlExportSink;

typedef struct PostgresqlExportParams {
    int fd;        /* written to, not closed */
    Text database; /* which one; empty: the only one of the backup */
    bool all;
    const PostgresqlExportSink *sink; /* borrowed; instead of fd */
} PostgresqlExportParams;

/* finish flushes the last byte to fd and reports {"databases","tables","rows","bytes"}. */
MUST_CHECK bool postgresql_export_open(Target **out, const PostgresqlExportParams *params,
                                       Err *err);

#endif
