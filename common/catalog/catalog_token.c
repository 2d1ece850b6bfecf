/* SPDX-License-Identifier: Apache-2.0 */
#include "common/catalog/catalog_token.h"

#include "common/catalog/statement.h"

bool catalog_token_create(Catalog *c, Text name, Text role, const Sha256 *hash, int64_t expires_ns,
                          Text actor, uint64_t *id, Err *err)
{
    scoped(args_free) Args args = {0};
    scoped(rows_free) Rows rows = {0};
    args_text(&args, name);
    args_text(&args, role);
    args_bytes(&args, hash->bytes, sizeof hash->bytes);
    args_time(&args, expires_ns);
    args_text(&args, actor);
    if (!statement_row(c, &asset_sql_token_create_sql, &args, &rows, err)) {
        bool constraint = strcmp(err->cause, "catalogue.constraint") == 0;
        if (constraint && strstr(err->text, "token_role_check") != NULL)
            return err_set(err, ERR_USAGE, "token.role",
                           "%.*s is no role: viewer, operator, restorer, auditor, admin",
                           TEXT_ARG(role));
        if (constraint)
            return err_set(err, ERR_CONFLICT, "token.exists",
                           "a living token is called %.*s: revoke it or choose another name",
                           TEXT_ARG(name));
        return false;
    }
    *id = rows_u64(&rows, 0, 0);
    return true;
}

bool catalog_token_find(Catalog *c, const Sha256 *hash, TokenRow *out, bool *found, Err *err)
{
    scoped(args_free) Args args = {0};
    scoped(rows_free) Rows rows = {0};
    *out = (TokenRow){0};
    args_bytes(&args, hash->bytes, sizeof hash->bytes);
    if (!statement_run(c, &asset_sql_token_find_sql, &args, &rows, err))
        return false;
    *found = rows_count(&rows) > 0;
    if (*found) {
        out->id = rows_u64(&rows, 0, 0);
        rows_copy(&rows, 0, 1, out->name, sizeof out->name);
        rows_copy(&rows, 0, 2, out->role, sizeof out->role);
        out->expires_ns = rows_time(&rows, 0, 3);
    }
    return true;
}

bool catalog_token_revoke(Catalog *c, Text name, Text actor, Text reason, Err *err)
{
    scoped(args_free) Args args = {0};
    scoped(rows_free) Rows rows = {0};
    args_text(&args, name);
    args_text(&args, actor);
    args_text_or_null(&args, reason);
    if (!statement_run(c, &asset_sql_token_revoke_sql, &args, &rows, err))
        return false;
    if (rows_count(&rows) == 0)
        return err_set(err, ERR_MISSING, "token.unknown",
                       "no living token is called %.*s: "
                       "holdfast token list",
                       TEXT_ARG(name));
    return true;
}

bool catalog_token_any(Catalog *c, Text role, bool *any, Err *err)
{
    scoped(args_free) Args args = {0};
    scoped(rows_free) Rows rows = {0};
    args_text(&args, role);
    if (!statement_row(c, &asset_sql_token_any_sql, &args, &rows, err))
        return false;
    *any = rows_flag(&rows, 0, 0);
    return true;
}

bool catalog_idempotency_begin(Catalog *c, Text actor, Text key, const Sha256 *request,
                               IdempotencyAnswer *answer, int *status, Buf *body, Err *err)
{
    scoped(args_free) Args args = {0};
    scoped(rows_free) Rows rows = {0};
    args_text(&args, actor);
    args_text(&args, key);
    args_bytes(&args, request->bytes, sizeof request->bytes);
    if (!statement_row(c, &asset_sql_idempotency_begin_sql, &args, &rows, err))
        return false;
    *status = (int)rows_i64(&rows, 0, 2);
    if (rows_flag(&rows, 0, 0))
        *answer = IDEMPOTENCY_NEW;
    else if (!rows_flag(&rows, 0, 1))
        *answer = IDEMPOTENCY_OTHER;
    else
        *answer = *status == 0 ? IDEMPOTENCY_RUNNING : IDEMPOTENCY_DONE;
    if (*answer == IDEMPOTENCY_DONE)
        buf_add_text(body, rows_text(&rows, 0, 3));
    return true;
}

bool catalog_idempotency_done(Catalog *c, Text actor, Text key, int status, Text body, Err *err)
{
    scoped(args_free) Args args = {0};
    args_text(&args, actor);
    args_text(&args, key);
    if (status == 0)
        return statement_run(c, &asset_sql_idempotency_forget_sql, &args, NULL, err);
    args_i32(&args, status);
    args_text(&args, body);
    return statement_run(c, &asset_sql_idempotency_done_sql, &args, NULL, err);
}
