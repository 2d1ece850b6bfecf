/* SPDX-License-Identifier: Apache-2.0 */
#include "scheduler/ctl/ctl.h"
#include "scheduler/ctl/follow.h"

#include <stdlib.h>

static const int64_t TEST_MS = 60000;

static const PrintColumn list_columns[] = {
    {"SOURCE", "name", AS_TEXT},
    {"TYPE", "type", AS_TEXT},
    {"POLICY", "policy", AS_TEXT},
    {"STATE", "state", AS_TEXT},
    {"LAST GOOD", "last_good_at", AS_AGO},
    {"SIZE", "last_bytes", AS_BYTES},
    {"NEXT", "next_at", AS_WHEN},
    {"OWNER", "owner", AS_TEXT | AS_WIDE},
    {"POOL", "pool", AS_TEXT | AS_WIDE},
    {"STORE", "store", AS_TEXT | AS_WIDE},
    {"BACKUP", "last_backup", AS_TEXT | AS_WIDE},
};

static const PrintColumn card_columns[] = {
    {"source", "name", AS_TEXT},        {"type", "type", AS_TEXT},
    {"policy", "policy", AS_TEXT},      {"owner", "owner", AS_TEXT},
    {"state", "state", AS_TEXT},        {"last good", "last_good_at", AS_WHEN},
    {"backup", "last_backup", AS_TEXT}, {"size", "last_bytes", AS_BYTES},
    {"next", "next_at", AS_WHEN},       {"schedules", "schedules", AS_TEXT},
    {"settings", "config", AS_TEXT},
};

static const PrintColumn decision_columns[] = {
    {"AT", "at", AS_WHEN},        {"WHAT", "decision", AS_TEXT}, {"REASON", "reason", AS_TEXT},
    {"TIMES", "count", AS_COUNT}, {"SLOT", "slot", AS_WHEN},     {"JOB", "job", AS_TEXT},
    {"TEXT", "text", AS_TEXT},
};

#define COUNT(array) (sizeof(array) / sizeof *(array))

static bool source_path(const Ctl *ctl, const char *suffix, Buf *path, Err *err)
{
    const char *name;
    if (!ctl_word(ctl, 0, &name, err))
        return false;
    buf_printf(path, "/sources/");
    http_escape(path, text_of(name));
    buf_printf(path, "%s", suffix);
    return true;
}

bool ctl_source_list(Ctl *ctl, Err *err)
{
    json_t *items = NULL;
    scoped(buf_free) Buf path = {0};
    buf_printf(&path, "/sources");
    ctl_query(&path, "type", ctl->args->type);
    ctl_query(&path, "state", ctl->args->state);
    bool done = client_list(ctl->client, buf_cstr(&path), 0, &items, err);
    if (done)
        ctl_list(ctl, items, list_columns, COUNT(list_columns), "name");
    json_decref(items);
    return done;
}

bool ctl_source_show(Ctl *ctl, Err *err)
{
    scoped(buf_free) Buf path = {0};
    json_t *source = NULL;
    if (!source_path(ctl, "", &path, err) ||
        !client_get(ctl->client, buf_cstr(&path), &source, err))
        return false;
    ctl_card(ctl, source, card_columns, COUNT(card_columns));
    json_decref(source);
    return true;
}

static void print_checks(const Ctl *ctl, const json_t *job)
{
    size_t i;
    json_t *check;
    if (ctl_wants_json(ctl)) {
        print_json(stdout, job);
        return;
    }
    json_array_foreach(print_at(job, "answer.checks"), i, check)
    {
        const char *next = print_text_at(check, "next");
        printf("%s ", json_is_true(print_at(check, "ok")) ? "✓" : "✗");
        print_safe(stdout, print_text_at(check, "name"));
        printf(": ");
        print_safe(stdout, print_text_at(check, "text"));
        printf("%s", next[0] == 0 ? "" : " → ");
        print_safe(stdout, next);
        printf("\n");
    }
}

bool ctl_source_test(Ctl *ctl, Err *err)
{
    scoped(buf_free) Buf path = {0};
    return source_path(ctl, "/test", &path, err) &&
           ctl_try(ctl, buf_cstr(&path), NULL, "source.test", err);
}

bool ctl_try(Ctl *ctl, const char *path, json_t *body, const char *cause, Err *err)
{
    json_t *job = NULL;
    json_t *ended = NULL;
    bool done = client_send(ctl->client, "POST", path, body, &job, err) &&
                follow_quietly(ctl->client, print_text_at(job, "id"), TEST_MS, &ended, err);
    if (done) {
        print_checks(ctl, ended);
        if (strcmp(print_text_at(ended, "state"), "completed") != 0)
            done = err_set(err, ERR_SOURCE, cause, "%s", print_text_at(ended, "error.text"));
        else if (!json_is_true(print_at(ended, "answer.ok")))
            ctl->exit_code = 1;
    }
    json_decref(body);
    json_decref(job);
    json_decref(ended);
    return done;
}

bool ctl_why(Ctl *ctl, Err *err)
{
    scoped(buf_free) Buf path = {0};
    json_t *items = NULL;
    size_t limit;
    if (!source_path(ctl, "/decisions", &path, err) || !ctl_limit(ctl, 20, &limit, err))
        return false;
    ctl_query(&path, "since", ctl->args->since);
    ctl_query(&path, "until", ctl->args->words.count > 1 ? ctl->args->words.at[1] : NULL);
    bool done = client_list(ctl->client, buf_cstr(&path), limit, &items, err);
    if (done)
        ctl_list(ctl, items, decision_columns, COUNT(decision_columns), "text");
    json_decref(items);
    return done;
}
