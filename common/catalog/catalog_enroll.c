/* SPDX-License-Identifier: Apache-2.0 */
#include "common/catalog/catalog_enroll.h"

#include "common/base/secret.h"
#include "common/catalog/statement.h"

static void names(Args *args, const Text *list, size_t count)
{
    args_array(args, ELEMENT_TEXT, count);
    for (size_t i = 0; i < count; i++)
        args_element_text(args, list[i]);
    args_array_end(args);
}

bool catalog_enroll(Catalog *admin, const EnrollParams *params, Err *err)
{
    scoped(buf_free) Buf verifier = {0};
    scoped(args_free) Args args = {0};
    if (params->password != NULL &&
        !statement_verifier(admin, params->name, secret_slice(params->password), &verifier, err))
        return false;
    args_text(&args, params->name);
    args_text(&args, params->host);
    names(&args, params->pools, params->pool_count);
    names(&args, params->sources, params->source_count);
    args_flag(&args, params->reader);
    args_text_or_null(&args, buf_text(&verifier));
    args_flag(&args, params->pruner);
    return statement_run(admin, &asset_sql_enroll_sql, &args, NULL, err);
}

bool catalog_enroll_drop(Catalog *admin, Text name, Err *err)
{
    scoped(args_free) Args args = {0};
    args_text(&args, name);
    return statement_run(admin, &asset_sql_enroll_drop_sql, &args, NULL, err);
}
