/* SPDX-License-Identifier: Apache-2.0 */
#include "scheduler/ctl/ctl.h"

bool ctl_backup_copy(Ctl *ctl, Err *err)
{
    const char *selector;
    json_t *backup = NULL;
    scoped(buf_free) Buf path = {0};
    if (ctl->args->to == NULL)
        return err_set(err, ERR_USAGE, "copy.where", "say which store:  --to STORE");
    if (!ctl_word(ctl, 0, &selector, err) || !ctl_select(ctl, selector, &backup, err))
        return false;
    if (ctl->args->dry_run) {
        ctl_would(ctl, "copy", backup, "id");
        json_decref(backup);
        return true;
    }
    json_t *body = json_pack("{s:s}", "store", ctl->args->to);
    if (ctl->args->pool != NULL)
        json_object_set_new(body, "pool", json_string(ctl->args->pool));
    if (ctl->args->plain)
        json_object_set_new(body, "layout", json_string("plain"));
    buf_printf(&path, "/backups/%s/copy", print_text_at(backup, "id"));
    bool done = ctl_start(ctl, "POST", buf_cstr(&path), body, err);
    json_decref(body);
    json_decref(backup);
    return done;
}
