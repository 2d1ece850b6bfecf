/* SPDX-License-Identifier: Apache-2.0 */
#include "scheduler/ctl/ctl_group.h"

/* --dry-run: a source that is there would be backed up. */
static bool only_say(Ctl *ctl, const char *source, json_t *jobs, Err *err)
{
    scoped(buf_free) Buf path = {0};
    json_t *thing = NULL;
    buf_printf(&path, "/sources/");
    http_escape(&path, text_of(source));
    bool known = client_get(ctl->client, buf_cstr(&path), &thing, err);
    if (known && ctl_wants_json(ctl))
        json_array_append_new(
            jobs, json_pack("{s:b, s:s, s:O}", "dry_run", 1, "would", "back up", "thing", thing));
    else if (known)
        ctl_would(ctl, "back up", thing, "name");
    json_decref(thing);
    return known;
}

static bool start(Ctl *ctl, const char *source, json_t *jobs, Err *err)
{
    scoped(buf_free) Buf path = {0};
    json_t *job = NULL;
    if (ctl->args->dry_run)
        return only_say(ctl, source, jobs, err);
    json_t *body = json_object();
    if (ctl->args->method != NULL)
        json_object_set_new(body, "method", json_string(ctl->args->method));
    if (ctl->args->emergency)
        json_object_set_new(body, "emergency", json_true());
    if (ctl->args->reason != NULL)
        json_object_set_new(body, "reason", json_string(ctl->args->reason));
    buf_printf(&path, "/sources/");
    http_escape(&path, text_of(source));
    buf_printf(&path, "/run");
    bool done = client_send(ctl->client, "POST", buf_cstr(&path), body, &job, err);
    if (done)
        json_array_append(jobs, job);
    json_decref(job);
    json_decref(body);
    return done;
}

static bool start_all(Ctl *ctl, json_t *jobs, Err *err)
{
    json_t *sources = NULL;
    size_t i;
    json_t *source;
    bool done = client_list(ctl->client, "/sources", 0, &sources, err);
    json_array_foreach(sources, i, source)
    {
        done = done && start(ctl, print_text_at(source, "name"), jobs, err);
    }
    json_decref(sources);
    return done;
}

/* One could not be started; what was started before goes on, and its ids must not be lost. */
static void tell_started(const json_t *jobs)
{
    size_t i;
    json_t *job;
    json_array_foreach(jobs, i, job)
    {
        fprintf(stderr, "holdfast: %s was started\n", print_text_at(job, "id"));
    }
}

bool ctl_run(Ctl *ctl, Err *err)
{
    const char *first;
    if (ctl->args->emergency && ctl->args->reason == NULL)
        return err_set(err, ERR_USAGE, "job.reason",
                       "--emergency goes past what protects others: say why with --reason");
    json_t *jobs = json_array();
    bool done = ctl->args->all || ctl_word(ctl, 0, &first, err);
    if (done && ctl->args->all)
        done = start_all(ctl, jobs, err);
    for (size_t i = 0; done && !ctl->args->all && i < ctl->args->words.count; i++)
        done = start(ctl, ctl->args->words.at[i], jobs, err);
    if (ctl->args->dry_run) {
        if (done && ctl_wants_json(ctl))
            print_json(stdout, jobs);
        json_decref(jobs);
        return done;
    }
    if (!done && json_array_size(jobs) != 0)
        tell_started(jobs);
    if (done && json_array_size(jobs) == 0)
        done = err_set(err, ERR_MISSING, "source.none",
                       "there is no source to run. Add one to the fleet file, then:  holdfast "
                       "policy apply fleet.yaml");
    done = done && ctl_group_members(ctl, jobs, err) && ctl_started(ctl, jobs, err) &&
           (!(ctl->args->follow || ctl->args->wait) || ctl_group_verdict(ctl, jobs, err));
    json_decref(jobs);
    return done;
}
