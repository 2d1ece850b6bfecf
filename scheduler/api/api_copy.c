/* SPDX-License-Identifier: Apache-2.0
 * What asks for copies of backups in other stores. */
#include "scheduler/api/api.h"

#include "common/base/json.h"
#include "common/catalog/catalog_copy.h"

bool api_backup_copy(ApiCall *call, Err *err)
{
    JobCreated created;
    CopyRequest request = {.pool = json_text_or(call->body, "pool", TEXT("")),
                           .actor = text_of(call->token.name),
                           .idempotency_key = api_key(call)};
    Text layout = json_text_or(call->body, "layout", TEXT("repository"));
    request.plain = text_equal(layout, TEXT("plain"));
    if (!request.plain && !text_equal(layout, TEXT("repository")))
        return err_set(err, ERR_USAGE, "copy.layout", "layout is repository or plain");
    return json_take_text(call->body, "store", &request.store, err) &&
           api_find_backup(call, call->parts[0], &request.backup, err) &&
           catalog_copy_ask(call->catalog, &request, &created, err) &&
           api_job_asked(call, &created, "backup.copy", call->parts[0], TEXT(""), err);
}
