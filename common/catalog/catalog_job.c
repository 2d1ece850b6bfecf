/* SPDX-License-Identifier: Apache-2.0 */
#include "common/catalog/catalog_job.h"

#include "common/catalog/statement.h"

#include <stdio.h>

static bool status_of(Text name, ClaimStatus *out)
{
    static const struct {
        const char *name;
        ClaimStatus status;
    } names[] = {
        {"granted", CLAIM_GRANTED}, {"stale", CLAIM_STALE}, {"busy", CLAIM_BUSY},
        {"full", CLAIM_FULL},       {"unfit", CLAIM_UNFIT}, {"paused", CLAIM_PAUSED},
    };
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (text_equal(name, text_of(names[i].name))) {
            *out = names[i].status;
            return true;
        }
    }
    return false;
}

static bool read_claim(const Rows *rows, size_t i, ClaimAnswer *out, Err *err)
{
    if (!status_of(rows_text(rows, i, 1), &out->status))
        return err_set(err, ERR_BUG, "job.claim_status", "an unknown answer to a claim");
    out->attempt = rows_u64(rows, i, 2);
    buf_clear(&out->order);
    buf_add_text(&out->order, rows_text(rows, i, 3));
    rows_copy(rows, i, 4, out->missing, sizeof out->missing);
    return true;
}

static void claim_args(Args *args, const Uuid *instance, const ClaimRow *rows, size_t count)
{
    args_uuid(args, instance);
    args_array(args, ELEMENT_I64, count);
    for (size_t i = 0; i < count; i++)
        args_element_i64(args, (int64_t)rows[i].job);
    args_array_end(args);
    args_array(args, ELEMENT_I64, count);
    for (size_t i = 0; i < count; i++)
        args_element_i64(args, (int64_t)rows[i].dispatch);
    args_array_end(args);
    args_array(args, ELEMENT_UUID, count);
    for (size_t i = 0; i < count; i++)
        args_element_bytes(args, rows[i].claim.bytes, sizeof rows[i].claim.bytes);
    args_array_end(args);
}

bool catalog_job_claims(Catalog *c, const Uuid *instance, const ClaimRow *rows, size_t count,
                        ClaimAnswer *answers, Err *err)
{
    scoped(args_free) Args args = {0};
    scoped(rows_free) Rows found = {0};
    for (size_t i = 0; i < count; i++)
        answers[i] = (ClaimAnswer){0};
    claim_args(&args, instance, rows, count);
    if (!statement_run(c, &asset_sql_job_claim_sql, &args, &found, err))
        return false;
    bool good = rows_count(&found) == count;
    for (size_t i = 0; good && i < count; i++) {
        size_t n = (size_t)rows_i64(&found, i, 0);
        good = n > 0 && n <= count && read_claim(&found, i, &answers[n - 1], err);
    }
    if (!good && err->code == ERR_NONE)
        err_set(err, ERR_BUG, "job.claims", "%zu claims have other answers than asked", count);
    for (size_t i = 0; !good && i < count; i++)
        catalog_job_claim_free(&answers[i]);
    return good;
}

bool catalog_job_claim(Catalog *c, const Uuid *instance, uint64_t job, uint64_t dispatch,
                       const Uuid *claim, ClaimAnswer *out, Err *err)
{
    ClaimRow row = {.job = job, .dispatch = dispatch, .claim = *claim};
    return catalog_job_claims(c, instance, &row, 1, out, err);
}

void catalog_job_claim_free(ClaimAnswer *answer)
{
    buf_free(&answer->order);
    *answer = (ClaimAnswer){0};
}

/* A fence that does not hold is a result of these calls, not a failure. */
static bool fenced_is_a_result(bool done, bool *fenced, Err *err)
{
    *fenced = !done && err->code == ERR_FENCED;
    if (*fenced)
        *err = (Err){0};
    return done || *fenced;
}

bool catalog_job_finish(Catalog *c, const Fence *fence, const JobVerdictRow *verdict,
                        char state[16], bool *fenced, Err *err)
{
    static const char *const outcomes[] = {"",       "completed", "partial",
                                           "failed", "released",  "cancelled"};
    scoped(args_free) Args args = {0};
    scoped(rows_free) Rows rows = {0};
    statement_fence(&args, fence);
    args_text(&args, text_of(outcomes[verdict->outcome]));
    args_text_or_null(&args, verdict->code);
    args_text_or_null(&args, verdict->cause);
    args_text_or_null(&args, verdict->text);
    args_flag(&args, verdict->retry);
    if (!statement_row(c, &asset_sql_job_finish_sql, &args, &rows, err))
        return false;
    rows_copy(&rows, 0, 0, state, 16);
    *fenced = strcmp(state, "fenced") == 0;
    return true;
}

bool catalog_job_log(Catalog *c, const Fence *fence, const JobLogLine *lines, size_t count,
                     bool *fenced, Err *err)
{
    scoped(args_free) Args args = {0};
    statement_fence(&args, fence);
    args_array(&args, ELEMENT_TIME, count);
    for (size_t i = 0; i < count; i++)
        args_element_time(&args, lines[i].at_ns);
    args_array_end(&args);
    args_array(&args, ELEMENT_I32, count);
    for (size_t i = 0; i < count; i++)
        args_element_i32(&args, lines[i].level);
    args_array_end(&args);
    args_array(&args, ELEMENT_TEXT, count);
    for (size_t i = 0; i < count; i++)
        args_element_text(&args, lines[i].event);
    args_array_end(&args);
    args_array(&args, ELEMENT_TEXT, count);
    for (size_t i = 0; i < count; i++)
        args_element_text(&args, lines[i].text);
    args_array_end(&args);
    return fenced_is_a_result(statement_run(c, &asset_sql_job_log_add_sql, &args, NULL, err),
                              fenced, err);
}

bool catalog_job_answer(Catalog *c, const Fence *fence, Text json, bool *fenced, Err *err)
{
    scoped(args_free) Args args = {0};
    statement_fence(&args, fence);
    args_text(&args, json);
    return fenced_is_a_result(statement_run(c, &asset_sql_job_answer_set_sql, &args, NULL, err),
                              fenced, err);
}

bool catalog_job_held(Catalog *c, const Fence *fence, bool *held, bool *cancel, Err *err)
{
    scoped(args_free) Args args = {0};
    scoped(rows_free) Rows rows = {0};
    bool fenced;
    statement_fence(&args, fence);
    bool done = statement_row(c, &asset_sql_job_held_sql, &args, &rows, err);
    *cancel = done && rows_flag(&rows, 0, 0);
    *held = done;
    return fenced_is_a_result(done, &fenced, err);
}

bool catalog_job_passed(Catalog *c, uint64_t job, uint64_t attempt, bool *passed, Err *err)
{
    scoped(args_free) Args args = {0};
    scoped(rows_free) Rows rows = {0};
    args_i64(&args, (int64_t)job);
    args_i64(&args, (int64_t)attempt);
    bool done = statement_row(c, &asset_sql_job_passed_sql, &args, &rows, err);
    *passed = done && rows_flag(&rows, 0, 0);
    return done;
}

bool catalog_restore_answered(Catalog *c, const Fence *fence, Buf *answer, Err *err)
{
    scoped(args_free) Args args = {0};
    scoped(rows_free) Rows rows = {0};
    statement_fence(&args, fence);
    if (!statement_row(c, &asset_sql_restore_answered_sql, &args, &rows, err))
        return false;
    buf_add_text(answer, rows_text(&rows, 0, 0));
    return true;
}

static bool created(Catalog *c, const Asset *sql, const Args *args, JobCreated *out, Err *err)
{
    scoped(rows_free) Rows rows = {0};
    if (!statement_row(c, sql, args, &rows, err))
        return false;
    out->job = rows_u64(&rows, 0, 0);
    out->pool = rows_u32(&rows, 0, 1);
    out->again = rows_flag(&rows, 0, 2);
    return true;
}

bool catalog_job_create(Catalog *c, const JobRequest *request, JobCreated *out, Err *err)
{
    scoped(args_free) Args args = {0};
    args_text(&args, request->kind);
    args_text(&args, request->trigger.len == 0 ? TEXT("manual") : request->trigger);
    args_text_or_null(&args, request->source);
    args_text_or_null(&args, request->pool);
    args_text(&args, request->params.len == 0 ? TEXT("{}") : request->params);
    args_text(&args, request->actor);
    args_text_or_null(&args, request->idempotency_key);
    args_i32(&args, request->priority);
    args_time(&args, request->start_by_ns);
    return created(c, &asset_sql_job_create_sql, &args, out, err);
}

bool catalog_job_cancel(Catalog *c, uint64_t job, Text actor, Text reason, char state[16], Err *err)
{
    scoped(args_free) Args args = {0};
    scoped(rows_free) Rows rows = {0};
    args_i64(&args, (int64_t)job);
    args_text(&args, actor);
    args_text_or_null(&args, reason);
    if (!statement_row(c, &asset_sql_job_cancel_sql, &args, &rows, err))
        return false;
    rows_copy(&rows, 0, 0, state, 16);
    return true;
}

bool catalog_job_retry(Catalog *c, uint64_t job, Text actor, JobCreated *out, Err *err)
{
    scoped(args_free) Args args = {0};
    args_i64(&args, (int64_t)job);
    args_text(&args, actor);
    return created(c, &asset_sql_job_retry_sql, &args, out, err);
}
