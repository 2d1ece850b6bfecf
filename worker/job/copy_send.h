/* SPDX-License-Identifier: Apache-2.0
 * copy_send.h — packs sent from one repository into another, some at a time.
 * Each is announced before its object is written and staged when that is durable, so a kill costs
 * what was under way and nothing else. Bytes are counted in the job and held to its rate; memory is
 * a part of one object a lane. */
#ifndef WORKER_JOB_COPY_SEND_H
#define WORKER_JOB_COPY_SEND_H

#include "common/base/rate.h"
#include "common/catalog/catalog_copy.h"
#include "common/repo/packset.h"
#include "worker/job/session.h"

typedef struct CopySend {
    Job *job;
    Session *from, *to;
    Rate rate;
    PackSet here;  /* packs of the target that the backup needs */
    PackRow *rows; /* what was sent, without chunks; mem_free */
    size_t count, room;
    uint64_t bytes; /* sent */
    uint64_t had;   /* packs that were there already */
} CopySend;

/* Every pack of the list is in the target, or the call fails. A damaged one is marked. */
MUST_CHECK bool copy_send(CopySend *send, const CopyPack *packs, size_t count, Err *err);
void copy_send_free(CopySend *send);

#endif
