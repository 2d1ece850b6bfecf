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
    {"ASKED BY", "asked_by", AS_TEXT},
    {"WORKER", "worker", AS_TEXT},
    {"TRY", "attempt", AS_COUNT},
    {"CREATED", "created_at", AS_AGO},
    {"TOOK", "seconds", AS_SECONDS},
    {"STORED", "result.stored_bytes", AS_BYTES},
    {"TRIGGER", "trigger", AS_TEXT | AS_WIDE},
    {"SLOT", "slot", AS_WHEN | AS_WIDE},
    {"POOL", "pool", AS_TEXT | AS_WIDE},
    {"BACKUP", "backup", AS_TEXT | AS_WIDE},
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

/* An attempt's last lines come a moment after its end; so many half seconds they are waited for. */
enum { LAST_WORDS = 10 };

#define COUNT(array) (sizeof(array) / sizeof *(array))

bool ctl_job_list(Ctl *ctl, Err *err)
{
    scoped(buf_free) Buf path = {0};
    json_t *items = NULL;
    size_t limit;
    buf_printf(&path, "/jobs");
    ctl_query(&path, "source", ctl->args->source);
    ctl_query(&path, "state", ctl->args->state);
    ctl_query(&path, "kind", ctl->args->kind);
    ctl_query(&path, "since", ctl->args->since);
    ctl_query(&path, "until", ctl->args->until);
    bool done = ctl_limit(ctl, 50, &limit, err) &&
                client_list(ctl->client, buf_cstr(&path), limit, &items, err);
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

/* Its attempts, and each decision about it: why it ran, waited or did not run. */
static void print_story(const Ctl *ctl, const json_t *job)
{
    size_t i;
    json_t *row;
    scoped(buf_free) Buf line = {0};
    json_array_foreach(json_object_get(job, "attempts"), i, row)
    {
        const char *text = print_text_at(row, "text");
        const char *outcome = print_text_at(row, "outcome");
        buf_printf(&line, "attempt %-6d ", (int)print_number_at(row, "attempt"));
        print_when(&line, print_text_at(row, "started_at"), ctl->args->utc);
        buf_printf(&line, "  %s on %s%s%s", outcome[0] == 0 ? "running" : outcome,
                   print_text_at(row, "worker"), text[0] == 0 ? "" : ": ", text);
        print_safe(stdout, buf_cstr(&line));
        putchar('\n');
        buf_clear(&line);
    }
    json_array_foreach(json_object_get(job, "decisions"), i, row)
    {
        int count = (int)print_number_at(row, "count");
        buf_printf(&line, "decided        ");
        print_when(&line, print_text_at(row, "last_at"), ctl->args->utc);
        buf_printf(&line, "  %s: %s", print_text_at(row, "decision"), print_text_at(row, "text"));
        if (count > 1)
            buf_printf(&line, " (%d times)", count);
        print_safe(stdout, buf_cstr(&line));
        putchar('\n');
        buf_clear(&line);
    }
}

bool ctl_job_show(Ctl *ctl, Err *err)
{
    scoped(buf_free) Buf path = {0};
    json_t *job = NULL;
    if (!job_path(ctl, "", &path, err) || !client_get(ctl->client, buf_cstr(&path), &job, err))
        return false;
    ctl_card(ctl, job, card_columns, COUNT(card_columns));
    if (!ctl_wants_json(ctl))
        print_story(ctl, job);
    json_decref(job);
    return true;
}

/* Lines past `after` as they come: a table without its head again, or one JSON object a line. */
static bool more_logs(Ctl *ctl, const Buf *path, Buf *after, bool first, bool *last, Err *err)
{
    scoped(buf_free) Buf from = {0};
    json_t *items = NULL;
    size_t i;
    json_t *item;
    buf_printf(&from, "%.*s", TEXT_ARG(buf_text(path)));
    ctl_query(&from, "after", after->len == 0 ? NULL : buf_cstr(after));
    if (!client_list(ctl->client, buf_cstr(&from), 0, &items, err)) {
        json_decref(items);
        return false;
    }
    if (ctl_wants_json(ctl) && !ctl->args->follow)
        print_json(stdout, items);
    else if (ctl_wants_json(ctl))
        json_array_foreach(items, i, item)
        {
            print_json_line(stdout, item);
        }
    else if (json_array_size(items) != 0 || (first && !ctl->args->follow))
        ctl_list(ctl, items, log_columns, COUNT(log_columns), "text");
    size_t count = json_array_size(items);
    if (count != 0) {
        const json_t *newest = json_array_get(items, count - 1);
        buf_clear(after);
        buf_printf(after, "%lld", (long long)print_number_at(newest, "seq"));
        *last = strcmp(print_text_at(newest, "event"), "job.ended") == 0;
    }
    fflush(stdout);
    json_decref(items);
    return true;
}

bool ctl_job_logs(Ctl *ctl, Err *err)
{
    scoped(buf_free) Buf logs = {0};
    scoped(buf_free) Buf show = {0};
    scoped(buf_free) Buf after = {0};
    if (!job_path(ctl, "/logs", &logs, err) || !job_path(ctl, "", &show, err))
        return false;
    bool ended = !ctl->args->follow;
    bool last = false;
    int patience = LAST_WORDS;
    for (bool first = true;; first = false) {
        /* The state is asked before the lines, so that the last ones are not missed. */
        json_t *job = NULL;
        if (!ended && !client_get(ctl->client, buf_cstr(&show), &job, err))
            return false;
        ended = ended || follow_terminal(print_text_at(job, "state"));
        json_decref(job);
        if (!more_logs(ctl, &logs, &after, first, &last, err))
            return false;
        if (!ctl->args->follow || (ended && (last || after.len == 0 || patience-- == 0)))
            return true;
        struct timespec pause = {0, 500000000};
        nanosleep(&pause, NULL);
    }
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
    if (ctl->args->dry_run) {
        bool known =
            job_path(ctl, "", &path, err) && client_get(ctl->client, buf_cstr(&path), &answer, err);
        if (known)
            ctl_would(ctl, suffix + 1, answer, "id");
        json_decref(answer);
        return known;
    }
    json_t *body = json_object();
    if (ctl->args->reason != NULL)
        json_object_set_new(body, "reason", json_string(ctl->args->reason));
    bool done = job_path(ctl, suffix, &path, err) &&
                client_send(ctl->client, "POST", buf_cstr(&path), body, &answer, err);
    if (done)
        ctl_outcome(ctl, answer, said);
    json_decref(body);
    json_decref(answer);
    return done;
}

bool ctl_job_cancel(Ctl *ctl, Err *err)
{
    return act(ctl, "/cancel", " will stop", err);
}

bool ctl_job_retry(Ctl *ctl, Err *err)
{
    return act(ctl, "/retry", " will be tried again", err);
}
