/* SPDX-License-Identifier: Apache-2.0
 * proving.h — what every check of packs asks of the catalogue: which chunks it says are in one,
 * since these rows are what others would share by, and that one is damaged. */
#ifndef WORKER_JOB_PROVING_H
#define WORKER_JOB_PROVING_H

#include "protocol/pack.h"
#include "worker/job/job.h"

enum { PROVING_AT_ONCE = 16 }; /* packs that are looked at together */

/* Gives the row its chunks; *kept holds them, for mem_free when the row is done with. */
MUST_CHECK bool proving_rows(Job *job, PackRow *row, ChunkRow **kept, Err *err);

/* From now on no backup shares this pack. That the mark fails is told, the check goes on. */
void proving_mark_damaged(Job *job, uint64_t pack_no, const Err *why);

#endif
