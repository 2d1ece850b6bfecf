/* SPDX-License-Identifier: Apache-2.0
 * Restore grants: asked for here, made by a reader, never seen by the scheduler but sealed. */
#include "scheduler/api/api.h"

#include "common/base/json.h"
#include "common/base/units.h"
#include "common/catalog/catalog_grant.h"
#include "common/catalog/catalog_view.h"

bool api_grant_list(ApiCall *call, Err *err)
{
    return catalog_view(call->catalog, VIEW_GRANTS, NULL, &call->answer->body, err);
}

static bool take_time(ApiCall *call, uint64_t *seconds, Err *err)
{
    Text text = json_text_or(call->body, "expires", TEXT("1d"));
    int64_t ms;
    if (!units_duration_ms(text, &ms, err))
        return false;
    *seconds = (uint64_t)(ms / 1000);
    return true;
}

bool api_grant_create(ApiCall *call, Err *err)
{
    Text backup;
    Uuid grant;
    JobCreated created;
    GrantRequest request = {.actor = text_of(call->token.name),
                            .reason = json_text_or(call->body, "reason", TEXT("")),
                            .idempotency_key = api_key(call)};
    return json_take_text(call->body, "backup", &backup, err) &&
           json_take_text(call->body, "worker", &request.worker, err) &&
           take_time(call, &request.seconds, err) &&
           api_find_backup(call, backup, &request.backup, err) &&
           catalog_grant_ask(call->catalog, &request, &created, &grant, err) &&
           api_job_asked(call, &created, "restore.grant", backup, request.reason, err);
}

bool api_grant_withdraw(ApiCall *call, Err *err)
{
    Uuid grant;
    scoped(buf_free) Buf reason = {0};
    api_query(call, "reason", &reason);
    if (!uuid_parse(call->parts[0], &grant, err) ||
        !catalog_grant_withdraw(call->catalog, &grant, text_of(call->token.name), buf_text(&reason),
                                err))
        return false;
    buf_printf(&call->answer->body, "{\"state\":\"withdrawn\"}");
    return true;
}
