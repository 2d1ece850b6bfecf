/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/job/feed.h"

#include "common/base/mem.h"
#include "common/base/wait.h"
#include "worker/job/entry_copy.h"

#include <pthread.h>

enum { AHEAD = 64, LANES_MOST = 16 };

typedef struct Task {
    EntryCopy *entry;
    ReaderContent *content; /* NULL: there is none */
} Task;

typedef struct Feed {
    const FeedParams *params;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    Task tasks[AHEAD]; /* a ring */
    size_t first, count, busy;
    bool over; /* no more tasks come */
    Err failure;
} Feed;

typedef struct LaneArgs {
    Feed *feed;
    unsigned lane;
    pthread_t thread;
} LaneArgs;

static void fail(Feed *feed, const Err *err)
{
    pthread_mutex_lock(&feed->lock);
    if (feed->failure.code == ERR_NONE)
        feed->failure = *err;
    pthread_cond_broadcast(&feed->changed);
    pthread_mutex_unlock(&feed->lock);
}

/* --- one entry into one lane ---------------------------------------------------------------- */

typedef struct Sink {
    const FeedParams *params;
    unsigned lane;
    bool refused; /* the target failed, not the reader */
} Sink;

static bool sink_data(void *ctx, Slice bytes, Err *err)
{
    Sink *sink = ctx;
    const FeedParams *params = sink->params;
    sink->refused = !params->go_on(params->ctx, err) ||
                    !params->target->ops->write(params->target, sink->lane, bytes, err);
    if (!sink->refused)
        params->fed(params->ctx, bytes.len, false);
    return !sink->refused;
}

static bool sink_zeros(void *ctx, uint64_t count, Err *err)
{
    Sink *sink = ctx;
    const FeedParams *params = sink->params;
    sink->refused = !params->target->ops->zeros(params->target, sink->lane, count, err);
    if (!sink->refused)
        params->fed(params->ctx, count, false);
    return !sink->refused;
}

static bool feed_one(const FeedParams *params, unsigned lane, const Entry *entry,
                     const ReaderContent *content, Err *err)
{
    bool want = false;
    Sink sink = {.params = params, .lane = lane};
    ReaderSink into = {&sink, sink_data, sink_zeros};
    if (!params->go_on(params->ctx, err) ||
        !params->target->ops->begin(params->target, lane, entry, &want, err))
        return false;
    if (want && content != NULL && !reader_content(params->reader, content, &into, err)) {
        if (sink.refused || err->code != ERR_CORRUPT || !params->tolerant)
            return err_note(err, "restoring %.*s",
                            (int)(entry->path.len > 100 ? 100 : entry->path.len), entry->path.at);
        /* The entry is left open: the lane's next begin, or close, throws away what came of it. */
        params->damaged(params->ctx, entry->path, err);
        *err = (Err){0};
        return true;
    }
    if (!params->target->ops->end(params->target, lane, entry, err))
        return false;
    params->fed(params->ctx, 0, true);
    return true;
}

/* --- lanes ---------------------------------------------------------------------------------- */

static bool take(Feed *feed, Task *task)
{
    pthread_mutex_lock(&feed->lock);
    while (feed->count == 0 && !feed->over && feed->failure.code == ERR_NONE)
        wait_signal(&feed->changed, &feed->lock);
    bool taken = feed->count > 0 && feed->failure.code == ERR_NONE;
    if (taken) {
        *task = feed->tasks[feed->first];
        feed->first = (feed->first + 1) % AHEAD;
        feed->count--;
        feed->busy++;
        pthread_cond_broadcast(&feed->changed);
    }
    pthread_mutex_unlock(&feed->lock);
    return taken;
}

static void task_free(Task *task)
{
    entry_copy_free(task->entry);
    reader_content_free(task->content);
    *task = (Task){0};
}

static void *run_lane(void *ctx)
{
    LaneArgs *args = ctx;
    Feed *feed = args->feed;
    Task task;
    while (take(feed, &task)) {
        Err err = {0};
        if (!feed_one(feed->params, args->lane, entry_copy_entry(task.entry), task.content, &err))
            fail(feed, &err);
        task_free(&task);
        pthread_mutex_lock(&feed->lock);
        feed->busy--;
        pthread_cond_broadcast(&feed->changed);
        pthread_mutex_unlock(&feed->lock);
    }
    return NULL;
}

static bool give(Feed *feed, Task task, Err *err)
{
    pthread_mutex_lock(&feed->lock);
    while (feed->count == AHEAD && feed->failure.code == ERR_NONE)
        wait_signal(&feed->changed, &feed->lock);
    bool fine = feed->failure.code == ERR_NONE;
    if (fine) {
        feed->tasks[(feed->first + feed->count++) % AHEAD] = task;
        pthread_cond_broadcast(&feed->changed);
    } else {
        *err = feed->failure;
    }
    pthread_mutex_unlock(&feed->lock);
    if (!fine)
        task_free(&task);
    return fine;
}

/* --- walking -------------------------------------------------------------------------------- */

static bool is_selected(const ReaderSelection *selection, Text path)
{
    for (size_t i = 0; i < selection->path_count; i++) {
        Text root = selection->paths[i];
        if (path.len >= root.len && memcmp(path.at, root.at, root.len) == 0 &&
            (path.len == root.len || path.at[root.len] == '/'))
            return true;
    }
    return false;
}

typedef struct Stand {
    Task task;
    Text path; /* under which it is restored */
} Stand;

static bool take_first_name(void *ctx, const Entry *entry, const ReaderContent *content, bool *stop,
                            Err *err)
{
    Stand *stand = ctx;
    (void)err;
    stand->task.entry = entry_copy_new(entry);
    entry_copy_rename(stand->task.entry, stand->path);
    stand->task.content = content == NULL ? NULL : reader_content_copy(content);
    *stop = true;
    return true;
}

/* A hard link whose first name is not restored becomes a file of its own. */
static bool stand_in(Feed *feed, const Entry *entry, Task *task, Err *err)
{
    Stand stand = {.path = entry->path};
    ReaderSelection first = {.paths = &entry->link, .path_count = 1, .phase = -1};
    if (!reader_walk(feed->params->reader, &first, take_first_name, &stand, err))
        return false;
    *task = stand.task;
    return true;
}

static bool visit(void *ctx, const Entry *entry, const ReaderContent *content, bool *stop, Err *err)
{
    Feed *feed = ctx;
    Task task = {0};
    (void)stop;
    if (entry->type == ENTRY_HARDLINK && !feed->params->whole &&
        !is_selected(feed->params->selection, entry->link)) {
        if (!stand_in(feed, entry, &task, err))
            return false;
        if (task.entry != NULL)
            return give(feed, task, err);
    }
    task.entry = entry_copy_new(entry);
    task.content = content == NULL ? NULL : reader_content_copy(content);
    return give(feed, task, err);
}

static bool walk_phase(Feed *feed, uint8_t phase, Err *err)
{
    ReaderSelection selection = *feed->params->selection;
    selection.phase = phase;
    if (!feed->params->target->ops->phase(feed->params->target, phase, err) ||
        !reader_walk(feed->params->reader, &selection, visit, feed, err))
        return false;
    pthread_mutex_lock(&feed->lock);
    while ((feed->count > 0 || feed->busy > 0) && feed->failure.code == ERR_NONE)
        wait_signal(&feed->changed, &feed->lock);
    bool fine = feed->failure.code == ERR_NONE;
    if (!fine)
        *err = feed->failure;
    pthread_mutex_unlock(&feed->lock);
    return fine;
}

static unsigned start_lanes(Feed *feed, LaneArgs *lanes, unsigned wanted)
{
    unsigned started = 0;
    for (; started < wanted; started++) {
        lanes[started] = (LaneArgs){.feed = feed, .lane = started};
        if (pthread_create(&lanes[started].thread, NULL, run_lane, &lanes[started]) != 0)
            break;
    }
    return started;
}

static void end_lanes(Feed *feed, LaneArgs *lanes, unsigned started)
{
    pthread_mutex_lock(&feed->lock);
    feed->over = true;
    pthread_cond_broadcast(&feed->changed);
    pthread_mutex_unlock(&feed->lock);
    for (unsigned i = 0; i < started; i++)
        pthread_join(lanes[i].thread, NULL);
    for (size_t i = 0; i < feed->count; i++)
        task_free(&feed->tasks[(feed->first + i) % AHEAD]);
}

bool feed_run(const FeedParams *params, Err *err)
{
    LaneArgs lanes[LANES_MOST];
    Feed *feed = mem_new(Feed);
    unsigned wanted = params->target->ops->lanes(params->target);
    feed->params = params;
    pthread_mutex_init(&feed->lock, NULL);
    pthread_cond_init(&feed->changed, NULL);
    unsigned started = start_lanes(feed, lanes, wanted > LANES_MOST ? LANES_MOST : wanted);
    bool fine = started > 0 || err_set(err, ERR_FULL, "job.thread",
                                       "no thread could be started: raise the limits");
    uint8_t last = reader_last_phase(params->reader);
    for (unsigned phase = 0; fine && phase <= last; phase++)
        fine = walk_phase(feed, (uint8_t)phase, err);
    if (!fine)
        fail(feed, err);
    end_lanes(feed, lanes, started);
    pthread_cond_destroy(&feed->changed);
    pthread_mutex_destroy(&feed->lock);
    mem_free(feed);
    return fine;
}
