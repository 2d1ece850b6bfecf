/* SPDX-License-Identifier: Apache-2.0
 * passed.h — what an attempt that died on this host left to do, seen from the catalogue: it may be
 * somebody else's by now, and that it cannot be done is told there. Without a lease, by a
 * connection of its own. */
#ifndef WORKER_JOB_PASSED_H
#define WORKER_JOB_PASSED_H

#include "worker/job/job.h"

/* *yes: of a restore, a later attempt runs; of a group's lead, a later run of the group holds the
 * application: it does it. A catalogue that was made anew knows neither. ERR_UNREACHABLE: nobody
 * could be asked for so long. */
MUST_CHECK bool passed_ask(const JobSettings *settings, const json_t *order, int64_t patience_s,
                           bool *yes, Err *err);

/* An alert: the application of the lead's group may be held still. Once an attempt. */
MUST_CHECK bool passed_tell_unreleased(const JobSettings *settings, const json_t *order,
                                       int64_t patience_s, const char *text, Err *err);

#endif
