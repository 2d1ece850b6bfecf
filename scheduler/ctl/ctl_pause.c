/* SPDX-License-Identifier: Apache-2.0
 * What is held back and let go again: sources, pools, workers. */
#include "scheduler/ctl/ctl.h"

#include "scheduler/ctl/follow.h"

static void set_word(json_t *body, const char *name, const char *value)
{
    if (value != NULL)
        json_object_set_new(body, name, json_string(value));
}

static bool path_of(const Ctl *ctl, const char *below, const char *suffix, Buf *path, Err *err)
{
    const char *name;
    if (!ctl_word(ctl, 0, &name, err))
        return false;
    buf_printf(path, "%s", below);
    http_escape(path, text_of(name));
    buf_printf(path, "%s", suffix);
    return true;
}

/* The thing as it is now; a pool is one of a list. */
static bool look(Ctl *ctl, const char *below, json_t **thing, Err *err)
{
    scoped(buf_free) Buf path = {0};
    json_t *items = NULL, *item;
    size_t i;
    if (strcmp(below, "/queues/") != 0)
        return path_of(ctl, below, "", &path, err) &&
               client_get(ctl->client, buf_cstr(&path), thing, err);
    const char *name;
    if (!ctl_word(ctl, 0, &name, err) || !client_list(ctl->client, "/queues", 0, &items, err))
        return false;
    json_array_foreach(items, i, item)
    {
        if (strcmp(print_text_at(item, "name"), name) == 0)
            *thing = json_incref(item);
    }
    json_decref(items);
    return *thing != NULL || err_set(err, ERR_MISSING, "pool.unknown", "there is no pool %s", name);
}

static bool act(Ctl *ctl, const char *below, const char *verb, Err *err)
{
    scoped(buf_free) Buf path = {0};
    scoped(buf_free) Buf suffix = {0};
    json_t *answer = NULL, *body = json_object();
    buf_printf(&suffix, "/%s", verb);
    set_word(body, "reason", ctl->args->reason);
    if (strcmp(below, "/sources/") == 0 && strcmp(verb, "pause") == 0) {
        set_word(body, "until", ctl->args->until);
        set_word(body, "for", ctl->args->span);
    }
    bool done = ctl->args->dry_run
                    ? look(ctl, below, &answer, err)
                    : path_of(ctl, below, buf_cstr(&suffix), &path, err) &&
                          client_send(ctl->client, "POST", buf_cstr(&path), body, &answer, err);
    if (done && ctl->args->dry_run)
        ctl_would(ctl, verb, answer, "name");
    else if (done)
        ctl_outcome(ctl, answer, "");
    json_decref(body);
    json_decref(answer);
    return done;
}

bool ctl_source_pause(Ctl *ctl, Err *err)
{
    return act(ctl, "/sources/", "pause", err);
}

bool ctl_source_resume(Ctl *ctl, Err *err)
{
    return act(ctl, "/sources/", "resume", err);
}

bool ctl_source_suspect(Ctl *ctl, Err *err)
{
    return act(ctl, "/sources/", "suspect", err);
}

bool ctl_queue_pause(Ctl *ctl, Err *err)
{
    return act(ctl, "/queues/", "pause", err);
}

bool ctl_queue_resume(Ctl *ctl, Err *err)
{
    return act(ctl, "/queues/", "resume", err);
}

bool ctl_worker_drain(Ctl *ctl, Err *err)
{
    return act(ctl, "/workers/", "drain", err);
}

bool ctl_worker_resume(Ctl *ctl, Err *err)
{
    return act(ctl, "/workers/", "resume", err);
}
