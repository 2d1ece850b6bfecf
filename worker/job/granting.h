/* SPDX-License-Identifier: Apache-2.0
 * granting.h — restore grants on the two workers that they are about: a reader makes one, for a
 * host that its own file names; a host without a reader key opens what is for it.
 * A stolen scheduler can ask a reader for grants, to hosts of the reader's `allow.grants` alone;
 * the certificate that it shows must be the root's, of that host, and not taken back. */
#ifndef WORKER_JOB_GRANTING_H
#define WORKER_JOB_GRANTING_H

#include "common/codec/keyring.h"
#include "worker/job/job.h"

/* The probe restore_grant. */
MUST_CHECK bool granting_run(Job *job, JobResult *result, Err *err);

/* Does the order name a grant? Then the keyring is given what it holds. */
bool granting_named(const Job *job);
MUST_CHECK bool granting_take(Job *job, Keyring *keyring, Err *err);

/* {key set: certificate in hex} of the writer files there: what a grant is bound to. */
json_t *granting_certificates(const JobSettings *settings);

#endif
