/* SPDX-License-Identifier: Apache-2.0 */
#include "scheduler/ctl/ctl.h"

static const PrintColumn columns[] = {
    {"WORKER", "name", AS_TEXT},  {"HOST", "host", AS_TEXT},   {"STATE", "state", AS_TEXT},
    {"POOLS", "pools", AS_TEXT},  {"ROLES", "roles", AS_TEXT}, {"RUNNING", "running", AS_COUNT},
    {"SLOTS", "slots", AS_COUNT}, {"SEEN", "seen_at", AS_AGO}, {"VERSION", "version", AS_TEXT},
};

bool ctl_worker_list(Ctl *ctl, Err *err)
{
    json_t *items = NULL;
    bool done = client_list(ctl->client, "/workers", 0, &items, err);
    if (done)
        ctl_list(ctl, items, columns, sizeof columns / sizeof *columns, "name");
    json_decref(items);
    return done;
}

bool ctl_worker_show(Ctl *ctl, Err *err)
{
    static const PrintColumn card[] = {
        {"worker", "name", AS_TEXT},      {"host", "host", AS_TEXT},
        {"state", "state", AS_TEXT},      {"pools", "pools", AS_TEXT},
        {"roles", "roles", AS_TEXT},      {"slots", "slots", AS_COUNT},
        {"running", "running", AS_COUNT}, {"seen", "seen_at", AS_WHEN},
        {"version", "version", AS_TEXT},  {"facts", "facts", AS_TEXT},
    };
    const char *name;
    json_t *worker = NULL;
    scoped(buf_free) Buf path = {0};
    if (!ctl_word(ctl, 0, &name, err))
        return false;
    buf_printf(&path, "/workers/");
    http_escape(&path, text_of(name));
    if (!client_get(ctl->client, buf_cstr(&path), &worker, err))
        return false;
    ctl_card(ctl, worker, card, sizeof card / sizeof *card);
    json_decref(worker);
    return true;
}
