/* SPDX-License-Identifier: Apache-2.0
 * set_back.h — is this the repository that the catalogue knows, as new as it knows it?
 * A store put back to an older copy has lost chunks that the catalogue still names; a catalogue put
 * back does not know what is there. Either is told to the catalogue as repo.rolled_back: backups go
 * on, and share nothing with what was stored before. */
#ifndef WORKER_JOB_SET_BACK_H
#define WORKER_JOB_SET_BACK_H

#include "worker/job/session.h"

/* At the start of a session that writes: the epochs fit each other, the newest marked backup is in
 * the store, and no marker there is of a backup that the catalogue does not have. */
MUST_CHECK bool set_back_look(Session *session, Job *job, uint64_t gc_epoch,
                              uint64_t confirmed_epoch, Err *err);

/* Is the order's parent, the newest backup of the source, in the store? */
MUST_CHECK bool set_back_parent(Session *session, Job *job, Err *err);

#endif
