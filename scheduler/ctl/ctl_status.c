/* SPDX-License-Identifier: Apache-2.0 */
#include "scheduler/ctl/ctl.h"

/* What fits a screen; the rest is a list of its own. */
enum { FRESH_MOST = 40, ATTENTION_MOST = 20 };

/* "rpo_breached" as RPO BREACHED. */
static void add_loud(Buf *out, const char *word)
{
    for (; *word != 0; word++)
        buf_add_byte(
            out, *word == '_' ? ' ' : (uint8_t)(*word >= 'a' && *word <= 'z' ? *word - 32 : *word));
}

static void put_line(Buf *line)
{
    print_safe(stdout, buf_cstr(line));
    putchar('\n');
    buf_clear(line);
}

static void print_attention(const json_t *status)
{
    size_t i;
    json_t *item;
    scoped(buf_free) Buf line = {0};
    const json_t *items = json_object_get(status, "attention");
    if (json_array_size(items) != 0)
        printf("NEEDS ATTENTION\n");
    json_array_foreach(items, i, item)
    {
        if (i == ATTENTION_MOST) {
            printf(" … and %zu more:  holdfast status --json\n", json_array_size(items) - i);
            return;
        }
        const char *source = print_text_at(item, "source");
        const json_t *next = json_array_get(json_object_get(item, "next"), 0);
        buf_printf(&line, " ✗ %-16s ", source[0] != 0 ? source : print_text_at(item, "part"));
        add_loud(&line, print_text_at(item, "state"));
        if (print_at(item, "rpo_seconds") != NULL) {
            buf_printf(&line, "  ");
            print_span(&line, print_number_at(item, "exposure_seconds"));
            buf_printf(&line, " exposed, rpo ");
            print_span(&line, print_number_at(item, "rpo_seconds"));
        }
        if (print_number_at(item, "consecutive_failures") > 0)
            buf_printf(&line, " · %d failures", (int)print_number_at(item, "consecutive_failures"));
        buf_printf(&line, " · %s", print_text_at(item, "cause.message"));
        put_line(&line);
        buf_printf(&line, "%20snext: %s", "", json_is_string(next) ? json_string_value(next) : "");
        if (json_is_string(next))
            put_line(&line);
        buf_clear(&line);
    }
}

static void print_running(const json_t *status)
{
    size_t i;
    json_t *job;
    scoped(buf_free) Buf line = {0};
    const json_t *jobs = json_object_get(status, "running");
    if (json_array_size(jobs) != 0)
        printf("RUNNING\n");
    json_array_foreach(jobs, i, job)
    {
        int64_t done = print_number_at(job, "progress.bytes_done");
        int64_t total = print_number_at(job, "progress.bytes_total");
        buf_printf(&line, " ▶ %-16s %s %s  ", print_text_at(job, "source"),
                   print_text_at(job, "kind"), print_text_at(job, "progress.phase"));
        print_bytes(&line, done);
        if (total > 0 && done <= total)
            buf_printf(&line, "  %d %%", (int)(done * 100 / total));
        buf_printf(&line, "  %s  %s  (%s, %s)", print_text_at(job, "worker"),
                   print_text_at(job, "id"), print_text_at(job, "trigger"),
                   print_text_at(job, "asked_by"));
        put_line(&line);
    }
}

static void print_fresh(const Ctl *ctl, const json_t *status)
{
    static const PrintColumn columns[] = {
        {"SOURCE", "name", AS_TEXT},           {"STATE", "state", AS_TEXT},
        {"LAST GOOD", "last_good_at", AS_AGO}, {"RPO", "rpo_seconds", AS_SECONDS},
        {"SIZE", "last_bytes", AS_BYTES},      {"NEXT", "next_at", AS_WHEN},
        {"BACKUP", "last_backup", AS_TEXT},
    };
    const json_t *all = json_object_get(status, "freshness");
    size_t known = (size_t)print_number_at(status, "sources.known");
    json_t *shown = json_array();
    for (size_t i = 0; i < json_array_size(all) && i < FRESH_MOST; i++)
        json_array_append(shown, json_array_get(all, i));
    if (json_array_size(shown) != 0)
        print_table(stdout, shown, columns, sizeof columns / sizeof *columns, ctl->args->utc);
    else
        printf("No sources yet. Add one to a fleet file:  holdfast policy apply fleet.yaml\n");
    if (known > json_array_size(shown))
        printf("… and %zu more:  holdfast source list\n", known - json_array_size(shown));
    json_decref(shown);
}

static void print_status(const Ctl *ctl, const json_t *status)
{
    scoped(buf_free) Buf line = {0};
    const char *leader = print_text_at(status, "scheduler.leader");
    buf_printf(
        &line, "%s  %s   %d need attention · %d of %d met   ", print_text_at(status, "fleet"),
        json_is_true(json_object_get(status, "ok")) ? "OK" : "NOT OK",
        (int)json_array_size(json_object_get(status, "attention")),
        (int)print_number_at(status, "sources.met"), (int)print_number_at(status, "sources.known"));
    print_when(&line, print_text_at(status, "now"), ctl->args->utc);
    put_line(&line);
    if (leader[0] == 0)
        buf_printf(&line, "scheduler: none leads");
    else
        buf_printf(&line, "scheduler ok (%s leads)", leader);
    buf_printf(&line, "   workers %d/%d   queue %d waiting, oldest ",
               (int)print_number_at(status, "workers.alive"),
               (int)print_number_at(status, "workers.known"),
               (int)print_number_at(status, "queue.waiting"));
    print_span(&line, print_number_at(status, "queue.oldest_seconds"));
    buf_printf(&line, "   running %d", (int)json_array_size(json_object_get(status, "running")));
    put_line(&line);
    print_attention(status);
    print_running(status);
    print_fresh(ctl, status);
}

/* One line and 0, 1, 2, 3 as monitoring plugins answer. */
static int nagios(const json_t *status)
{
    size_t i;
    json_t *item;
    int code = 0;
    scoped(buf_free) Buf line = {0};
    json_array_foreach(json_object_get(status, "attention"), i, item)
    {
        bool warning = strcmp(print_text_at(item, "state"), "failing") == 0;
        code = warning && code < 1 ? 1 : warning ? code : 2;
    }
    buf_printf(&line, "HOLDFAST %s - %d of %d sources met, %zu need attention",
               code == 0   ? "OK"
               : code == 1 ? "WARNING"
                           : "CRITICAL",
               (int)print_number_at(status, "sources.met"),
               (int)print_number_at(status, "sources.known"),
               json_array_size(json_object_get(status, "attention")));
    const json_t *first = json_array_get(json_object_get(status, "attention"), 0);
    if (first != NULL)
        buf_printf(&line, ": %s%s %s", print_text_at(first, "source"), print_text_at(first, "part"),
                   print_text_at(first, "cause.message"));
    put_line(&line);
    return code;
}

static int nagios_unknown(const Err *err)
{
    scoped(buf_free) Buf line = {0};
    buf_printf(&line, "HOLDFAST UNKNOWN - %s", err->text);
    put_line(&line);
    return 3;
}

static void show(Ctl *ctl, const json_t *status)
{
    if (ctl->args->nagios)
        ctl->exit_code = nagios(status);
    else if (ctl_wants_json(ctl) && ctl->args->watch)
        print_json_line(stdout, status);
    else if (ctl_wants_json(ctl))
        print_json(stdout, status);
    else
        print_status(ctl, status);
    if (ctl->args->check && !json_is_true(json_object_get(status, "ok")))
        ctl->exit_code = 10;
}

bool ctl_status(Ctl *ctl, Err *err)
{
    json_t *status = NULL;
    if (!client_get(ctl->client, "/status", &status, err)) {
        if (!ctl->args->nagios)
            return false;
        ctl->exit_code = nagios_unknown(err);
        return true;
    }
    show(ctl, status);
    json_decref(status);
    return true;
}
