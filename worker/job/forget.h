/* SPDX-License-Identifier: Apache-2.0
 * forget.h — backups leave: first the catalogue says that nobody may use them any more, then
 * forgotten/<id> says it in the store, then marker, manifest and parent lists go, then the
 * catalogue knows that they are gone. What a killed run left half done, the next one ends. Packs
 * are the collector's. For jobs of the kinds prune and retention, in a session opened with
 * SESSION_PRUNE. */
#ifndef WORKER_JOB_FORGET_H
#define WORKER_JOB_FORGET_H

#include "worker/job/session.h"

/* One that is asked to go, and why: for the audit log. Borrowed. */
typedef struct ForgetWish {
    Uuid backup;
    Text reason;
} ForgetWish;

/* Asks the catalogue for each. Refused (held, locked, pinned, unknown) is an answer, not an error:
 * *answers, an array of {"backup", "answer", "why"}, is the caller's. More than the worker's own
 * file allows in one run (allow.prune_backups) are refused as a whole: ERR_DENIED. */
MUST_CHECK bool forget_wishes(Job *job, const ForgetWish *wishes, size_t count, json_t **answers,
                              Err *err);

/* Takes the objects of every deleted backup off the store, those of earlier runs too. *gone: how
 * many are gone now. */
MUST_CHECK bool forget_objects(Session *session, Job *job, uint64_t *gone, Err *err);

#endif
