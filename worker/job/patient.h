/* SPDX-License-Identifier: Apache-2.0
 * patient.h — a catalogue connection that waits.
 * While PostgreSQL is down nobody can take a job away, so a job that meets that goes on as soon as
 * it is back: a lost connection, a timeout, a lock conflict or a full disk is tried again, with
 * growing pauses, until it works, the job is cancelled, or the patience is used up. Every catalogue
 * call may be repeated; that is what makes this right. One connection, shared by threads one call
 * at a time. */
#ifndef WORKER_JOB_PATIENT_H
#define WORKER_JOB_PATIENT_H

#include "common/base/secret.h"
#include "common/catalog/catalog.h"

typedef struct Patient Patient;

typedef struct PatientParams {
    const char *conninfo;
    const Secret *password; /* borrowed until patient_close; NULL: none */
    const char *application;
    int64_t patience_s;           /* 0: six hours */
    int64_t call_ms;              /* one try of a call; 0: the catalogue's usual time */
    bool (*cancelled)(void *ctx); /* asked while waiting; NULL: never */
    void *ctx;
} PatientParams;

/* Connects; waits for a server that is not there as any later call does. */
MUST_CHECK bool patient_open(Patient **out, const PatientParams *params, Err *err);
void patient_close(Patient *patient); /* NULL is fine */

/* One catalogue call, in a function that does nothing else: it may run several times. */
typedef bool PatientCall(Catalog *catalog, void *ctx, Err *err);
MUST_CHECK bool patient_call(Patient *patient, PatientCall *call, void *ctx, Err *err);

/* Is some thread waiting for the server right now? */
bool patient_waits(const Patient *patient);

#endif
