/* SPDX-License-Identifier: Apache-2.0 */
#include "scheduler/api/feed.h"

#include "common/base/clock.h"
#include "common/base/json.h"
#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/base/wait.h"
#include "scheduler/api/feed_state.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdlib.h>
#include <time.h>

enum {
    LOOK_MS = 250,    /* how often it looks, */
    QUICK_MS = 20,    /* at the outbox alone while something happened */
    LIVELY_MS = 3000, /* so lately: who waits for a small job is not kept waiting for the news */
    HOLE_MS = 10000,  /* how long a missing number is waited for, and how many of them are */
    HOLES_MOST = 256,
    PAGE = 1000,
    READY_MS = 5000,
};

typedef struct Hole {
    uint64_t id;
    int64_t since_ms;
} Hole;

struct Feed {
    CatalogParams params;
    Server *server;
    pthread_t thread;
    pthread_mutex_t lock; /* guards the next six */
    pthread_cond_t signal;
    bool wanted; /* somebody listens, or did */
    bool came;   /* a listener, since the last look */
    bool ready;  /* it has looked, and every event from `place` on is told */
    bool stop;
    uint64_t place;
    /* the thread's own */
    Catalog *catalog;
    FeedState *state;
    bool told_away;         /* the log knows that the catalogue is away */
    int64_t lively_ms;      /* when the outbox last had something, or a listener came */
    int64_t looked_ms;      /* when it last looked at everything */
    bool known;             /* `last` is one */
    uint64_t last;          /* the newest number that was seen */
    Hole holes[HOLES_MOST]; /* before it, ascending */
    size_t hole_count;
};

static int64_t now_ms(void)
{
    return clock_mono_ns() / 1000000;
}

static void drop_hole(Feed *feed, size_t at)
{
    feed->hole_count--;
    memmove(feed->holes + at, feed->holes + at + 1, (feed->hole_count - at) * sizeof *feed->holes);
}

/* A number came: it fills a hole, or shows the ones before it, which were taken before it was. */
static void note_number(Feed *feed, uint64_t id, int64_t age_ms)
{
    for (size_t i = 0; id <= feed->last && i < feed->hole_count; i++)
        if (feed->holes[i].id == id) {
            drop_hole(feed, i);
            return;
        }
    uint64_t missing = feed->last + 1;
    if (id > missing + HOLES_MOST)
        missing = id - HOLES_MOST;
    for (; missing < id; missing++) {
        if (feed->hole_count == HOLES_MOST)
            drop_hole(feed, 0);
        feed->holes[feed->hole_count++] = (Hole){missing, now_ms() - age_ms};
    }
    if (id > feed->last)
        feed->last = id;
}

static void forget_old_holes(Feed *feed)
{
    while (feed->hole_count != 0 && feed->holes[0].since_ms + HOLE_MS < now_ms())
        drop_hole(feed, 0);
}

static uint64_t place_of(const Feed *feed)
{
    return feed->hole_count == 0 ? feed->last : feed->holes[0].id - 1;
}

static void set_place(Feed *feed)
{
    pthread_mutex_lock(&feed->lock);
    feed->place = place_of(feed);
    pthread_mutex_unlock(&feed->lock);
}

/* An item of the outbox as an event; its text is kept in `data`. */
static ServerEvent event_of(const json_t *item, uint64_t place, Buf *data)
{
    buf_clear(data);
    json_canonical(json_object_get(item, "data"), data);
    return (ServerEvent){.kind = json_string_value(json_object_get(item, "event")),
                         .source = json_string_value(json_object_get(item, "source")),
                         .job = json_string_value(json_object_get(item, "job")),
                         .place = place,
                         .data = buf_text(data)};
}

static bool load(Catalog *catalog, const ViewArgs *args, json_t **page, Err *err)
{
    scoped(buf_free) Buf body = {0};
    return catalog_view(catalog, VIEW_EVENTS, args, &body, err) &&
           json_parse(buf_text(&body), page, err);
}

/* One page past `last` and in the holes; *full: there may be more. */
static bool look_at_outbox(Feed *feed, bool silent, bool *full, Err *err)
{
    size_t i;
    json_t *item;
    scoped(buf_free) Buf holes = {0};
    scoped(buf_free) Buf data = {0};
    scoped(json_release) json_t *page = NULL;
    for (i = 0; i < feed->hole_count; i++)
        buf_printf(&holes, "%s%" PRIu64, i == 0 ? "" : ",", feed->holes[i].id);
    ViewArgs args = {.after = feed->last, .cursor = buf_text(&holes), .limit = PAGE};
    if (!load(feed->catalog, &args, &page, err))
        return false;
    json_array_foreach(json_object_get(page, "items"), i, item)
    {
        note_number(feed, json_u64_or(item, "id", 0), (int64_t)json_u64_or(item, "age_ms", 0));
        feed->lively_ms = now_ms();
        forget_old_holes(feed);
        set_place(feed);
        if (silent)
            continue;
        ServerEvent event = event_of(item, place_of(feed), &data);
        server_tell(feed->server, &event);
        if (event.source != NULL && strcmp(event.kind, "job.finished") == 0)
            feed_state_touch(feed->state, event.source);
    }
    *full = json_array_size(json_object_get(page, "items")) >= PAGE;
    return true;
}

/* Where the outbox ends now; the last of its numbers are looked at once for holes among them. */
static bool find_end(Feed *feed, Err *err)
{
    bool full;
    scoped(json_release) json_t *page = NULL;
    ViewArgs args = {.after = INT64_MAX, .limit = 1};
    if (!load(feed->catalog, &args, &page, err))
        return false;
    const char *cursor = json_string_value(json_object_get(page, "next_cursor"));
    uint64_t end = cursor == NULL ? 0 : strtoull(cursor, NULL, 10);
    feed->hole_count = 0;
    feed->last = end < PAGE / 2 ? 0 : end - PAGE / 2;
    if (!look_at_outbox(feed, true, &full, err))
        return false;
    feed->known = true;
    return true;
}

static bool look(Feed *feed, Err *err)
{
    bool full = true;
    if (feed->catalog == NULL && !catalog_open(&feed->catalog, &feed->params, err))
        return false;
    if (!catalog_ok(feed->catalog) && !catalog_reset(feed->catalog, err))
        return false;
    if (!feed->known && !find_end(feed, err))
        return false;
    forget_old_holes(feed);
    while (full)
        if (!look_at_outbox(feed, false, &full, err))
            return false;
    set_place(feed);
    if (now_ms() - feed->looked_ms < LOOK_MS)
        return true;
    feed->looked_ms = now_ms();
    return feed_state_look(feed->state, feed->catalog, feed->server, err);
}

/* Says once that it cannot look, and once that it can again. */
static void note(Feed *feed, bool good, const Err *err)
{
    if (!good && !feed->told_away)
        log_err("events.state", err);
    if (good && feed->told_away)
        log_info("events.state", "up=true");
    feed->told_away = !good;
    pthread_mutex_lock(&feed->lock);
    feed->ready = good;
    pthread_cond_broadcast(&feed->signal);
    pthread_mutex_unlock(&feed->lock);
}

static void until(struct timespec *at, int64_t ms)
{
    clock_gettime(CLOCK_MONOTONIC, at);
    at->tv_nsec += ms % 1000 * 1000000;
    at->tv_sec += ms / 1000 + at->tv_nsec / 1000000000;
    at->tv_nsec %= 1000000000;
}

/* Until somebody listens, and then to the next look; false: it is time to stop. */
static bool rest(Feed *feed)
{
    struct timespec next;
    until(&next, now_ms() - feed->lively_ms < LIVELY_MS ? QUICK_MS : LOOK_MS);
    pthread_mutex_lock(&feed->lock);
    bool due = false;
    while (!feed->stop && !feed->came && !due) {
        if (!feed->wanted)
            wait_signal(&feed->signal, &feed->lock);
        else
            due = pthread_cond_timedwait(&feed->signal, &feed->lock, &next) != 0;
    }
    bool go_on = !feed->stop;
    if (feed->came)
        feed->lively_ms = now_ms();
    feed->came = false;
    pthread_mutex_unlock(&feed->lock);
    return go_on;
}

static void *run(void *ctx)
{
    Feed *feed = ctx;
    while (rest(feed)) {
        Err err = {0};
        note(feed, look(feed, &err), &err);
    }
    return NULL;
}

bool feed_start(Feed **out, const CatalogParams *catalog, Err *err)
{
    pthread_condattr_t attributes;
    Feed *feed = mem_new(Feed);
    *out = feed;
    feed->params = *catalog;
    feed->state = feed_state_new();
    pthread_mutex_init(&feed->lock, NULL);
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&feed->signal, &attributes);
    pthread_condattr_destroy(&attributes);
    if (pthread_create(&feed->thread, NULL, run, feed) == 0)
        return true;
    feed->stop = true; /* there is no thread to wait for */
    return err_set(err, ERR_FULL, "events.thread", "no thread for events");
}

void feed_open(Feed *feed, Server *server)
{
    feed->server = server;
}

void feed_stop(Feed *feed)
{
    if (feed == NULL)
        return;
    pthread_mutex_lock(&feed->lock);
    bool runs = !feed->stop;
    feed->stop = true;
    feed->ready = false;
    pthread_cond_broadcast(&feed->signal);
    pthread_mutex_unlock(&feed->lock);
    if (runs)
        pthread_join(feed->thread, NULL);
}

void feed_free(Feed *feed)
{
    if (feed == NULL)
        return;
    catalog_close(feed->catalog);
    feed_state_free(feed->state);
    pthread_cond_destroy(&feed->signal);
    pthread_mutex_destroy(&feed->lock);
    mem_free(feed);
}

/* Wakes the thread and waits for its first look. */
static bool wait_ready(Feed *feed, uint64_t *place, Err *err)
{
    struct timespec end;
    until(&end, READY_MS);
    pthread_mutex_lock(&feed->lock);
    feed->wanted = feed->came = true;
    pthread_cond_broadcast(&feed->signal);
    while (!feed->ready && !feed->stop &&
           pthread_cond_timedwait(&feed->signal, &feed->lock, &end) == 0)
        ;
    bool ready = feed->ready;
    *place = feed->place;
    pthread_mutex_unlock(&feed->lock);
    return ready || err_set(err, ERR_UNREACHABLE, "events.away",
                            "the catalogue does not say what happens; try again");
}

/* A place that the outbox does not know any more, or not yet: the listener must look for itself. */
static bool lost(const json_t *page, uint64_t after)
{
    const char *newest = json_string_value(json_object_get(page, "next_cursor"));
    return after + 1 < json_u64_or(page, "first_id", 0) ||
           (newest != NULL && after > strtoull(newest, NULL, 10));
}

bool feed_begin(Feed *feed, Catalog *catalog, uint64_t after, ServerWish *wish, Buf *begin,
                bool *more, Err *err)
{
    size_t i;
    json_t *item;
    uint64_t place;
    scoped(buf_free) Buf data = {0};
    scoped(json_release) json_t *page = NULL;
    *more = false;
    if (!wait_ready(feed, &place, err))
        return false;
    wish->on = true;
    wish->after =
        server_told(feed->server); /* before the outbox is read: rather twice than never */
    buf_printf(begin, "retry: 2000\nid: %" PRIu64 "\n\n", after == FEED_NOW ? place : after);
    if (after == FEED_NOW)
        return true;
    ViewArgs args = {.after = after, .limit = PAGE};
    if (!load(catalog, &args, &page, err))
        return false;
    if (lost(page, after)) {
        buf_printf(begin, "id: %" PRIu64 "\nevent: reset\ndata: {}\n\n", place);
        return true;
    }
    json_array_foreach(json_object_get(page, "items"), i, item)
    {
        uint64_t id = json_u64_or(item, "id", 0);
        bool settled = id <= place || json_u64_or(item, "age_ms", 0) > HOLE_MS;
        ServerEvent event = event_of(item, settled ? id : place, &data);
        if (server_wishes(wish, &event))
            server_event_text(begin, &event);
        *more = i + 1 == PAGE;
    }
    return true;
}
