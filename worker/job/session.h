/* SPDX-License-Identifier: Apache-2.0
 * session.h — the repository that an order names, opened as far as this worker's own file allows.
 * Store and key set must be allowed, an unencrypted one must be allowed by name, and the id in the
 * store's config must be the one the catalogue knows: so neither a stolen scheduler nor an
 * unmounted disk can lead a backup elsewhere. */
#ifndef WORKER_JOB_SESSION_H
#define WORKER_JOB_SESSION_H

#include "common/codec/keyring.h"
#include "common/repo/repo.h"
#include "common/store/store.h"
#include "worker/job/job.h"

typedef enum SessionUse {
    SESSION_WRITE = 1, /* a writer key */
    SESSION_READ,      /* a reader key, else repo.no_reader */
    SESSION_STORED,    /* whole objects only: no key is needed */
    SESSION_PRUNE,     /* a prune key; the store may delete */
} SessionUse;

typedef struct Session {
    Store *store;
    Keyring *keyring;
    Repo *repo;
} Session;

MUST_CHECK bool session_open(Session *session, Job *job, SessionUse use, Err *err);
/* Another repository than the job's own, as an order shows it ("repository"'s members), to read.
 * That the collector spares it meanwhile is the catalogue's to see to. */
MUST_CHECK bool session_open_other(Session *session, Job *job, const json_t *repository,
                                   SessionUse use, Err *err);
void session_close(Session *session); /* a zeroed one is fine */

/* Writes the markers of committed backups that lack one; before own work. */
MUST_CHECK bool session_markers(Session *session, Job *job, Err *err);

#endif
