/* SPDX-License-Identifier: Apache-2.0 */
#include "scheduler/ctl/ctl.h"
#include "scheduler/ctl/follow.h"

#include <time.h>

static void print_attention(const json_t *status)
{
    size_t i;
    json_t *item;
    const json_t *items = json_object_get(status, "attention");
    if (json_array_size(items) != 0)
        printf("NEEDS ATTENTION\n");
    json_array_foreach(items, i, item)
    {
        const json_t *next = json_array_get(json_object_get(item, "next"), 0);
        printf(" ✗ %-20s %s  ", print_text_at(item, "source"), print_text_at(item, "state"));
        print_safe(stdout, print_text_at(item, "cause.message"));
        printf("\n");
        if (json_is_string(next))
            printf("   next: %s\n", json_string_value(next));
    }
}

static void print_running(const json_t *status)
{
    size_t i;
    json_t *job;
    const json_t *jobs = json_object_get(status, "running");
    if (json_array_size(jobs) != 0)
        printf("RUNNING\n");
    json_array_foreach(jobs, i, job)
    {
        scoped(buf_free) Buf line = {0};
        int64_t done = print_number_at(job, "progress.bytes_done");
        int64_t total = print_number_at(job, "progress.bytes_total");
        buf_printf(&line, " ▶ %-20s %s %s  ", print_text_at(job, "source"),
                   print_text_at(job, "kind"), print_text_at(job, "progress.phase"));
        print_bytes(&line, done);
        if (total > 0 && done <= total)
            buf_printf(&line, "  %d %%", (int)(done * 100 / total));
        buf_printf(&line, "  %s  (%s)", print_text_at(job, "worker"), print_text_at(job, "id"));
        printf("%s\n", buf_cstr(&line));
    }
}

static void print_status(const json_t *status)
{
    scoped(buf_free) Buf oldest = {0};
    print_span(&oldest, print_number_at(status, "queue.oldest_seconds"));
    printf("%s  %s   %d need attention, %d met\n", print_text_at(status, "fleet"),
           json_is_true(json_object_get(status, "ok")) ? "OK" : "NOT OK",
           (int)json_array_size(json_object_get(status, "attention")),
           (int)print_number_at(status, "sources.met"));
    printf("workers %d/%d   queue %d waiting, oldest %s   running %d\n",
           (int)print_number_at(status, "workers.alive"),
           (int)print_number_at(status, "workers.known"),
           (int)print_number_at(status, "queue.waiting"), buf_cstr(&oldest),
           (int)json_array_size(json_object_get(status, "running")));
    print_attention(status);
    print_running(status);
}

bool ctl_status(Ctl *ctl, Err *err)
{
    for (;;) {
        json_t *status = NULL;
        if (!client_get(ctl->client, "/status", &status, err))
            return false;
        if (ctl->args->watch && !ctl_wants_json(ctl))
            printf("\033[H\033[2J");
        if (ctl_wants_json(ctl))
            print_json(stdout, status);
        else
            print_status(status);
        fflush(stdout);
        if (ctl->args->check && !json_is_true(json_object_get(status, "ok")))
            ctl->exit_code = 10;
        json_decref(status);
        if (!ctl->args->watch)
            return true;
        struct timespec pause = {2, 0};
        nanosleep(&pause, NULL);
    }
}
