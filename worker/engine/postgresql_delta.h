/* SPDX-License-Identifier: Apache-2.0
 * postgresql_delta.h — may a cluster that is there be made equal to a physical backup, and how no
 * server starts on it meanwhile. It must be of the backup's own system, by its pg_control or by the
 * mark of an earlier attempt, and no server may run on it. Then every place is marked
 * (files_delta.h), pg_control is moved away, and who runs is asked once more: a server that starts
 * takes postmaster.pid before it reads pg_control, so either it is seen here or it does not start.
 * pg_control comes back last. Until then a restore that died is repaired by running it again. */
#ifndef WORKER_ENGINE_POSTGRESQL_DELTA_H
#define WORKER_ENGINE_POSTGRESQL_DELTA_H

#include "worker/engine/postgresql_places.h"

enum { POSTGRESQL_DELTA_MARK = 64 };

/* What the mark of a restore of this receipt says. */
void postgresql_delta_mark(const json_t *details, char out[POSTGRESQL_DELTA_MARK]);

/* Changes nothing, and does not ask who runs. ERR_CONFLICT: "target.unfinished", another restore
 * was begun there; "target.other_system"; "target.not_a_cluster"; "target.tablespace", a directory
 * that is not empty and is no tablespace of the cluster that is there. *exists: there is something.
 */
MUST_CHECK bool postgresql_delta_check(const PostgresqlPlaces *where, const json_t *details,
                                       bool *exists, Err *err);

/* After every place is marked. On a failure pg_control is where it was. */
MUST_CHECK bool postgresql_delta_disarm(Text data, Err *err);

#endif
