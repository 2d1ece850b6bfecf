/* SPDX-License-Identifier: Apache-2.0
 * cluster_place.h — where a physical backup goes that is restored over a cluster. In place means
 * the source's own data directory, which its `data_directory` names, and its tablespaces where they
 * were; it is always a delta. Over another directory it is one when it is asked for, and never over
 * the source's own: that is in place, with what makes that safe. */
#ifndef WORKER_JOB_CLUSTER_PLACE_H
#define WORKER_JOB_CLUSTER_PLACE_H

#include "worker/job/job.h"

/* Fills in the request of a restore, which has its "details" and "target". Nothing of a logical
 * backup, but that it takes no delta: ERR_USAGE "restore.delta". ERR_USAGE "restore.in_place": the
 * source does not say where it is, or its own directory was named without saying in place. */
MUST_CHECK bool cluster_place(const Job *job, json_t *request, Err *err);

#endif
