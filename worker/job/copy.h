/* SPDX-License-Identifier: Apache-2.0
 * copy.h — a job that brings a backup into another repository of its key set, pack by pack.
 * No reader key is needed and nothing is opened: packs keep their bytes and get fresh names, what
 * the target has already is not sent again, an index of the new packs is written from the
 * catalogue's rows, and the manifest goes over as it is. Then one fenced commit, then the marker.
 * It was to be a new head over the first index's sealed body; but the body is sealed together with
 * its head, and one signature covers both, so that no head can be put before another's body: a
 * rule worth more than the saving. What the rows say is the writer's word until a reader has opened
 * the packs, so no other source shares a copied pack before that. */
#ifndef WORKER_JOB_COPY_H
#define WORKER_JOB_COPY_H

#include "worker/job/job.h"

MUST_CHECK bool copy_run(Job *job, JobResult *result, Err *err);

#endif
