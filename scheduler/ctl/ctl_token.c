/* SPDX-License-Identifier: Apache-2.0 */
#include "scheduler/ctl/ctl.h"

bool ctl_token_create(Ctl *ctl, Err *err)
{
    json_t *answer = NULL;
    json_t *body = json_object();
    json_object_set_new(body, "role",
                        json_string(ctl->args->role == NULL ? "viewer" : ctl->args->role));
    json_object_set_new(body, "expires",
                        json_string(ctl->args->expires == NULL ? "90d" : ctl->args->expires));
    if (ctl->args->name != NULL)
        json_object_set_new(body, "name", json_string(ctl->args->name));
    bool done = client_send(ctl->client, "POST", "/tokens", body, &answer, err);
    if (done && ctl_wants_json(ctl))
        print_json(stdout, answer);
    else if (done) {
        printf("%s\n", print_text_at(answer, "token"));
        fprintf(stderr, "This is shown once. Keep it in a file of mode 0600.\n");
    }
    json_decref(body);
    json_decref(answer);
    return done;
}

bool ctl_token_list(Ctl *ctl, Err *err)
{
    static const PrintColumn columns[] = {
        {"TOKEN", "id", AS_TEXT},           {"NAME", "name", AS_TEXT},
        {"ROLE", "role", AS_TEXT},          {"CREATED", "created_at", AS_WHEN},
        {"EXPIRES", "expires_at", AS_WHEN}, {"LAST USED", "used_at", AS_AGO},
        {"STATE", "state", AS_TEXT},
    };
    json_t *items = NULL;
    bool done = client_list(ctl->client, "/tokens", 0, &items, err);
    if (done)
        ctl_list(ctl, items, columns, sizeof columns / sizeof *columns, "id");
    json_decref(items);
    return done;
}

bool ctl_token_revoke(Ctl *ctl, Err *err)
{
    const char *id;
    json_t *answer = NULL;
    scoped(buf_free) Buf path = {0};
    if (!ctl_word(ctl, 0, &id, err))
        return false;
    buf_printf(&path, "/tokens/");
    http_escape(&path, text_of(id));
    ctl_query(&path, "reason", ctl->args->reason);
    bool done = client_send(ctl->client, "DELETE", buf_cstr(&path), NULL, &answer, err);
    if (done && ctl_wants_json(ctl))
        print_json(stdout, answer);
    else if (done) {
        print_safe(stdout, id);
        printf(" is revoked\n");
    }
    json_decref(answer);
    return done;
}
