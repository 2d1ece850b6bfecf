/* SPDX-License-Identifier: Apache-2.0 */
#include "scheduler/http/server_events.h"

#include "common/base/clock.h"
#include "common/base/mem.h"

#include <inttypes.h>
#include <pthread.h>

/* What a listener may have waiting for it, how many there may be, and how many events are kept for
 * those whose beginning is still on its way from a handler. */
enum { UNSENT_MOST = 256 << 10, LISTENERS_MOST = 256, KEPT = 1024 };

typedef struct Told {
    struct Told *next;
    uint64_t number;
    char *kind, *source, *job;
    Buf text;
} Told;

typedef struct Listener {
    struct Listener *next, *previous;
    ServerEvents *all;
    Connection *connection;
    ServerWish wish;
    int64_t until_ns;
} Listener;

struct ServerEvents {
    Loop *loop;
    LoopTimer *beat;
    int64_t life_ms;
    Listener *first;
    size_t count;
    Told *kept[KEPT]; /* by number */
    pthread_mutex_t lock;
    uint64_t told;           /* guarded, as the two below */
    Told *news, **news_last; /* told, and not yet on the loop */
};

static void told_free(Told *told)
{
    if (told == NULL)
        return;
    mem_free(told->kind);
    mem_free(told->source);
    mem_free(told->job);
    buf_free(&told->text);
    mem_free(told);
}

static void forget(Listener *listener)
{
    if (listener->next != NULL)
        listener->next->previous = listener->previous;
    if (listener->previous != NULL)
        listener->previous->next = listener->next;
    else
        listener->all->first = listener->next;
    __atomic_sub_fetch(&listener->all->count, 1, __ATOMIC_RELAXED);
    buf_free(&listener->wish.kinds);
    buf_free(&listener->wish.sources);
    buf_free(&listener->wish.jobs);
    mem_free(listener);
}

static void on_gone(void *ctx)
{
    forget(ctx);
}

/* Bytes for one listener; one that takes none is closed (and so forgotten). */
static void send_to(Listener *listener, Slice bytes)
{
    if (connection_unsent(listener->connection) + bytes.len > UNSENT_MOST)
        connection_close(listener->connection);
    else
        connection_piece(listener->connection, bytes, NULL, NULL);
}

/* Is it one of "a,b", or is anything? */
static bool wanted(const Buf *words, const char *word)
{
    Text list = buf_text(words);
    Text one = text_of(word);
    while (word != NULL && list.len != 0) {
        const char *comma = memchr(list.at, ',', list.len);
        size_t len = comma == NULL ? list.len : (size_t)(comma - list.at);
        if (text_equal((Text){list.at, len}, one))
            return true;
        len += comma != NULL;
        list = (Text){list.at + len, list.len - len};
    }
    return words->len == 0;
}

bool server_wishes(const ServerWish *wish, const ServerEvent *event)
{
    return wanted(&wish->kinds, event->kind) && wanted(&wish->sources, event->source) &&
           wanted(&wish->jobs, event->job);
}

static void pass(Listener *listener, const Told *told)
{
    const ServerEvent event = {.kind = told->kind, .source = told->source, .job = told->job};
    if (server_wishes(&listener->wish, &event))
        send_to(listener, buf_slice(&told->text));
}

/* On the loop: what was told meanwhile, to each that listens. */
static void deliver(void *ctx)
{
    ServerEvents *events = ctx;
    pthread_mutex_lock(&events->lock);
    Told *told = events->news;
    events->news = NULL;
    events->news_last = &events->news;
    pthread_mutex_unlock(&events->lock);
    for (Told *after; told != NULL; told = after) {
        after = told->next;
        told_free(events->kept[told->number % KEPT]);
        events->kept[told->number % KEPT] = told;
        for (Listener *at = events->first, *next; at != NULL; at = next) {
            next = at->next;
            pass(at, told);
        }
    }
}

static void on_beat(void *ctx)
{
    static const uint8_t comment[] = ": still here\n\n";
    ServerEvents *events = ctx;
    for (Listener *at = events->first, *next; at != NULL; at = next) {
        Connection *connection = at->connection;
        next = at->next;
        if (clock_mono_ns() < at->until_ns) {
            send_to(at, (Slice){comment, sizeof comment - 1});
            continue;
        }
        connection_watch(connection, NULL, NULL, false);
        forget(at);
        connection_stream_end(connection);
    }
}

ServerEvents *server_events_new(Loop *loop, int64_t beat_ms, int64_t life_ms)
{
    ServerEvents *events = mem_new(ServerEvents);
    events->loop = loop;
    events->life_ms = life_ms;
    events->news_last = &events->news;
    pthread_mutex_init(&events->lock, NULL);
    events->beat = loop_timer_new(loop, on_beat, events);
    loop_timer_every(events->beat, beat_ms);
    return events;
}

size_t server_events_count(const ServerEvents *events)
{
    return __atomic_load_n(&events->count, __ATOMIC_RELAXED);
}

void server_events_add(ServerEvents *events, ServerWish *wish, Slice first, Connection *connection)
{
    const Told *oldest = events->kept[(wish->after + 1) % KEPT];
    if (events->count >= LISTENERS_MOST) {
        connection_problem(connection, 503, "events.full", "too many listen already");
        return;
    }
    connection_stream(connection, "text/event-stream", TEXT("X-Accel-Buffering: no\r\n"));
    Listener *listener = mem_new(Listener);
    *listener = (Listener){.next = events->first,
                           .all = events,
                           .connection = connection,
                           .wish = *wish,
                           .until_ns = clock_mono_ns() + events->life_ms * 1000000};
    wish->kinds = wish->sources = wish->jobs = (Buf){0};
    if (events->first != NULL)
        events->first->previous = listener;
    events->first = listener;
    __atomic_add_fetch(&events->count, 1, __ATOMIC_RELAXED);
    connection_watch(connection, on_gone, listener, true);
    connection_piece(connection, first, NULL, NULL);
    if (oldest != NULL && oldest->number > wish->after + 1) {
        connection_close(connection); /* what came between is not here any more */
        return;
    }
    for (uint64_t number = wish->after + 1;; number++) {
        const Told *told = events->kept[number % KEPT];
        if (told == NULL || told->number != number || events->first != listener)
            return;
        pass(listener, told);
    }
}

void server_events_tell(ServerEvents *events, const ServerEvent *event)
{
    Told *told = mem_new(Told);
    told->kind = mem_string(event->kind);
    told->source = mem_string(event->source);
    told->job = mem_string(event->job);
    server_event_text(&told->text, event);
    pthread_mutex_lock(&events->lock);
    bool first = events->news == NULL;
    told->number = ++events->told;
    *events->news_last = told;
    events->news_last = &told->next;
    pthread_mutex_unlock(&events->lock);
    if (first)
        loop_post(events->loop, deliver, events);
}

uint64_t server_events_told(ServerEvents *events)
{
    pthread_mutex_lock(&events->lock);
    uint64_t told = events->told;
    pthread_mutex_unlock(&events->lock);
    return told;
}

void server_event_text(Buf *out, const ServerEvent *event)
{
    if (event->place != 0)
        buf_printf(out, "id: %" PRIu64 "\n", event->place);
    buf_printf(out, "event: %s\ndata: %.*s\n\n", event->kind, TEXT_ARG(event->data));
}

void server_events_free(ServerEvents *events)
{
    if (events == NULL)
        return;
    for (Listener *listener; (listener = events->first) != NULL;) {
        connection_watch(listener->connection, NULL, NULL, false);
        forget(listener);
    }
    for (size_t i = 0; i < KEPT; i++)
        told_free(events->kept[i]);
    for (Told *told = events->news, *next; told != NULL; told = next) {
        next = told->next;
        told_free(told);
    }
    loop_timer_free(events->beat);
    pthread_mutex_destroy(&events->lock);
    mem_free(events);
}
