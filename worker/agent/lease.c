/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/agent/lease.h"

#include "common/base/clock.h"
#include "common/base/mem.h"

#include <errno.h>
#include <pthread.h>
#include <time.h>

static const int64_t NEWS_MS = 1000;
static const int64_t RETRY_MS = 500;
static const int64_t NS_A_MS = 1000000;
enum { WORD = 32 };

typedef struct Row {
    Fence fence;
    BeatRow beat;
    char phase[WORD], basis[WORD];
} Row;

/* What one beat brought, on its way to the loop. */
typedef struct News {
    Lease *lease;
    Fence *fences;
    BeatAnswer *answers;
    size_t count;
    BeatSummary summary;
    int64_t until_ns;
    bool failed;
    Err err;
    struct News *next;
} News;

struct Lease {
    LeaseParams params;
    pthread_t thread;
    pthread_mutex_t lock; /* guards rows, news, stopping, dirty */
    pthread_cond_t wake;
    Row *rows;
    size_t count, room;
    bool dirty;
    bool stopping;
    bool failing;
    News *first, **end;
    Catalog *catalog; /* the thread's own */
};

static bool same(const Fence *a, const Fence *b)
{
    return a->job == b->job && a->attempt == b->attempt && uuid_equal(&a->claim, &b->claim);
}

static Row *find(Lease *lease, const Fence *fence)
{
    for (size_t i = 0; i < lease->count; i++)
        if (same(&lease->rows[i].fence, fence))
            return &lease->rows[i];
    return NULL;
}

static void free_news(News *news)
{
    mem_free(news->fences);
    mem_free(news->answers);
    mem_free(news);
}

static News *take_news(Lease *lease)
{
    pthread_mutex_lock(&lease->lock);
    News *news = lease->first;
    if (news != NULL)
        lease->first = news->next;
    if (lease->first == NULL)
        lease->end = &lease->first;
    pthread_mutex_unlock(&lease->lock);
    return news;
}

/* Dropped since the beat: its answer is nobody's. */
static bool still_there(Lease *lease, const Fence *fence)
{
    pthread_mutex_lock(&lease->lock);
    bool there = find(lease, fence) != NULL;
    pthread_mutex_unlock(&lease->lock);
    return there;
}

static void tell(void *ctx)
{
    Lease *lease = ctx;
    const LeaseParams *params = &lease->params;
    News *news = take_news(lease);
    if (news == NULL)
        return;
    if (news->failed)
        params->on_failed(params->ctx, &news->err);
    for (size_t i = 0; i < news->count; i++) {
        if (!still_there(lease, &news->fences[i]))
            continue;
        if (news->answers[i].held)
            params->on_held(params->ctx, &news->fences[i], news->answers[i].cancel, news->until_ns);
        else
            params->on_fenced(params->ctx, &news->fences[i]);
    }
    if (!news->failed)
        params->on_summary(params->ctx, &news->summary);
    free_news(news);
}

/* The rows as they are now; texts are copied, because progress comes in meanwhile. Under the
 * lock. */
static Row *snapshot(Lease *lease, size_t *count)
{
    Row *rows = mem_array(Row, lease->count);
    *count = lease->count;
    for (size_t i = 0; i < lease->count; i++)
        rows[i] = lease->rows[i];
    lease->dirty = false;
    return rows;
}

static bool ask(Lease *lease, const Row *rows, size_t count, News *news, Err *err)
{
    if (lease->catalog == NULL && !catalog_open(&lease->catalog, &lease->params.catalog, err))
        return false;
    if (!catalog_ok(lease->catalog) && !catalog_reset(lease->catalog, err))
        return false;
    BeatRow *beats = mem_array(BeatRow, count);
    for (size_t i = 0; i < count; i++) {
        beats[i] = rows[i].beat;
        beats[i].fence = rows[i].fence;
        beats[i].phase = text_of(rows[i].phase);
        beats[i].total_basis = text_of(rows[i].basis);
        news->fences[i] = rows[i].fence;
    }
    /* From before it is sent: the server's clock grants from some instant after this one. */
    news->until_ns = clock_boot_ns() + lease->params.lease_ms * NS_A_MS;
    bool ok = catalog_worker_beat(lease->catalog, &lease->params.instance, beats, count,
                                  news->answers, &news->summary, err);
    mem_free(beats);
    return ok;
}

/* Under the lock, which is given up while the catalogue is asked. */
static bool beat(Lease *lease)
{
    size_t count = 0;
    Row *rows = snapshot(lease, &count);
    pthread_mutex_unlock(&lease->lock);
    News *news = mem_new(News);
    news->fences = mem_array(Fence, count);
    news->answers = mem_array(BeatAnswer, count);
    bool ok = ask(lease, rows, count, news, &news->err);
    mem_free(rows);
    pthread_mutex_lock(&lease->lock);
    news->count = ok ? count : 0;
    news->failed = !ok;
    bool silent = !ok && lease->failing;
    lease->failing = !ok;
    if (silent) {
        free_news(news);
        return false;
    }
    *lease->end = news;
    lease->end = &news->next;
    loop_post(lease->params.loop, tell, lease);
    return ok;
}

static struct timespec after(int64_t ms)
{
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    int64_t ns = at.tv_nsec + ms % 1000 * NS_A_MS;
    at.tv_sec += (time_t)(ms / 1000 + ns / 1000000000);
    at.tv_nsec = (long)(ns % 1000000000);
    return at;
}

/* Until the next beat is due, or there is news that is a second old. */
static void pause_thread(Lease *lease, int64_t ms)
{
    struct timespec soon = after(ms < NEWS_MS ? ms : NEWS_MS);
    struct timespec due = after(ms);
    while (!lease->stopping) {
        const struct timespec *until = lease->dirty ? &soon : &due;
        if (pthread_cond_timedwait(&lease->wake, &lease->lock, until) == ETIMEDOUT)
            return;
    }
}

static void *run(void *ctx)
{
    Lease *lease = ctx;
    pthread_mutex_lock(&lease->lock);
    while (!lease->stopping) {
        bool ok = beat(lease);
        int64_t ms = lease->params.beat_ms;
        pause_thread(lease, ok || ms < RETRY_MS ? ms : RETRY_MS);
    }
    pthread_mutex_unlock(&lease->lock);
    catalog_close(lease->catalog);
    return NULL;
}

bool lease_start(Lease **out, const LeaseParams *params, Err *err)
{
    Lease *lease = mem_new(Lease);
    pthread_condattr_t attributes;
    lease->params = *params;
    lease->end = &lease->first;
    pthread_mutex_init(&lease->lock, NULL);
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&lease->wake, &attributes);
    pthread_condattr_destroy(&attributes);
    if (pthread_create(&lease->thread, NULL, run, lease) != 0) {
        mem_free(lease);
        return err_set(err, ERR_FULL, "agent.thread", "no thread for the heartbeat");
    }
    *out = lease;
    return true;
}

void lease_stop(Lease *lease)
{
    if (lease == NULL)
        return;
    pthread_mutex_lock(&lease->lock);
    lease->stopping = true;
    pthread_cond_signal(&lease->wake);
    pthread_mutex_unlock(&lease->lock);
    pthread_join(lease->thread, NULL);
    for (News *news = take_news(lease); news != NULL; news = take_news(lease))
        free_news(news);
    pthread_cond_destroy(&lease->wake);
    pthread_mutex_destroy(&lease->lock);
    mem_free(lease->rows);
    mem_free(lease);
}

void lease_add(Lease *lease, const Fence *fence)
{
    pthread_mutex_lock(&lease->lock);
    if (lease->count == lease->room) {
        lease->room = lease->room == 0 ? 8 : 2 * lease->room;
        lease->rows = mem_resize(lease->rows, lease->room * sizeof(Row));
    }
    lease->rows[lease->count++] = (Row){.fence = *fence};
    lease->dirty = true;
    pthread_cond_signal(&lease->wake);
    pthread_mutex_unlock(&lease->lock);
}

static void copy_word(char out[WORD], Text text)
{
    size_t len = text.len < WORD - 1 ? text.len : WORD - 1;
    if (len > 0)
        memcpy(out, text.at, len);
    out[len] = '\0';
}

void lease_progress(Lease *lease, const Fence *fence, const JobProgress *progress)
{
    pthread_mutex_lock(&lease->lock);
    Row *row = find(lease, fence);
    if (row != NULL) {
        copy_word(row->phase, progress->phase);
        copy_word(row->basis, progress->total_basis);
        row->beat = (BeatRow){.bytes_done = progress->bytes_done,
                              .bytes_total = progress->bytes_total,
                              .items_done = progress->items_done,
                              .errors = progress->errors,
                              .stored = progress->stored};
        lease->dirty = true;
        pthread_cond_signal(&lease->wake);
    }
    pthread_mutex_unlock(&lease->lock);
}

void lease_drop(Lease *lease, const Fence *fence)
{
    pthread_mutex_lock(&lease->lock);
    Row *row = find(lease, fence);
    if (row != NULL)
        *row = lease->rows[--lease->count];
    pthread_mutex_unlock(&lease->lock);
}
