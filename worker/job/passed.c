/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/job/passed.h"

#include "common/base/json.h"
#include "common/catalog/catalog_group.h"

typedef struct Passed {
    uint64_t job, attempt;
    const char *text;
    bool yes;
} Passed;

static bool call_passed(Catalog *catalog, void *ctx, Err *err)
{
    Passed *passed = ctx;
    return catalog_job_passed(catalog, passed->job, passed->attempt, &passed->yes, err);
}

static bool call_unreleased(Catalog *catalog, void *ctx, Err *err)
{
    const Passed *passed = ctx;
    return catalog_group_unreleased(catalog, passed->job, passed->attempt, passed->text, err);
}

static Passed of_order(const json_t *order)
{
    return (Passed){.job = json_u64_or(order, "job", 0),
                    .attempt = json_u64_or(order, "attempt", 0)};
}

static bool call(const JobSettings *settings, int64_t patience_s, PatientCall *what, Passed *passed,
                 Err *err)
{
    SecretScope own = {.credentials = settings->credentials, .daemon = true};
    Secret *password = NULL;
    Patient *catalog = NULL;
    PatientParams params = {
        .conninfo = settings->catalogue, .application = "holdfast-job", .patience_s = patience_s};
    bool asked = settings->catalogue_password == NULL ||
                 secret_resolve(settings->catalogue_password, &own, &password, err);
    params.password = password;
    asked =
        asked && patient_open(&catalog, &params, err) && patient_call(catalog, what, passed, err);
    patient_close(catalog);
    secret_free(password);
    /* A catalogue that was made anew knows no attempt of ours, so none of another either. */
    if (!asked && strcmp(err->cause, "job.not_ours") == 0) {
        *err = (Err){0};
        return true;
    }
    if (!asked)
        err->code = ERR_UNREACHABLE;
    return asked;
}

bool passed_ask(const JobSettings *settings, const json_t *order, int64_t patience_s, bool *yes,
                Err *err)
{
    Passed passed = of_order(order);
    bool asked = call(settings, patience_s, call_passed, &passed, err);
    *yes = asked && passed.yes;
    return asked || err_note(err, "asking whether a later attempt runs");
}

bool passed_tell_unreleased(const JobSettings *settings, const json_t *order, int64_t patience_s,
                            const char *text, Err *err)
{
    Passed passed = of_order(order);
    passed.text = text;
    return call(settings, patience_s, call_unreleased, &passed, err);
}
