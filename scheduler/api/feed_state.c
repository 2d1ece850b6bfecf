/* SPDX-License-Identifier: Apache-2.0 */
#include "scheduler/api/feed_state.h"

#include "common/base/clock.h"
#include "common/base/json.h"
#include "common/base/mem.h"

/* The verdict on a whole fleet is a large question: it is asked seldom. */
enum { PROGRESS_MS = 1000, WORKERS_MS = 5000, FLEET_MS = 30000, TOUCHED_MOST = 50 };

struct FeedState {
    json_t *progress;                          /* by job: what was told of it last */
    json_t *workers;                           /* by name; NULL: never looked */
    json_t *sources;                           /* by name */
    json_t *attention;                         /* by what it is about */
    json_t *touched;                           /* names of sources */
    int64_t progress_ms, workers_ms, fleet_ms; /* when they are due */
};

FeedState *feed_state_new(void)
{
    FeedState *state = mem_new(FeedState);
    state->progress = json_object();
    state->sources = json_object();
    state->touched = json_object();
    return state;
}

void feed_state_free(FeedState *state)
{
    if (state == NULL)
        return;
    json_decref(state->progress);
    json_decref(state->workers);
    json_decref(state->sources);
    json_decref(state->attention);
    json_decref(state->touched);
    mem_free(state);
}

void feed_state_touch(FeedState *state, const char *source)
{
    if (json_object_size(state->touched) < TOUCHED_MOST)
        json_object_set_new(state->touched, source, json_null());
}

static void tell(Server *server, const char *kind, const char *source, const char *job,
                 const json_t *value)
{
    scoped(buf_free) Buf data = {0};
    json_canonical(value, &data);
    server_tell(server, &(ServerEvent){kind, source, job, 0, buf_text(&data)});
}

static bool load(Catalog *catalog, CatalogView view, const ViewArgs *args, json_t **out, Err *err)
{
    scoped(buf_free) Buf body = {0};
    return catalog_view(catalog, view, args, &body, err) && json_parse(buf_text(&body), out, err);
}

static bool look_at_progress(FeedState *state, Catalog *catalog, Server *server, Err *err)
{
    size_t i;
    json_t *item;
    scoped(json_release) json_t *page = NULL;
    if (!load(catalog, VIEW_PROGRESS, NULL, &page, err))
        return false;
    json_t *now = json_object();
    json_array_foreach(json_object_get(page, "items"), i, item)
    {
        const char *job = json_string_value(json_object_get(item, "job"));
        if (!json_equal(json_object_get(state->progress, job), item))
            tell(server, "job.progress", json_string_value(json_object_get(item, "source")), job,
                 item);
        json_object_set(now, job, item);
    }
    json_decref(state->progress);
    state->progress = now;
    return true;
}

static bool look_at_workers(FeedState *state, Catalog *catalog, Server *server, Err *err)
{
    size_t i;
    json_t *item;
    scoped(json_release) json_t *page = NULL;
    if (!load(catalog, VIEW_WORKERS, &(ViewArgs){.limit = 1000}, &page, err))
        return false;
    json_t *now = json_object();
    json_array_foreach(json_object_get(page, "items"), i, item)
    {
        const char *name = json_string_value(json_object_get(item, "name"));
        json_t *how = json_object_get(item, "state");
        json_object_set(now, name, how);
        if (state->workers == NULL || json_equal(json_object_get(state->workers, name), how))
            continue;
        json_t *data = json_pack("{s:s, s:O, s:O}", "worker", name, "host",
                                 json_object_get(item, "host"), "state", how);
        tell(server, "worker.state", NULL, NULL, data);
        json_decref(data);
    }
    json_decref(state->workers);
    state->workers = now;
    return true;
}

/* One source as it is now; told when it is not as it was. */
static void compare_source(FeedState *state, Server *server, const json_t *item)
{
    static const char *const told[] = {"state", "last_good_at", "last_backup", "exposure_seconds",
                                       "rpo_seconds"};
    const char *name = json_string_value(json_object_get(item, "name"));
    json_t *before = json_object_get(state->sources, name);
    json_t *how = json_pack("{s:O, s:O}", "state", json_object_get(item, "state"), "last_backup",
                            json_object_get(item, "last_backup"));
    if (before != NULL && !json_equal(before, how)) {
        json_t *data = json_pack("{s:s}", "source", name);
        for (size_t i = 0; i < sizeof told / sizeof *told; i++)
            json_object_set(data, told[i], json_object_get(item, told[i]));
        tell(server, "source.state", name, NULL, data);
        json_decref(data);
    }
    json_object_set_new(state->sources, name, how);
}

static bool look_at_touched(FeedState *state, Catalog *catalog, Server *server, Err *err)
{
    size_t i;
    const char *name;
    json_t *none, *item;
    void *next;
    json_object_foreach_safe(state->touched, next, name, none)
    {
        scoped(json_release) json_t *page = NULL;
        ViewArgs args = {.source = text_of(name)};
        if (!load(catalog, VIEW_SOURCES, &args, &page, err))
            return false;
        json_array_foreach(json_object_get(page, "items"), i, item)
        {
            if (json_object_get(state->sources, name) == NULL)
                json_object_set_new(state->sources, name, json_object());
            compare_source(state, server, item);
        }
        json_object_del(state->touched, name);
    }
    return true;
}

static void tell_alert(Server *server, const json_t *item, const char *how)
{
    json_t *data = json_copy((json_t *)(uintptr_t)item);
    json_object_set(data, "about", json_object_get(item, "state"));
    json_object_set_new(data, "state", json_string(how));
    tell(server, "alert", json_string_value(json_object_get(item, "source")), NULL, data);
    json_decref(data);
}

static void compare_attention(FeedState *state, Server *server, const json_t *items)
{
    size_t i;
    const char *key;
    json_t *item;
    json_t *now = json_object();
    json_array_foreach(items, i, item)
    {
        scoped(buf_free) Buf about = {0};
        Text source = json_text_or(item, "source", json_text_or(item, "part", TEXT("?")));
        buf_printf(&about, "%.*s %.*s", TEXT_ARG(source),
                   TEXT_ARG(json_text_or(item, "state", TEXT("?"))));
        json_object_set(now, buf_cstr(&about), item);
        if (state->attention != NULL && json_object_get(state->attention, buf_cstr(&about)) == NULL)
            tell_alert(server, item, "raised");
    }
    json_object_foreach(state->attention, key, item)
    {
        if (json_object_get(now, key) == NULL)
            tell_alert(server, item, "cleared");
    }
    json_decref(state->attention);
    state->attention = now;
}

static bool look_at_fleet(FeedState *state, Catalog *catalog, Server *server, Err *err)
{
    size_t i;
    json_t *item;
    scoped(json_release) json_t *status = NULL;
    if (!load(catalog, VIEW_STATUS, NULL, &status, err))
        return false;
    json_array_foreach(json_object_get(status, "freshness"), i, item)
    {
        compare_source(state, server, item);
    }
    compare_attention(state, server, json_object_get(status, "attention"));
    return true;
}

/* Is it due? Then the next time is so much later. */
static bool due(int64_t *at_ms, int64_t period_ms)
{
    int64_t now_ms = clock_mono_ns() / 1000000;
    if (now_ms < *at_ms)
        return false;
    *at_ms = now_ms + period_ms;
    return true;
}

bool feed_state_look(FeedState *state, Catalog *catalog, Server *server, Err *err)
{
    if (server_listeners(server) == 0)
        return true;
    return (!due(&state->progress_ms, PROGRESS_MS) ||
            look_at_progress(state, catalog, server, err)) &&
           look_at_touched(state, catalog, server, err) &&
           (!due(&state->workers_ms, WORKERS_MS) || look_at_workers(state, catalog, server, err)) &&
           (!due(&state->fleet_ms, FLEET_MS) || look_at_fleet(state, catalog, server, err));
}
