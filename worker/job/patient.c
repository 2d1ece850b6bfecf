/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/job/patient.h"

#include "common/base/clock.h"
#include "common/base/mem.h"
#include "common/base/rand.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <time.h>

/* commit_patience: a backup that is stored whole is worth waiting for. */
#define PATIENCE_S INT64_C(21600)

enum {
    FIRST_PAUSE_MS = 100,
    LAST_PAUSE_MS = 5000,
    STEP_MS = 100, /* how soon a cancel is noticed */
};

struct Patient {
    pthread_mutex_t lock;
    Catalog *catalog; /* NULL until the first connection */
    char *conninfo, *application;
    const Secret *password;
    int64_t patience_s, call_ms;
    bool (*cancelled)(void *ctx);
    void *ctx;
    atomic_bool waits;
};

bool patient_waits(const Patient *patient)
{
    return patient->waits;
}

/* A server whose disk is full reads on and writes nothing: nobody can take the job away either. */
static bool is_passing(const Err *err)
{
    return err->code == ERR_UNREACHABLE || err->code == ERR_TIMEOUT || err->code == ERR_BUSY ||
           (err->code == ERR_FULL && strcmp(err->cause, "catalogue.full") == 0);
}

/* False: cancelled meanwhile. */
static bool pause_ms(Patient *patient, int64_t ms)
{
    for (int64_t left = ms; left > 0; left -= STEP_MS) {
        struct timespec step = {.tv_nsec = (left < STEP_MS ? left : STEP_MS) * 1000000};
        if (patient->cancelled != NULL && patient->cancelled(patient->ctx))
            return false;
        nanosleep(&step, NULL);
    }
    return true;
}

static bool connected(Patient *patient, Err *err)
{
    if (patient->catalog != NULL)
        return catalog_ok(patient->catalog) || catalog_reset(patient->catalog, err);
    CatalogParams params = {.conninfo = patient->conninfo,
                            .password = patient->password,
                            .application = patient->application,
                            .timeout_ms = patient->call_ms,
                            .checked = true}; /* by the worker that claimed the job */
    return catalog_open(&patient->catalog, &params, err);
}

static bool nothing(Catalog *catalog, void *ctx, Err *err)
{
    (void)catalog;
    (void)ctx;
    (void)err;
    return true;
}

/* Under the lock. */
static bool try_until(Patient *patient, PatientCall *call, void *ctx, Err *err)
{
    int64_t until = clock_boot_ns() + patient->patience_s * INT64_C(1000000000);
    int64_t most = FIRST_PAUSE_MS;
    for (bool tried = false;; tried = true) {
        if (connected(patient, err) && call(patient->catalog, ctx, err)) {
            if (tried) /* what an earlier try said is over */
                *err = (Err){0};
            return true;
        }
        if (!is_passing(err))
            return false;
        if (clock_boot_ns() >= until)
            return err_note(err, "waited %" PRId64 " s for the catalogue", patient->patience_s);
        patient->waits = true;
        /* Jitter, so that a fleet does not come back in one instant. */
        bool go_on = pause_ms(patient, most / 2 + (int64_t)((double)most * rand_unit() / 2));
        patient->waits = false;
        if (!go_on)
            return err_set(err, ERR_CANCELLED, "job.cancelled",
                           "cancelled while the catalogue could not be reached");
        most = most * 2 > LAST_PAUSE_MS ? LAST_PAUSE_MS : most * 2;
    }
}

bool patient_call(Patient *patient, PatientCall *call, void *ctx, Err *err)
{
    pthread_mutex_lock(&patient->lock);
    bool fine = try_until(patient, call, ctx, err);
    pthread_mutex_unlock(&patient->lock);
    return fine;
}

bool patient_open(Patient **out, const PatientParams *params, Err *err)
{
    Patient *patient = mem_new(Patient);
    pthread_mutex_init(&patient->lock, NULL);
    patient->conninfo = mem_string(params->conninfo);
    patient->application = mem_string(params->application);
    patient->password = params->password;
    patient->call_ms = params->call_ms;
    patient->patience_s = params->patience_s == 0 ? PATIENCE_S : params->patience_s;
    patient->cancelled = params->cancelled;
    patient->ctx = params->ctx;
    if (!patient_call(patient, nothing, NULL, err)) {
        patient_close(patient);
        return false;
    }
    *out = patient;
    return true;
}

void patient_close(Patient *patient)
{
    if (patient == NULL)
        return;
    catalog_close(patient->catalog);
    mem_free(patient->conninfo);
    mem_free(patient->application);
    pthread_mutex_destroy(&patient->lock);
    mem_free(patient);
}
