/* SPDX-License-Identifier: Apache-2.0
 * actor.h — what a test program does when it is executed as a worker's parent (`agent`) or as its
 * job child (`job`), which does what the order's params say. Included by one file a program. */
#ifndef TESTS_INTEGRATION_AGENT_ACTOR_H
#define TESTS_INTEGRATION_AGENT_ACTOR_H

#include "common/base/json.h"
#include "common/base/log.h"
#include "tests/harness/crew.h"
#include "worker/agent/agent.h"
#include "worker/job/channel.h"

#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

/* --- the job child -------------------------------------------------------------------------- */

static void nap(long ms)
{
    struct timespec time = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};
    nanosleep(&time, NULL);
}

static int verdict(ChannelOutput *out, const char *outcome, const char *text, const char *answer)
{
    Err err = {0};
    bool failed = strcmp(outcome, "failed") == 0;
    JobVerdict last = {.outcome = text_of(outcome),
                       .code = failed ? TEXT("source") : TEXT("none"),
                       .cause = failed ? TEXT("test.failed") : (Text){0},
                       .text = text_of(text),
                       .retry = true,
                       .answer = text_of(answer)};
    return channel_send_job_verdict(out, &last, &err) ? 0 : 1;
}

/* Progress that grows, until somebody cancels. */
static int work_until_cancelled(ChannelInput *in, ChannelOutput *out, bool grow)
{
    Err err = {0};
    JobProgress progress = {
        .phase = TEXT("dump"), .bytes_total = 1000, .total_basis = TEXT("plan")};
    for (;;) {
        struct pollfd wait = {.fd = CHANNEL_ORDER_FD, .events = POLLIN};
        progress.bytes_done += grow;
        if (!channel_send_job_progress(out, &progress, &err))
            return 1;
        if (poll(&wait, 1, 50) == 0)
            continue;
        Slice frame;
        bool end = false;
        JobCancel cancel;
        if (!channel_receive(in, CHANNEL_ORDER_FD, &frame, &end, &err) || end ||
            !messages_unpack_job_cancel(frame, &cancel, &err))
            return 1;
        bool drain = text_equal(cancel.reason, TEXT("drain"));
        bool asked = text_equal(cancel.reason, TEXT("cancelled"));
        return verdict(out, drain ? "released" : asked ? "cancelled" : "failed", "told to", "");
    }
}

static int play(const json_t *order, ChannelInput *in, ChannelOutput *out)
{
    Text does = json_text_or(json_object_get(order, "params"), "do", TEXT(""));
    Err err = {0};
    JobLog line = {.level = TEXT("warn"), .event = TEXT("test.line"), .text = TEXT("hello")};
    (void)!channel_send_job_log(out, &line, &err);
    if (json_object_get(order, "cleanup") != NULL) {
        FILE *file = fopen(getenv("HOLDFAST_TEST_CLEANED"), "ae");
        fputs("cleaned\n", file);
        fclose(file);
        return verdict(out, "completed", "", "");
    }
    if (text_equal(does, TEXT("answer")))
        return verdict(out, "completed", "fine", "{\"x\":1}");
    if (text_equal(does, TEXT("no-json")))
        return verdict(out, "completed", "caf\xC3", "{\"x\":");
    if (text_equal(does, TEXT("fail")))
        return verdict(out, "failed", "as asked", "");
    if (text_equal(does, TEXT("crash")))
        abort();
    if (text_equal(does, TEXT("deaf"))) {
        signal(SIGTERM, SIG_IGN);
        for (;;)
            nap(1000);
    }
    return work_until_cancelled(in, out, !text_equal(does, TEXT("stall")));
}

static int job_main(void)
{
    ChannelInput in = {0};
    ChannelOutput out;
    Slice frame;
    bool end = false;
    JobOrder message;
    json_t *order = NULL;
    Err err = {0};
    signal(SIGPIPE, SIG_IGN);
    channel_output_init(&out, CHANNEL_REPORT_FD);
    if (!channel_receive(&in, CHANNEL_ORDER_FD, &frame, &end, &err) || end ||
        !messages_unpack_job_order(frame, &message, &err) ||
        !json_parse(message.order, &order, &err))
        return 1;
    /* What the parent must not have handed down. */
    if (getenv("HOLDFAST_REDIS_PASSWORD") != NULL || getenv("AWS_SECRET_ACCESS_KEY") != NULL ||
        access("/proc/self/fd/5", F_OK) == 0)
        return 2;
    int status = play(order, &in, &out);
    json_decref(order);
    channel_input_free(&in);
    return status;
}

/* --- the parent ----------------------------------------------------------------------------- */

static int agent_main(char **argv)
{
    static char name[] = "crew", verb[] = "job";
    char *child[] = {name, verb, NULL};
    char keys[128], cache[128], credentials[128];
    Allow *allow = NULL;
    Err err = {0};
    snprintf(keys, sizeof keys, "%s/keys", argv[5]);
    snprintf(cache, sizeof cache, "%s/cache", argv[5]);
    snprintf(credentials, sizeof credentials, "%s/credentials", argv[5]);
    log_open(getenv("HOLDFAST_TEST_VERBOSE") == NULL ? LOG_ERROR + 1 : LOG_DEBUG, LOG_LOGFMT, 2);
    if (!allow_parse(NULL, &allow, &err))
        return 2;
    JobSettings settings = {.name = argv[2],
                            .host = argv[2],
                            .catalogue = argv[3],
                            .credentials = credentials,
                            .cache = cache,
                            .keys = keys,
                            .allow = allow};
    AgentParams params = {.settings = &settings,
                          .catalog = {.conninfo = argv[3]},
                          .queue = {.url = text_of(argv[4])},
                          .slots = 2,
                          .child_argv = child,
                          .config = "",
                          .drain_ms = strtol(argv[6], NULL, 10),
                          .kill_grace_ms = 1500};
    bool ok = agent_run(&params, &err);
    if (!ok)
        fprintf(stderr, "agent: %s: %s\n", err.cause, err.text);
    allow_free(allow);
    return ok ? 0 : 1;
}

/* True when the program is not the test itself. */
static bool actor_main(int argc, char **argv, int *status)
{
    bool job = argc > 1 && strcmp(argv[1], "job") == 0;
    bool agent = argc > 6 && strcmp(argv[1], "agent") == 0;
    if (job)
        *status = job_main();
    else if (agent)
        *status = agent_main(argv);
    return job || agent;
}

#endif
