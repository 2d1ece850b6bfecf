/* SPDX-License-Identifier: Apache-2.0
 * proof_place.h — the folder of one proof below allow.sandbox.folder, and its end. A folder belongs
 * to the process that holds the lock in it; one whose owner has died is found by the next look,
 * which ends whatever still runs in it and removes it. Processes are known by their working
 * directory and by the server that was written down there (pid and start time). */
#ifndef WORKER_JOB_PROOF_PLACE_H
#define WORKER_JOB_PROOF_PLACE_H

#include "worker/engine/confine.h"
#include "worker/job/allow.h"

enum { PROOF_PATH = 500 };

typedef struct ProofPlace {
    char folder[PROOF_PATH]; /* "": none was made */
    int lock;
    Confine confine;
} ProofPlace;

/* Is the folder ours, and is there room for so many bytes? Makes nothing but the folder itself.
 * Causes "sandbox.folder", "sandbox.user", "sandbox.space". */
MUST_CHECK bool proof_place_look(const AllowSandbox *allowed, uint64_t bytes, Err *err);
MUST_CHECK bool proof_place_make(ProofPlace *place, const AllowSandbox *allowed, uint64_t job,
                                 Err *err);
/* Whatever runs in it is killed; then it goes. False, with what is left, when it could not. */
MUST_CHECK bool proof_place_drop(ProofPlace *place, Err *err);

/* Everything below whose owner lives no more; how many were found. NULL folder: none. */
size_t proof_place_sweep(const AllowSandbox *allowed);
/* The same in a thread of its own, for a worker that must not wait. */
void proof_place_sweep_later(const AllowSandbox *allowed);

#endif
