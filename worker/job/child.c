/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/job/child.h"

#include "common/base/json.h"
#include "common/base/mem.h"
#include "common/store/s3_keys.h"
#include "worker/job/channel.h"
#include "worker/job/hooks.h"
#include "worker/job/job.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <unistd.h>

typedef struct JobChild {
    const JobSettings *settings;
    int order_fd;
    ChannelInput input;
    ChannelOutput output;
    Job *job;
    pthread_mutex_t lock; /* of job, against a cancel that comes while it opens or closes */
    char pending[64];     /* a cancel that came before the job was open */
} JobChild;

static void on_progress(void *ctx, const JobProgress *progress)
{
    JobChild *child = ctx;
    Err err = {0};
    if (!channel_send_job_progress(&child->output, progress, &err))
        _exit(1); /* nobody reads: the parent is gone, and the attempt with it */
}

static void on_log(void *ctx, LogLevel level, const char *event, const char *text)
{
    static const char *const names[] = {"debug", "info", "warn", "error"};
    JobChild *child = ctx;
    Err err = {0};
    scoped(buf_free) Buf clean = {0};
    /* Frames carry UTF-8; a hook or a server may have said anything. */
    json_escape_bytes(slice_of_text(text_of(text)), &clean);
    JobLog line = {text_of(names[level]), text_of(event), buf_text(&clean)};
    if (!channel_send_job_log(&child->output, &line, &err))
        _exit(1);
}

static void take_cancel(JobChild *child, const JobCancel *cancel)
{
    char reason[64];
    snprintf(reason, sizeof reason, "%.*s", TEXT_ARG(cancel->reason));
    pthread_mutex_lock(&child->lock);
    if (child->job != NULL)
        job_cancel(child->job, reason);
    else
        memcpy(child->pending, reason, sizeof child->pending);
    pthread_mutex_unlock(&child->lock);
}

static void *hear(void *ctx)
{
    JobChild *child = ctx;
    for (;;) {
        Slice frame;
        bool end = false;
        uint64_t id = 0;
        Err err = {0};
        JobCancel cancel;
        if (!channel_receive(&child->input, child->order_fd, &frame, &end, &err) || end)
            _exit(1);
        if (messages_id(frame, &id, &err) && id == MESSAGE_job_cancel &&
            messages_unpack_job_cancel(frame, &cancel, &err))
            take_cancel(child, &cancel);
    }
    return NULL;
}

static bool read_order(JobChild *child, JobOrder *order, Err *err)
{
    Slice frame;
    bool end = false;
    uint64_t id = 0;
    if (!channel_receive(&child->input, child->order_fd, &frame, &end, err))
        return false;
    if (end)
        return err_set(err, ERR_BUG, "child.no_order",
                       "a job process is started by its worker, not by hand");
    if (!messages_id(frame, &id, err))
        return false;
    if (id != MESSAGE_job_order)
        return err_set(err, ERR_BUG, "child.no_order", "the first frame is no order");
    return messages_unpack_job_order(frame, order, err);
}

/* Keeps the order's texts: the frame is gone with the next one. */
typedef struct Order {
    Buf text, scratch;
    Fence fence;
} Order;

static bool keep_order(const JobOrder *message, Order *order, Err *err)
{
    if (message->claim.len != sizeof order->fence.claim.bytes)
        return err_set(err, ERR_BUG, "child.no_order", "the order's claim is no uuid");
    buf_add_text(&order->text, message->order);
    buf_add_text(&order->scratch, message->scratch);
    order->fence = (Fence){.job = message->job, .attempt = message->attempt};
    memcpy(order->fence.claim.bytes, message->claim.at, message->claim.len);
    s3_keys_lend(message->store_id, message->store_secret, message->store_token);
    return true;
}

static void publish(JobChild *child, Job *job)
{
    pthread_mutex_lock(&child->lock);
    child->job = job;
    if (job != NULL && child->pending[0] != '\0')
        job_cancel(job, child->pending);
    pthread_mutex_unlock(&child->lock);
}

static void run_job(JobChild *child, Order *order, JobEnd *end)
{
    Err err = {0};
    Job *job = NULL;
    JobParams params = {.settings = child->settings,
                        .fence = order->fence,
                        .order = buf_text(&order->text),
                        .scratch = buf_cstr(&order->scratch),
                        .report = {child, on_progress, on_log}};
    if (!job_open(&job, &params, &err)) {
        job_end_failed(&err, end);
        return;
    }
    publish(child, job);
    job_run(job, end);
    publish(child, NULL);
    job_close(job);
}

static void run_cleanup(JobChild *child, const json_t *order, JobEnd *end)
{
    JobReport report = {child, on_progress, on_log};
    Err err = {0};
    *end = (JobEnd){0};
    if (!hooks_cleanup(child->settings, order, &report, &err))
        end->err = err;
    job_end_failed(&end->err, end);
}

static void run(JobChild *child, Order *order, JobEnd *end)
{
    scoped(json_release) json_t *parsed = NULL;
    Err err = {0};
    if (!json_parse(buf_text(&order->text), &parsed, &err))
        job_end_failed(&err, end);
    else if (hooks_is_cleanup(parsed))
        run_cleanup(child, parsed, end);
    else
        run_job(child, order, end);
}

int child_run(int order_fd, int report_fd, const JobSettings *settings)
{
    static JobChild child;
    JobOrder message;
    Order order = {0};
    JobEnd end;
    Err err = {0};
    pthread_t listener;
    mem_share_heap();
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN);  /* a limit to files is a full disk with a name, not a death */
    prctl(PR_SET_DUMPABLE, 0); /* no core dump and no other process of the user sees its secrets */
    child.settings = settings;
    pthread_mutex_init(&child.lock, NULL);
    child.order_fd = order_fd;
    channel_output_init(&child.output, report_fd);
    if (!read_order(&child, &message, &err) || !keep_order(&message, &order, &err)) {
        log_err("child.order", &err);
        return 1;
    }
    channel_input_wipe(&child.input);
    if (pthread_create(&listener, NULL, hear, &child) != 0)
        return 1;
    pthread_detach(listener);
    run(&child, &order, &end);
    bool told = channel_send_job_verdict(&child.output, &end.verdict, &err);
    job_end_free(&end);
    buf_free(&order.text);
    buf_free(&order.scratch);
    return told ? 0 : 1;
}
