/* SPDX-License-Identifier: Apache-2.0 */
#include "common/catalog/catalog_grant.h"

#include "common/catalog/statement.h"

#include <stdio.h>

bool catalog_grant_ask(Catalog *c, const GrantRequest *request, JobCreated *job, Uuid *grant,
                       Err *err)
{
    scoped(args_free) Args args = {0};
    scoped(rows_free) Rows rows = {0};
    args_uuid(&args, &request->backup);
    args_text(&args, request->worker);
    args_i64(&args, (int64_t)request->seconds);
    args_text(&args, request->actor);
    args_text(&args, request->reason);
    args_text_or_null(&args, request->idempotency_key);
    if (!statement_row(c, &asset_sql_grant_ask_sql, &args, &rows, err))
        return false;
    job->job = rows_u64(&rows, 0, 0);
    job->pool = rows_u32(&rows, 0, 1);
    job->again = rows_flag(&rows, 0, 2);
    rows_uuid(&rows, 0, 3, grant);
    return true;
}

bool catalog_grant_withdraw(Catalog *c, const Uuid *grant, Text actor, Text reason, Err *err)
{
    scoped(args_free) Args args = {0};
    args_uuid(&args, grant);
    args_text(&args, actor);
    args_text(&args, reason);
    return statement_run(c, &asset_sql_grant_withdraw_sql, &args, NULL, err);
}

bool catalog_grant_wanted(Catalog *c, const Fence *fence, GrantWanted *out, Err *err)
{
    scoped(args_free) Args args = {0};
    scoped(rows_free) Rows rows = {0};
    statement_fence(&args, fence);
    if (!statement_row(c, &asset_sql_grant_wanted_sql, &args, &rows, err))
        return false;
    *out = (GrantWanted){.until_s = rows_i64(&rows, 0, 3)};
    rows_uuid(&rows, 0, 0, &out->id);
    rows_copy(&rows, 0, 1, out->worker, sizeof out->worker);
    buf_add_text(&out->certificate, rows_text(&rows, 0, 2));
    return true;
}

bool catalog_grant_put(Catalog *c, const Fence *fence, unsigned n, Slice bytes, bool last, Err *err)
{
    scoped(args_free) Args args = {0};
    statement_fence(&args, fence);
    args_i32(&args, (int32_t)n);
    args_bytes(&args, bytes.at, bytes.len);
    args_flag(&args, last);
    return statement_run(c, &asset_sql_grant_put_sql, &args, NULL, err);
}

static bool refused(Text cause, Err *err)
{
    static const struct {
        const char *cause, *text;
    } reasons[] = {
        {"grant.not_yours", "the grant is for another worker"},
        {"grant.other", "the grant is of another backup"},
        {"grant.withdrawn", "the grant was withdrawn"},
        {"grant.expired", "the grant's time is over"},
        {"grant.not_made", "no reader has made the grant yet"},
        {"grant.used", "another restore has used the grant: it is for one"},
        {"grant.unknown", "there is no such grant"},
    };
    for (size_t i = 0; i < sizeof reasons / sizeof *reasons; i++)
        if (text_equal(cause, text_of(reasons[i].cause)))
            return err_set(err, ERR_DENIED, reasons[i].cause,
                           "%s: ask for one with `holdfast grant create`", reasons[i].text);
    return err_set(err, ERR_DENIED, "grant.refused", "the grant was refused");
}

bool catalog_grant_take(Catalog *c, const Fence *fence, Buf *out, Err *err)
{
    scoped(args_free) Args args = {0};
    scoped(rows_free) Rows rows = {0};
    statement_fence(&args, fence);
    if (!statement_run(c, &asset_sql_grant_take_sql, &args, &rows, err))
        return false;
    for (size_t i = 0; i < rows_count(&rows); i++) {
        if (!rows_null(&rows, i, 0))
            return refused(rows_text(&rows, i, 0), err);
        buf_add_slice(out, rows_bytes(&rows, i, 2));
    }
    return true;
}
