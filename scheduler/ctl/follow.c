/* SPDX-License-Identifier: Apache-2.0 */
#include "scheduler/ctl/follow.h"

#include "common/base/clock.h"
#include "common/base/mem.h"
#include "common/base/units.h"
#include "protocol/ids.h"
#include "scheduler/ctl/print.h"

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

enum {
    SAMPLES = 60,
    POLL_MS = 250,
    HEAR_MS = 1000,
    NAMED_MOST = 100,
    LOG_LINE_S = 30,
    STALLED_S = 60,
    ETA_AFTER_S = 10
};

static const int64_t SILENCE_NS = 60000000000; /* of a scheduler, before it is given up */

/* What is remembered of one job between two looks. */
typedef struct Watch {
    char id[JOB_ID_TEXT];
    char source[128];
    char phase[32];
    char state[16];
    int64_t seen_s[SAMPLES]; /* a ring of one sample a second */
    int64_t seen_bytes[SAMPLES];
    size_t samples;
    int64_t moved_s; /* when bytes last changed */
    int64_t printed_s;
    int64_t started_s;
    bool done;
} Watch;

static volatile sig_atomic_t interrupted;

static void on_interrupt(int number)
{
    (void)number;
    interrupted = 1;
}

bool follow_terminal(const char *state)
{
    static const char *const terminal[] = {"completed", "partial", "failed",
                                           "cancelled", "skipped", "missed"};
    for (size_t i = 0; i < sizeof terminal / sizeof *terminal; i++)
        if (strcmp(state, terminal[i]) == 0)
            return true;
    return false;
}

int follow_exit_code(const char *state)
{
    if (strcmp(state, "completed") == 0)
        return 0;
    if (strcmp(state, "partial") == 0)
        return 3;
    if (strcmp(state, "cancelled") == 0)
        return 130;
    if (strcmp(state, "skipped") == 0 || strcmp(state, "missed") == 0)
        return 6;
    return 1;
}

bool follow_timeout(const char *text, int64_t *timeout_ms, Err *err)
{
    *timeout_ms = INT64_MAX;
    return text == NULL || units_duration_ms(text_of(text), timeout_ms, err);
}

static int64_t now_s(void)
{
    return clock_mono_ns() / 1000000000;
}

static void sample(Watch *watch, int64_t bytes)
{
    int64_t now = now_s();
    size_t last = (watch->samples + SAMPLES - 1) % SAMPLES;
    if (watch->samples != 0 && watch->seen_s[last] == now) {
        watch->seen_bytes[last] = bytes;
        return;
    }
    if (watch->samples == 0 || watch->seen_bytes[last] != bytes)
        watch->moved_s = now;
    watch->seen_s[watch->samples % SAMPLES] = now;
    watch->seen_bytes[watch->samples % SAMPLES] = bytes;
    watch->samples++;
}

/* Bytes a second over the samples held, 0 when there is no telling yet. */
static int64_t rate_of(const Watch *watch)
{
    if (watch->samples < 2)
        return 0;
    size_t first = watch->samples > SAMPLES ? watch->samples % SAMPLES : 0;
    size_t last = (watch->samples - 1) % SAMPLES;
    int64_t span = watch->seen_s[last] - watch->seen_s[first];
    int64_t moved = watch->seen_bytes[last] - watch->seen_bytes[first];
    return span <= 0 || moved <= 0 ? 0 : moved / span; /* a new attempt counts from 0 again */
}

static void add_bar(Buf *out, int64_t done, int64_t total)
{
    enum { WIDTH = 24 };
    int64_t filled = total <= 0 ? 0 : done * WIDTH / total;
    if (filled > WIDTH)
        filled = WIDTH;
    buf_add_byte(out, '[');
    for (int64_t i = 0; i < WIDTH; i++)
        buf_add_byte(out, i < filled ? '#' : i == filled ? '>' : '-');
    buf_add_byte(out, ']');
}

/* The line's right half: percent, sizes, rate, ETA or the reason why there is none. */
static void add_numbers(Buf *out, const Watch *watch, const json_t *progress)
{
    int64_t done = print_number_at(progress, "bytes_done");
    int64_t total = print_number_at(progress, "bytes_total");
    bool guess = strcmp(print_text_at(progress, "total_basis"), "last_run") == 0;
    int64_t rate = rate_of(watch);
    int64_t elapsed = now_s() - watch->started_s;
    if (total > 0 && done <= total)
        buf_printf(out, " %3d %%", (int)(done * 100 / total));
    buf_printf(out, "  ");
    print_bytes(out, done);
    if (total > 0) {
        buf_printf(out, guess ? " of ~" : " of ");
        print_bytes(out, total);
    }
    buf_printf(out, "  ");
    print_bytes(out, rate);
    buf_printf(out, "/s  ");
    print_span(out, elapsed);
    if (now_s() - watch->moved_s >= STALLED_S) {
        buf_printf(out, "  stalled ");
        print_span(out, now_s() - watch->moved_s);
    } else if (total > 0 && done > total)
        buf_printf(out, "  longer than last time");
    else if (total > 0 && rate > 0 && elapsed >= ETA_AFTER_S) {
        buf_printf(out, "  ETA ");
        print_span(out, (total - done) / rate);
    }
    int64_t errors = print_number_at(progress, "errors");
    if (errors != 0)
        buf_printf(out, "  errors %" PRId64, errors);
}

static void draw(const Watch *watch, const json_t *job, bool terminal)
{
    const json_t *progress = print_at(job, "progress");
    scoped(buf_free) Buf line = {0};
    if (terminal)
        buf_printf(&line, "\r\033[K");
    else {
        char now[CLOCK_TEXT];
        clock_rfc3339(clock_wall_ns(), now);
        buf_printf(&line, "%s ", now);
    }
    print_add_safe(&line, watch->source[0] == 0 ? watch->id : watch->source);
    buf_printf(&line, "  ");
    if (strcmp(watch->state, "running") != 0 || progress == NULL) {
        const char *reason = print_text_at(job, "reason");
        buf_printf(&line, "%s%s", watch->state, reason[0] == 0 ? "" : ": ");
        print_add_safe(&line, reason);
    } else {
        print_add_safe(&line, print_text_at(progress, "phase"));
        buf_printf(&line, "  ");
        if (terminal)
            add_bar(&line, print_number_at(progress, "bytes_done"),
                    print_number_at(progress, "bytes_total"));
        add_numbers(&line, watch, progress);
    }
    if (!terminal)
        buf_add_byte(&line, '\n');
    fwrite(line.at, 1, line.len, stderr);
    fflush(stderr);
}

static void emit_json(const json_t *job)
{
    json_t *event = json_object();
    json_object_set_new(event, "event", json_string("progress"));
    json_object_set(event, "job", json_object_get(job, "id"));
    json_object_set(event, "state", json_object_get(job, "state"));
    json_object_update_missing(event, json_object_get(job, "progress"));
    print_json_line(stdout, event);
    json_decref(event);
}

static void finish_line(const Watch *watch, const json_t *job, bool terminal)
{
    scoped(buf_free) Buf line = {0};
    const char *text = print_text_at(job, "error.text");
    bool good = strcmp(watch->state, "completed") == 0;
    buf_printf(&line, "%s%s ", terminal ? "\r\033[K" : "", good ? "✓" : "✗");
    print_add_safe(&line, watch->source);
    buf_printf(&line, "  %s %s", print_text_at(job, "kind"), watch->state);
    if (print_at(job, "seconds") != NULL) {
        buf_printf(&line, " in ");
        print_span(&line, print_number_at(job, "seconds"));
    }
    if (print_at(job, "result.bytes") != NULL) {
        buf_printf(&line, ", read ");
        print_bytes(&line, print_number_at(job, "result.bytes"));
        buf_printf(&line, ", stored ");
        print_bytes(&line, print_number_at(job, "result.stored_bytes"));
    }
    if (print_text_at(job, "backup")[0] != 0)
        buf_printf(&line, "  %s", print_text_at(job, "backup"));
    if (text[0] != 0) {
        buf_printf(&line, "\n    ");
        print_add_safe(&line, text);
    }
    if (!good)
        buf_printf(&line, "\n    log:  holdfast job logs %s", watch->id);
    fputs(buf_cstr(&line), stderr);
    fputc('\n', stderr);
}

/* One look at one job. */
static bool look(Client *client, const Args *args, Watch *watch, int *exit_code, Err *err)
{
    char path[64];
    json_t *job = NULL;
    bool terminal = isatty(STDERR_FILENO) == 1;
    bool json = args->output != NULL && strcmp(args->output, "json") == 0;
    snprintf(path, sizeof path, "/jobs/%s", watch->id);
    if (!client_get(client, path, &job, err))
        return false;
    const char *state = print_text_at(job, "state");
    const char *phase = print_text_at(job, "progress.phase");
    bool news = strcmp(state, watch->state) != 0 || strcmp(phase, watch->phase) != 0;
    snprintf(watch->state, sizeof watch->state, "%s", state);
    snprintf(watch->phase, sizeof watch->phase, "%s", phase);
    snprintf(watch->source, sizeof watch->source, "%s", print_text_at(job, "source"));
    sample(watch, print_number_at(job, "progress.bytes_done"));
    watch->done = follow_terminal(state);
    int64_t pause = json ? 1 : terminal ? 0 : LOG_LINE_S;
    if (watch->done) {
        int code = follow_exit_code(state);
        *exit_code = code > *exit_code ? code : *exit_code;
        if (json)
            print_json_line(stdout, job);
        else if (!args->quiet)
            finish_line(watch, job, terminal);
    } else if (!args->quiet && (news || now_s() - watch->printed_s >= pause)) {
        watch->printed_s = now_s();
        if (json)
            emit_json(job);
        else
            draw(watch, job, terminal);
    }
    json_decref(job);
    return true;
}

/* A scheduler that restarts is not the end of a job: unreachable is borne for a minute. */
static bool look_patiently(Client *client, const Args *args, Watch *watch, int *exit_code,
                           int64_t *silent_since_s, Err *err)
{
    if (look(client, args, watch, exit_code, err)) {
        *silent_since_s = 0;
        return true;
    }
    if (!err_retry(err->code))
        return false;
    if (*silent_since_s == 0)
        *silent_since_s = now_s();
    if (now_s() - *silent_since_s > 60)
        return false;
    *err = (Err){0};
    return true;
}

static void pause_ms(long ms)
{
    struct timespec pause = {ms / 1000, ms % 1000 * 1000000};
    nanosleep(&pause, NULL);
}

/* Asks to be told when one of them moves; very many are not named one by one. */
static bool listen_to(Client *client, const Watch *watches, size_t count, Err *err)
{
    scoped(buf_free) Buf path = {0};
    buf_printf(&path, "/events?event=job.state,job.progress,job.finished");
    for (size_t i = 0; count <= NAMED_MOST && i < count; i++) {
        buf_printf(&path, "%s", i == 0 ? "&job=" : ",");
        http_escape(&path, text_of(watches[i].id));
    }
    return client_listen(client, buf_cstr(&path), err);
}

/* Until one of them moves, or it is time to look all the same. */
static void wait_for_news(Client *client)
{
    bool news;
    bool deaf;
    client_hear(client, HEAR_MS, &news, &deaf);
    if (deaf)
        pause_ms(POLL_MS);
}

static bool watch_all(Client *client, const Args *args, Watch *watches, size_t count,
                      int *exit_code, Err *err)
{
    int64_t timeout_ms;
    int64_t began_ns = clock_mono_ns();
    int64_t silent_since_s = 0;
    if (!follow_timeout(args->timeout, &timeout_ms, err) || !listen_to(client, watches, count, err))
        return false;
    for (size_t open = count; open != 0;) {
        open = 0;
        for (size_t i = 0; i < count; i++) {
            if (!watches[i].done &&
                !look_patiently(client, args, &watches[i], exit_code, &silent_since_s, err))
                return false;
            open += !watches[i].done;
        }
        if (interrupted) {
            fprintf(stderr,
                    "\nLet go of the job; it goes on. To stop it:  holdfast job cancel %s\n",
                    watches[0].id);
            *exit_code = 130;
            return true;
        }
        if (open != 0 && (clock_mono_ns() - began_ns) / 1000000 > timeout_ms) {
            fprintf(stderr, "\nWaited long enough; the job goes on:  holdfast job follow %s\n",
                    watches[0].id);
            *exit_code = 7;
            return true;
        }
        if (open != 0)
            wait_for_news(client);
    }
    return true;
}

bool follow_jobs(Client *client, const Args *args, const json_t *jobs, int *exit_code, Err *err)
{
    size_t count = json_array_size(jobs);
    Watch *watches = mem_array(Watch, count);
    struct sigaction act = {.sa_handler = on_interrupt};
    sigaction(SIGINT, &act, NULL);
    for (size_t i = 0; i < count; i++) {
        const json_t *job = json_array_get(jobs, i);
        const char *id = json_is_string(job) ? json_string_value(job) : print_text_at(job, "id");
        snprintf(watches[i].id, sizeof watches[i].id, "%s", id);
        watches[i].started_s = watches[i].moved_s = now_s();
    }
    *exit_code = 0;
    bool done = watch_all(client, args, watches, count, exit_code, err);
    mem_free(watches);
    return done;
}

bool follow_quietly(Client *client, const char *id, int64_t timeout_ms, json_t **job, Err *err)
{
    char path[64];
    int64_t began_ns = clock_mono_ns();
    snprintf(path, sizeof path, "/jobs/%s", id);
    for (;;) {
        *job = NULL;
        if (!client_get(client, path, job, err))
            return false;
        if (follow_terminal(print_text_at(*job, "state")))
            return true;
        if ((clock_mono_ns() - began_ns) / 1000000 > timeout_ms)
            return err_set(err, ERR_TIMEOUT, "job.slow",
                           "%s has not ended after %" PRId64 " s (%s); see:  holdfast job show %s",
                           id, timeout_ms / 1000, print_text_at(*job, "state"), id);
        json_decref(*job);
        pause_ms(100);
    }
}

bool follow_to_end(Client *client, const char *id, json_t **job, Err *err)
{
    char path[64];
    int64_t silent_ns = 0;
    snprintf(path, sizeof path, "/jobs/%s", id);
    for (;;) {
        *job = NULL;
        *err = (Err){0};
        if (client_get(client, path, job, err)) {
            silent_ns = 0;
            if (follow_terminal(print_text_at(*job, "state")))
                return true;
            json_decref(*job);
            *job = NULL;
        } else {
            silent_ns = silent_ns == 0 ? clock_mono_ns() : silent_ns;
            if (!err_retry(err->code) || clock_mono_ns() - silent_ns > SILENCE_NS)
                return err_note(err, "%s goes on, and nobody tells of it", id);
        }
        pause_ms(300);
    }
}
