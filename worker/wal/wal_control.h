/* SPDX-License-Identifier: Apache-2.0
 * wal_control.h — whose data directory a server's command was called in. */
#ifndef WORKER_WAL_WAL_CONTROL_H
#define WORKER_WAL_WAL_CONTROL_H

#include "protocol/err.h"

/* The cluster's identifier, of global/pg_control here or beside `folder`, which is its pg_wal. */
MUST_CHECK bool wal_control_system(const char *folder, uint64_t *system, Err *err);

#endif
