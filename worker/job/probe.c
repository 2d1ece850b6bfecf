/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/job/probe.h"

#include "common/base/clock.h"
#include "common/base/json.h"
#include "common/base/rand.h"
#include "common/store/store_s3.h"
#include "worker/job/browse.h"
#include "worker/job/ceiling.h"
#include "worker/job/granting.h"
#include "worker/job/opened.h"
#include "worker/job/restore.h"
#include "worker/job/restore_file.h"
#include "worker/job/restore_log.h"
#include "worker/job/safety.h"
#include "worker/job/stores.h"

#include <stdio.h>

static void no_issue(void *ctx, const Issue *issue)
{
    (void)ctx;
    (void)issue;
}

static bool source_test(Job *job, JobResult *result, Err *err)
{
    const Engine *engine;
    const json_t *config = json_object_get(job->source, "config");
    Text type = json_text_or(job->source, "type", TEXT(""));
    EngineHost host = job_host(job, no_issue);
    EngineParams params = {.config = config, .request = job->params, .host = &host, .lanes = 1};
    return job_engine(job, type, &engine, err) && ceiling_source(job, type, config, err) &&
           engine->test(&params, &result->answer, err);
}

/* Where the slot is the order says: the policy may lead elsewhere by now. */
static bool slot_drop(Job *job, JobResult *result, Err *err)
{
    const Engine *engine;
    const json_t *config = json_object_get(job->params, "config");
    Text type = json_text_or(job->source, "type", TEXT(""));
    EngineHost host = job_host(job, no_issue);
    EngineParams params = {.config = config, .request = job->params, .host = &host, .lanes = 1};
    if (!job_engine(job, type, &engine, err) || !ceiling_source(job, type, config, err))
        return false;
    return engine->let_go != NULL
               ? engine->let_go(&params, &result->answer, err)
               : err_set(err, ERR_USAGE, "probe.unknown",
                         "a source of type %.*s keeps nothing on its server", TEXT_ARG(type));
}

/* --- restore_plan --------------------------------------------------------------------------- */

/* Measured, or not told: what restores took before, and whether that is soon enough. */
static void tell_time(json_t *plan, const Job *job)
{
    const json_t *estimate = json_object_get(job->order, "estimate");
    uint64_t seconds = json_u64_or(estimate, "seconds", 0);
    uint64_t rto = json_u64_or(estimate, "rto_seconds", 0);
    if (!json_is_object(estimate))
        return;
    json_object_set(plan, "takes_seconds", json_object_get(estimate, "seconds"));
    json_object_set(plan, "takes_basis", json_object_get(estimate, "basis"));
    json_object_set(plan, "takes_samples", json_object_get(estimate, "samples"));
    json_object_set(plan, "takes_measured_at", json_object_get(estimate, "at"));
    if (rto == 0)
        return;
    json_object_set_new(plan, "rto_seconds", json_integer((json_int_t)rto));
    if (seconds > rto)
        json_object_set_new(plan, "warning",
                            json_string("it takes longer than the policy's rto allows"));
}

static void tell_backup(json_t *plan, const Job *job, const Opened *opened, bool whole)
{
    char id[BACKUP_ID_TEXT], when[CLOCK_TEXT];
    const RepoBackup *backup = reader_backup(opened->reader);
    uuid_backup_text(&opened->row.backup, id);
    clock_rfc3339(opened->row.consistent_ns, when);
    json_object_set_new(plan, "backup", json_string(id));
    json_object_set_new(plan, "source", json_string(opened->row.source));
    json_object_set_new(plan, "type", json_string(opened->row.source_type));
    json_object_set_new(plan, "consistent_at", json_string(when));
    json_object_set_new(plan, "issues", json_integer((json_int_t)backup->issues));
    opened_tell(opened, plan);
    safety_tell(job, plan);
    if (json_object_get(job->params, "safety") != NULL)
        json_object_set_new(plan, "first", json_string(SAFETY_FIRST));
    if (whole) {
        json_object_set_new(plan, "entries", json_integer((json_int_t)backup->entries));
        json_object_set_new(plan, "bytes", json_integer((json_int_t)backup->bytes));
    }
    if (whole)
        tell_time(plan, job);
    uint64_t room = json_u64_or(plan, "free_bytes", UINT64_MAX);
    if (whole && room < backup->bytes)
        json_object_set_new(plan, "warning",
                            json_string("there is less room than the backup needs"));
}

/* "devices, setuid": what was asked for of files, as one line. */
static void tell_with(json_t *plan, const json_t *request)
{
    scoped(buf_free) Buf given = {0};
    json_t *options = json_object_get(request, "options"), *one;
    const char *word;
    json_object_foreach(options, word, one)
        buf_printf(&given, "%s%s", given.len == 0 ? "" : ", ", word);
    if (given.len > 0)
        json_object_set_new(plan, "given", json_string(buf_cstr(&given)));
}

static bool restore_plan(Job *job, JobResult *result, Err *err)
{
    Opened opened;
    OpenedSelect select;
    const Engine *engine;
    json_t *request = NULL;
    EngineHost host = job_host(job, no_issue);
    if (restore_file_asked(job))
        return restore_file_plan(job, result, err);
    if (!opened_select(&select, job->params, err))
        return false;
    bool whole = opened_selects_all(&select);
    bool to_an_instant;
    opened_select_free(&select);
    if (!restore_log_check(job, &to_an_instant, err) || !opened_open(&opened, job, err))
        return false;
    Text type = text_of(opened.row.source_type);
    bool fine = restore_request(job, opened.reader, &request, err) &&
                job_engine(job, type, &engine, err) && ceiling_target(job, type, request, err);
    EngineParams params = {.config = json_object_get(job->source, "config"),
                           .request = request,
                           .host = &host,
                           .lanes = 1};
    fine = fine && engine->plan(&params, &result->answer, err);
    if (fine)
        tell_backup(result->answer, job, &opened, whole);
    if (fine)
        tell_with(result->answer, request);
    if (fine && to_an_instant)
        restore_log_tell(job, result->answer);
    json_decref(request);
    opened_close(&opened);
    return fine;
}

/* --- store_test ----------------------------------------------------------------------------- */

typedef struct Checks {
    json_t *list;
    bool ok;
} Checks;

static bool check(Checks *checks, const char *name, bool ok, const char *text, const char *next)
{
    json_t *row = json_object();
    json_object_set_new(row, "name", json_string(name));
    json_object_set_new(row, "ok", json_boolean(ok));
    json_object_set_new(row, "text", json_string(text));
    json_object_set_new(row, "next", json_string(ok ? "" : next));
    json_array_append_new(checks->list, row);
    checks->ok = checks->ok && ok;
    return ok;
}

static bool is_s3(const Store *store)
{
    return strcmp(store->ops->scheme, "s3") == 0;
}

/* Whether the server itself refuses to write a name twice. */
static void tell_condition(Checks *checks, const Store *store)
{
    bool honoured = store_s3_condition(store) == STORE_S3_HONOURED;
    check(checks, "condition", true,
          honoured ? "the server refuses a second write of a name (If-None-Match)"
                   : "the server lacks If-None-Match: names are looked up before they are written; "
                     "let versioning or object locks protect the bucket",
          "");
}

/* By trying, on an object of its own. */
static void try_object(Checks *checks, Store *store)
{
    char id[UUID_TEXT], name[STORE_NAME_MOST];
    Uuid random = rand_uuid();
    const Slice content = {(const uint8_t *)"holdfast store test", 19};
    scoped(buf_free) Buf back = {0};
    bool found = false;
    Err err = {0};
    uuid_text(&random, id);
    snprintf(name, sizeof name, "test/%s", id);
    if (!check(checks, "write", store_put(store, name, content, &err),
               err.text[0] == '\0' ? "an object was written" : err.text,
               "give this worker's user the right to write there"))
        return;
    bool same = store_get(store, name, 1024, &found, &back, &err) && found &&
                slice_equal(buf_slice(&back), content);
    check(checks, "read", same, same ? "it was read back unchanged" : err.text,
          "check the disk behind the store");
    bool refused = !store_put(store, name, content, &err);
    check(checks, "write once", refused,
          refused ? "a second write of the same name was refused" : "a name can be written twice",
          "this store overwrites objects: it must not be used");
    store_let_remove(store);
    bool removed = store_remove(store, name, &err);
    check(checks, "delete", true,
          !removed       ? "this worker cannot delete"
          : is_s3(store) ? "delete possible: its access key may; a worker needs put, get and list"
                         : "delete possible: same user; such a store is not immutable",
          "");
    if (is_s3(store))
        tell_condition(checks, store);
}

static bool store_test(Job *job, JobResult *result, Err *err)
{
    const json_t *store_config = json_object_get(job->params, "store");
    Store *store = NULL;
    Err why = {0};
    Checks checks = {.list = json_array(), .ok = true};
    if (!json_is_object(store_config))
        store_config = json_object_get(job->repository, "store");
    if (!allow_store(job->settings->allow, json_text_or(store_config, "name", TEXT("")), err)) {
        json_decref(checks.list);
        return false;
    }
    if (check(&checks, "open", stores_open(&store, job->settings, store_config, TEXT(""), &why),
              why.text[0] == '\0' ? "the store is there" : why.text,
              "mount it, or correct where it is"))
        try_object(&checks, store);
    store_close(store);
    result->answer = json_object();
    json_object_set_new(result->answer, "ok", json_boolean(checks.ok));
    json_object_set_new(result->answer, "checks", checks.list);
    return true;
}

static const struct {
    const char *name;
    bool (*run)(Job *job, JobResult *result, Err *err);
} probes[] = {
    {"source_test", source_test},    {"backup_files", browse_run}, {"restore_plan", restore_plan},
    {"restore_grant", granting_run}, {"store_test", store_test},   {"slot_drop", slot_drop},
};

bool probe_run(Job *job, JobResult *result, Err *err)
{
    Text asked = json_text_or(job->params, "probe", TEXT(""));
    job_phase(job, "probe");
    for (size_t i = 0; i < sizeof probes / sizeof probes[0]; i++)
        if (text_equal(asked, text_of(probes[i].name)))
            return probes[i].run(job, result, err);
    return err_set(err, ERR_USAGE, "probe.unknown", "this worker knows no probe %.*s: upgrade it",
                   TEXT_ARG(asked));
}
