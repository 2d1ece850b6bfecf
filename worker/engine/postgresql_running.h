/* SPDX-License-Identifier: Apache-2.0
 * postgresql_running.h — does a server run on a data directory? What says so is its postmaster.pid:
 * the first line is its process, the seventh ends with the id of its System V shared memory, which
 * processes of a server that was killed may still be attached to and write through. A server in
 * another container or on another host that shares the directory cannot be seen from here. */
#ifndef WORKER_ENGINE_POSTGRESQL_RUNNING_H
#define WORKER_ENGINE_POSTGRESQL_RUNNING_H

#include "protocol/bytes.h"
#include "protocol/err.h"

/* ERR_CONFLICT "target.running": one does. No directory, no file: none. */
MUST_CHECK bool postgresql_running_none(Text path, Err *err);

#endif
