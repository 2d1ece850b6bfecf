/* SPDX-License-Identifier: Apache-2.0 */
#include "common/catalog/catalog_policy.h"

#include "common/catalog/statement.h"

bool catalog_policy_apply(Catalog *c, Text document, Text expected, Text actor, PolicyApplied *out,
                          Err *err)
{
    PolicyBy by = {.actor = actor, .kind = TEXT("system"), .via = TEXT("scheduler")};
    return catalog_policy_apply_by(c, document, expected, &by, out, err);
}

bool catalog_policy_apply_by(Catalog *c, Text document, Text expected, const PolicyBy *by,
                             PolicyApplied *out, Err *err)
{
    scoped(args_free) Args args = {0};
    scoped(rows_free) Rows rows = {0};
    args_text(&args, document);
    args_text_or_null(&args, expected);
    args_text(&args, by->actor);
    args_text(&args, by->kind);
    args_text(&args, by->via);
    args_text_or_null(&args, by->client_ip);
    args_text_or_null(&args, by->reason);
    if (!statement_row(c, &asset_sql_policy_apply_sql, &args, &rows, err))
        return false;
    *out = (PolicyApplied){
        .version = rows_u64(&rows, 0, 0),
        .changed = rows_flag(&rows, 0, 1),
        .added = rows_u32(&rows, 0, 2),
        .updated = rows_u32(&rows, 0, 3),
        .retired = rows_u32(&rows, 0, 4),
        .cancelled = rows_u32(&rows, 0, 5),
        .initial = rows_u32(&rows, 0, 6),
    };
    rows_copy(&rows, 0, 7, out->digest, sizeof out->digest);
    return true;
}

bool catalog_policy_load(Catalog *c, Buf *document, char digest[SHA256_TEXT], bool *found, Err *err)
{
    scoped(rows_free) Rows rows = {0};
    if (!statement_run(c, &asset_sql_policy_load_sql, NULL, &rows, err))
        return false;
    *found = rows_count(&rows) > 0;
    digest[0] = '\0';
    if (!*found)
        return true;
    buf_add_text(document, rows_text(&rows, 0, 0));
    rows_copy(&rows, 0, 1, digest, SHA256_TEXT);
    return true;
}

bool catalog_policy_version(Catalog *c, uint64_t number, PolicyVersion *out, Err *err)
{
    scoped(args_free) Args args = {0};
    scoped(rows_free) Rows rows = {0};
    *out = (PolicyVersion){0};
    if (number == 0)
        args_i64_null(&args);
    else
        args_i64(&args, (int64_t)number);
    if (!statement_run(c, &asset_sql_policy_version_sql, &args, &rows, err))
        return false;
    if (rows_count(&rows) == 0)
        return true;
    out->number = rows_u64(&rows, 0, 0);
    rows_copy(&rows, 0, 1, out->digest, sizeof out->digest);
    buf_add_text(&out->document, rows_text(&rows, 0, 2));
    out->applied_ns = rows_time(&rows, 0, 3);
    buf_add_text(&out->actor, rows_text(&rows, 0, 4));
    buf_add_text(&out->via, rows_text(&rows, 0, 5));
    buf_add_text(&out->reason, rows_text(&rows, 0, 6));
    return true;
}

void catalog_policy_version_free(PolicyVersion *version)
{
    buf_free(&version->document);
    buf_free(&version->actor);
    buf_free(&version->via);
    buf_free(&version->reason);
    *version = (PolicyVersion){0};
}

static bool pause_until(Catalog *c, Text source, bool pause, int64_t until_ns, Text reason,
                        Text actor, Err *err)
{
    scoped(args_free) Args args = {0};
    /* For ever is a time that PostgreSQL can hold and nobody reaches: year 2200. */
    int64_t for_ever_ns = INT64_C(7258118400) * 1000000000;
    args_text(&args, source);
    args_time(&args, !pause ? 0 : until_ns == 0 ? for_ever_ns : until_ns);
    args_text_or_null(&args, reason);
    args_text(&args, actor);
    return statement_run(c, &asset_sql_source_pause_sql, &args, NULL, err);
}

bool catalog_source_pause(Catalog *c, Text source, int64_t until_ns, Text reason, Text actor,
                          Err *err)
{
    return pause_until(c, source, true, until_ns, reason, actor, err);
}

bool catalog_source_resume(Catalog *c, Text source, Text reason, Text actor, Err *err)
{
    return pause_until(c, source, false, 0, reason, actor, err);
}

bool catalog_setting_set(Catalog *c, Text name, double value, Err *err)
{
    scoped(args_free) Args args = {0};
    scoped(rows_free) Rows rows = {0};
    args_text(&args, name);
    args_double(&args, value);
    if (!statement_run(c, &asset_sql_setting_set_sql, &args, &rows, err))
        return false;
    if (rows_count(&rows) == 0)
        return err_set(err, ERR_MISSING, "setting.unknown", "no setting is called %.*s",
                       TEXT_ARG(name));
    return true;
}

bool catalog_setting_get(Catalog *c, Text name, double *value, Err *err)
{
    scoped(args_free) Args args = {0};
    scoped(rows_free) Rows rows = {0};
    args_text(&args, name);
    if (!statement_row(c, &asset_sql_setting_get_sql, &args, &rows, err))
        return false;
    *value = rows_double(&rows, 0, 0);
    return true;
}
