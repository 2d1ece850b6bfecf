/* SPDX-License-Identifier: Apache-2.0
 * What asks for deletion: jobs of the kind prune, for workers of the prune role. */
#include "scheduler/api/api.h"

#include "common/base/json.h"
#include "common/catalog/catalog_collect.h"

bool api_store_prune(ApiCall *call, Err *err)
{
    Text reason = json_text_or(call->body, "reason", TEXT(""));
    static const char *const flags[] = {"dry_run", "repack", "reencrypt", "orphans"};
    scoped(json_release) json_t *params = json_object();
    scoped(buf_free) Buf text = {0};
    JobCreated created;
    for (size_t i = 0; i < sizeof flags / sizeof *flags; i++) {
        json_t *flag = json_object_get(call->body, flags[i]);
        if (flag == NULL)
            continue;
        if (!json_is_boolean(flag))
            return err_set(err, ERR_USAGE, "request.flag", "%s is true or false", flags[i]);
        json_object_set(params, flags[i], flag);
    }
    if (reason.len > 0)
        json_object_set_new(params, "reason", json_stringn(reason.at, reason.len));
    json_canonical(params, &text);
    RepositoryRequest request = {.kind = TEXT("prune"),
                                 .trigger = TEXT("manual"),
                                 .store = call->parts[0],
                                 .key_set = json_text_or(call->body, "key_set", TEXT("")),
                                 .params = buf_text(&text),
                                 .actor = text_of(call->token.name),
                                 .idempotency_key = api_key(call)};
    return catalog_repository_job(call->catalog, &request, &created, err) &&
           api_job_asked(call, &created, "store.prune", call->parts[0], reason, err);
}

bool api_backup_delete(ApiCall *call, Err *err)
{
    Uuid id;
    JobCreated created;
    scoped(buf_free) Buf reason = {0};
    scoped(buf_free) Buf store = {0};
    api_query(call, "reason", &reason);
    api_query(call, "store", &store);
    return api_find_backup(call, call->parts[0], &id, err) &&
           catalog_backup_delete(call->catalog, &id, buf_text(&store), buf_text(&reason),
                                 text_of(call->token.name), api_key(call), &created, err) &&
           api_job_asked(call, &created, "backup.delete.ask", call->parts[0], buf_text(&reason),
                         err);
}
