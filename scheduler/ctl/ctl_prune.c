/* SPDX-License-Identifier: Apache-2.0 */
#include "common/base/http.h"
#include "scheduler/ctl/ctl.h"

/* --dry-run is a job too: what would go is known to the catalogue, and told by its answer. */
static bool prune(Ctl *ctl, bool reencrypt, Err *err)
{
    const char *store;
    scoped(buf_free) Buf path = {0};
    if (!ctl_word(ctl, 0, &store, err))
        return false;
    json_t *body = json_object();
    if (ctl->args->dry_run)
        json_object_set_new(body, "dry_run", json_true());
    if (reencrypt)
        json_object_set_new(body, "reencrypt", json_true());
    if (ctl->args->orphans)
        json_object_set_new(body, "orphans", json_true());
    if (ctl->args->repack)
        json_object_set_new(body, "repack", json_true());
    if (ctl->args->reason != NULL)
        json_object_set_new(body, "reason", json_string(ctl->args->reason));
    if (ctl->args->key_set != NULL)
        json_object_set_new(body, "key_set", json_string(ctl->args->key_set));
    buf_printf(&path, "/stores/");
    http_escape(&path, text_of(store));
    buf_printf(&path, "/prune");
    bool done = ctl_start(ctl, "POST", buf_cstr(&path), body, err);
    json_decref(body);
    return done;
}

bool ctl_prune(Ctl *ctl, Err *err)
{
    return prune(ctl, false, err);
}

bool ctl_key_reencrypt(Ctl *ctl, Err *err)
{
    return prune(ctl, true, err);
}

bool ctl_backup_delete(Ctl *ctl, Err *err)
{
    const char *selector;
    json_t *backup = NULL;
    scoped(buf_free) Buf path = {0};
    if (!ctl_word(ctl, 0, &selector, err) || !ctl_select(ctl, selector, &backup, err))
        return false;
    bool done = true;
    if (ctl->args->dry_run)
        ctl_would(ctl, "delete", backup, "id");
    else {
        buf_printf(&path, "/backups/%s", print_text_at(backup, "id"));
        ctl_query(&path, "reason", ctl->args->reason);
        ctl_query(&path, "store", ctl->args->store);
        done = ctl_start(ctl, "DELETE", buf_cstr(&path), NULL, err);
    }
    json_decref(backup);
    return done;
}
