/* SPDX-License-Identifier: Apache-2.0 */
#include "common/base/http.h"
#include "scheduler/ctl/ctl.h"
#include "scheduler/ctl/follow.h"

static const int64_t MAKE_MS = 3600000; /* every chunk of the backup is asked for */

static bool ask(Ctl *ctl, const json_t *backup, json_t **made, Err *err)
{
    json_t *job = NULL;
    json_t *body = json_object();
    json_object_set(body, "backup", json_object_get(backup, "id"));
    json_object_set_new(body, "worker", json_string(ctl->args->worker));
    if (ctl->args->expires != NULL)
        json_object_set_new(body, "expires", json_string(ctl->args->expires));
    if (ctl->args->reason != NULL)
        json_object_set_new(body, "reason", json_string(ctl->args->reason));
    bool done = client_send(ctl->client, "POST", "/grants", body, &job, err) &&
                follow_quietly(ctl->client, print_text_at(job, "id"), MAKE_MS, made, err);
    json_decref(body);
    json_decref(job);
    if (!done || strcmp(print_text_at(*made, "state"), "completed") == 0)
        return done;
    return err_set(err, ERR_CONFLICT,
                   print_text_at(*made, "error.cause")[0] == 0
                       ? "grant.not_made"
                       : print_text_at(*made, "error.cause"),
                   "%s", print_text_at(*made, "error.text"));
}

bool ctl_grant_create(Ctl *ctl, Err *err)
{
    const char *selector;
    json_t *backup = NULL;
    json_t *made = NULL;
    if (ctl->args->worker == NULL)
        return err_set(err, ERR_USAGE, "grant.worker", "say who may restore it:  --worker NAME");
    if (!ctl_word(ctl, 0, &selector, err) || !ctl_select(ctl, selector, &backup, err))
        return false;
    bool done = ask(ctl, backup, &made, err);
    if (done && ctl_wants_json(ctl))
        print_json(stdout, json_object_get(made, "answer"));
    else if (done) {
        printf("%s\n", print_text_at(made, "answer.grant"));
        fprintf(stderr, "Next:  holdfast restore %s --grant %s --to ...\n",
                print_text_at(backup, "id"), print_text_at(made, "answer.grant"));
    }
    json_decref(backup);
    json_decref(made);
    return done;
}

bool ctl_grant_list(Ctl *ctl, Err *err)
{
    static const PrintColumn columns[] = {
        {"GRANT", "id", AS_TEXT},   {"SOURCE", "source", AS_TEXT}, {"BACKUP", "backup", AS_TEXT},
        {"FOR", "worker", AS_TEXT}, {"STATE", "state", AS_TEXT},   {"UNTIL", "until", AS_WHEN},
        {"BY", "actor", AS_TEXT},   {"REASON", "reason", AS_TEXT},
    };
    json_t *items = NULL;
    bool done = client_list(ctl->client, "/grants", 0, &items, err);
    if (done)
        ctl_list(ctl, items, columns, sizeof columns / sizeof *columns, "id");
    json_decref(items);
    return done;
}

bool ctl_grant_withdraw(Ctl *ctl, Err *err)
{
    const char *id;
    json_t *answer = NULL;
    scoped(buf_free) Buf path = {0};
    if (!ctl_word(ctl, 0, &id, err))
        return false;
    buf_printf(&path, "/grants/");
    http_escape(&path, text_of(id));
    ctl_query(&path, "reason", ctl->args->reason);
    bool done = client_send(ctl->client, "DELETE", buf_cstr(&path), NULL, &answer, err);
    if (done && ctl_wants_json(ctl))
        print_json(stdout, answer);
    else if (done) {
        print_safe(stdout, id);
        printf(" is withdrawn\n");
    }
    json_decref(answer);
    return done;
}
