/* SPDX-License-Identifier: Apache-2.0 */
#include "scheduler/ctl/ctl.h"
#include "scheduler/ctl/follow.h"

#include <stdlib.h>
#include <time.h>

static const PrintColumn list_columns[] = {
    {"JOB", "id", AS_TEXT},
    {"KIND", "kind", AS_TEXT},
    {"SOURCE", "source", AS_TEXT},
    {"STATE", "state", AS_TEXT},
    {"WORKER", "worker", AS_TEXT},
    {"TRY", "attempt", AS_COUNT},
    {"CREATED", "created_at", AS_AGO},
    {"TOOK", "seconds", AS_SECONDS},
    {"WHY", "reason", AS_TEXT},
};

static const PrintColumn card_columns[] = {
    {"job", "id", AS_TEXT},
    {"kind", "kind", AS_TEXT},
    {"source", "source", AS_TEXT},
    {"state", "state", AS_TEXT},
    {"why", "reason", AS_TEXT},
    {"trigger", "trigger", AS_TEXT},
    {"asked by", "asked_by", AS_TEXT},
    {"slot", "slot", AS_WHEN},
    {"pool", "pool", AS_TEXT},
    {"worker", "worker", AS_TEXT},
    {"attempt", "attempt", AS_COUNT},
    {"failures", "failures", AS_COUNT},
    {"losses", "losses", AS_COUNT},
    {"deferrals", "deferrals", AS_COUNT},
    {"created", "created_at", AS_WHEN},
    {"started", "started_at", AS_WHEN},
    {"finished", "finished_at", AS_WHEN},
    {"took", "seconds", AS_SECONDS},
    {"phase", "progress.phase", AS_TEXT},
    {"done", "progress.bytes_done", AS_BYTES},
    {"of", "progress.bytes_total", AS_BYTES},
    {"backup", "backup", AS_TEXT},
    {"read", "result.bytes", AS_BYTES},
    {"stored", "result.stored_bytes", AS_BYTES},
    {"error", "error.text", AS_TEXT},
    {"cause", "error.cause", AS_TEXT},
    {"report", "answer", AS_TEXT},
};

static const PrintColumn log_columns[] = {
    {"AT", "at", AS_WHEN},       {"TRY", "attempt", AS_COUNT}, {"LEVEL", "level", AS_TEXT},
    {"EVENT", "event", AS_TEXT}, {"TEXT", "text", AS_TEXT},
};

#define COUNT(array) (sizeof(array) / sizeof *(array))

static size_t limit_of(const Ctl *ctl, size_t usual)
{
    return ctl->args->limit == NULL ? usual : (size_t)strtoul(ctl->args->limit, NULL, 10);
}

bool ctl_job_list(Ctl *ctl, Err *err)
{
    scoped(buf_free) Buf path = {0};
    json_t *items = NULL;
    buf_printf(&path, "/jobs");
    ctl_query(&path, "source", ctl->args->source);
    ctl_query(&path, "state", ctl->args->state);
    ctl_query(&path, "kind", ctl->args->kind);
    bool done = client_list(ctl->client, buf_cstr(&path), limit_of(ctl, 50), &items, err);
    if (done)
        ctl_list(ctl, items, list_columns, COUNT(list_columns), "id");
    json_decref(items);
    return done;
}

/* "/jobs/<id><suffix>" of the first word. */
static bool job_path(const Ctl *ctl, const char *suffix, Buf *path, Err *err)
{
    const char *id;
    if (!ctl_word(ctl, 0, &id, err))
        return false;
    buf_printf(path, "/jobs/");
    http_escape(path, text_of(id));
    buf_printf(path, "%s", suffix);
    return true;
}

bool ctl_job_show(Ctl *ctl, Err *err)
{
    scoped(buf_free) Buf path = {0};
    json_t *job = NULL;
    if (!job_path(ctl, "", &path, err) || !client_get(ctl->client, buf_cstr(&path), &job, err))
        return false;
    ctl_card(ctl, job, card_columns, COUNT(card_columns));
    json_decref(job);
    return true;
}

/* Prints the lines after *seen and moves it on. */
static bool logs_after(Ctl *ctl, const char *path, size_t *seen, Err *err)
{
    json_t *items = NULL;
    if (!client_list(ctl->client, path, 0, &items, err)) {
        json_decref(items);
        return false;
    }
    size_t count = json_array_size(items);
    for (size_t i = 0; i < *seen && json_array_size(items) != 0; i++)
        json_array_remove(items, 0);
    if (json_array_size(items) != 0)
        ctl_list(ctl, items, log_columns, COUNT(log_columns), "text");
    *seen = count;
    json_decref(items);
    return true;
}

bool ctl_job_logs(Ctl *ctl, Err *err)
{
    scoped(buf_free) Buf logs = {0};
    scoped(buf_free) Buf show = {0};
    size_t seen = 0;
    if (!job_path(ctl, "/logs", &logs, err) || !job_path(ctl, "", &show, err))
        return false;
    for (bool ended = false; !ended;) {
        json_t *job = NULL;
        if (!client_get(ctl->client, buf_cstr(&show), &job, err))
            return false;
        ended = !ctl->args->follow || follow_terminal(print_text_at(job, "state"));
        json_decref(job);
        if (!logs_after(ctl, buf_cstr(&logs), &seen, err))
            return false;
        struct timespec pause = {0, ended ? 0 : 500000000};
        nanosleep(&pause, NULL);
    }
    return true;
}

bool ctl_job_follow(Ctl *ctl, Err *err)
{
    const char *id;
    if (!ctl_word(ctl, 0, &id, err))
        return false;
    json_t *jobs = json_array();
    for (size_t i = 0; i < ctl->args->words.count; i++)
        json_array_append_new(jobs, json_string(ctl->args->words.at[i]));
    bool done = follow_jobs(ctl->client, ctl->args, jobs, &ctl->exit_code, err);
    json_decref(jobs);
    return done;
}

static bool act(Ctl *ctl, const char *suffix, const char *said, Err *err)
{
    scoped(buf_free) Buf path = {0};
    json_t *answer = NULL;
    json_t *body = json_object();
    if (ctl->args->reason != NULL)
        json_object_set_new(body, "reason", json_string(ctl->args->reason));
    bool done = job_path(ctl, suffix, &path, err) &&
                client_send(ctl->client, "POST", buf_cstr(&path), body, &answer, err);
    if (done && ctl_wants_json(ctl))
        print_json(stdout, answer);
    else if (done)
        printf("%s %s: %s\n", ctl->args->words.at[0], said, print_text_at(answer, "state"));
    json_decref(body);
    json_decref(answer);
    return done;
}

bool ctl_job_cancel(Ctl *ctl, Err *err)
{
    return act(ctl, "/cancel", "will stop", err);
}

bool ctl_job_retry(Ctl *ctl, Err *err)
{
    return act(ctl, "/retry", "will be tried again", err);
}
