/* SPDX-License-Identifier: Apache-2.0 */
#include "scheduler/ctl/ctl_group.h"

#include "common/base/json.h"
#include "scheduler/ctl/ctl_restore.h"
#include "scheduler/ctl/follow.h"

#include <string.h>
#include <strings.h>

/* "bank complete bk_…, files complete bk_…" */
static json_t *members_text(const json_t *barrier)
{
    size_t i;
    const json_t *member;
    scoped(buf_free) Buf text = {0};
    json_array_foreach(json_object_get(barrier, "members"), i, member)
    {
        const char *backup = print_text_at(member, "backup");
        buf_printf(&text, "%s%s%s%s", i == 0 ? "" : ", ", print_text_at(member, "source"),
                   backup[0] == 0 ? "" : " ", backup);
    }
    return json_string(buf_cstr(&text));
}

bool ctl_group_list(Ctl *ctl, Err *err)
{
    static const PrintColumn columns[] = {
        {"GROUP", "group", AS_TEXT},
        {"BARRIER", "barrier", AS_TEXT},
        {"STATE", "state", AS_TEXT},
        {"AT", "at", AS_WHEN},
        {"MEMBERS", "backups", AS_TEXT},
        {"CAUSE", "cause", AS_TEXT},
        {"BEGUN", "made_at", AS_WHEN | AS_WIDE},
        {"RELEASED", "released_at", AS_WHEN | AS_WIDE},
        {"JOB", "job", AS_TEXT | AS_WIDE},
    };
    json_t *items = NULL, *item;
    size_t i;
    scoped(buf_free) Buf path = {0};
    buf_printf(&path, "/groups");
    ctl_query(&path, "group", ctl->args->words.count == 0 ? NULL : ctl->args->words.at[0]);
    bool done = client_list(ctl->client, buf_cstr(&path), 0, &items, err);
    json_array_foreach(items, i, item)
    {
        if (done && !ctl_wants_json(ctl))
            json_object_set_new(item, "backups", members_text(item));
    }
    if (done)
        ctl_list(ctl, items, columns, sizeof columns / sizeof *columns, "barrier");
    json_decref(items);
    return done;
}

/* --- choosing a barrier -------------------------------------------------------------------------
 */

static bool list_of(Ctl *ctl, const char *group, const char *state, const char *until,
                    json_t **items, Err *err)
{
    scoped(buf_free) Buf path = {0};
    buf_printf(&path, "/groups");
    ctl_query(&path, "group", group);
    ctl_query(&path, "state", state);
    ctl_query(&path, "until", until);
    return client_list(ctl->client, buf_cstr(&path), 0, items, err);
}

static bool is_group(Ctl *ctl, const char *name, bool *yes, Err *err)
{
    json_t *items = NULL;
    bool done = list_of(ctl, name, NULL, NULL, &items, err);
    *yes = json_array_size(items) != 0;
    json_decref(items);
    return done;
}

bool ctl_group_select(Ctl *ctl, const char *selector, json_t **barrier, Err *err)
{
    bool yes = false;
    long steps = 0;
    json_t *items = NULL;
    const char *at = strrchr(selector, '@');
    scoped(buf_free) Buf name = {0};
    *barrier = NULL;
    if (strncasecmp(selector, "bk_", 3) == 0)
        return true;
    buf_add(&name, selector, at == NULL ? strlen(selector) : (size_t)(at - selector));
    if (!is_group(ctl, buf_cstr(&name), &yes, err) || !yes)
        return err->code == ERR_NONE;
    const char *until = at != NULL && !ctl_steps_back(at + 1, &steps) ? at + 1 : NULL;
    bool done = list_of(ctl, buf_cstr(&name), "complete", until, &items, err);
    if (done && json_array_size(items) <= (size_t)steps)
        done = err_set(err, ERR_MISSING, "group.no_barrier",
                       "there is no complete barrier for '%s'. See:  holdfast group list %s",
                       selector, buf_cstr(&name));
    if (done)
        *barrier = json_incref(json_array_get(items, (size_t)steps));
    json_decref(items);
    return done;
}

/* --- restoring ----------------------------------------------------------------------------------
 */

/* Where one member goes: of "bank=copy,files=/srv/copy". An empty Text: it is not named. */
static Text target_of(const char *to, const char *member)
{
    size_t len = strlen(member);
    for (const char *at = to; at != NULL; at = strchr(at, ',')) {
        at += *at == ',';
        if (strncmp(at, member, len) == 0 && at[len] == '=')
            return (Text){at + len + 1, strcspn(at + len + 1, ",")};
    }
    return (Text){0};
}

static bool check_in_place(const Ctl *ctl, const char *group, Err *err)
{
    if (ctl->args->to != NULL)
        return err_set(err, ERR_USAGE, "restore.group",
                       "say either --in-place or where each member goes: --to MEMBER=TARGET,...");
    if (ctl->args->confirm == NULL || strcmp(ctl->args->confirm, group) != 0)
        return err_set(err, ERR_USAGE, "restore.confirm",
                       "a restore in place overwrites each member of the group: confirm it with "
                       "its name,  --confirm %s",
                       group);
    return true;
}

static bool check_targets(const Ctl *ctl, const json_t *barrier, const json_t *members, Err *err)
{
    size_t i;
    const json_t *member;
    if (ctl->args->only.count + ctl->args->glob.count + ctl->args->table.count != 0 ||
        ctl->args->until != NULL || ctl->args->tablespace.count + ctl->args->with.count != 0 ||
        ctl->args->delta)
        return err_set(
            err, ERR_USAGE, "restore.group",
            "a group is restored whole: take out --delta, --only, --glob, --table, --until, --with "
            "and --tablespace, or restore its members one by one");
    if (ctl->args->in_place)
        return check_in_place(ctl, print_text_at(barrier, "group"), err);
    json_array_foreach(members, i, member)
    {
        const char *name = print_text_at(member, "source");
        if (ctl->args->to == NULL || target_of(ctl->args->to, name).len == 0)
            return err_set(err, ERR_USAGE, "restore.where",
                           "say where '%s' goes, and each other member: --to %s=TARGET,...; or "
                           "--in-place --confirm %s",
                           name, name, print_text_at(barrier, "group"));
    }
    return true;
}

/* A plan of each member; *plans are their jobs, *requests what was asked. */
static bool plan_all(Ctl *ctl, const json_t *members, json_t *requests, json_t *plans, Err *err)
{
    size_t i;
    const json_t *member;
    json_array_foreach(members, i, member)
    {
        json_t *backup = NULL, *plan = NULL;
        const char *name = print_text_at(member, "source");
        Text to = ctl->args->in_place ? (Text){0} : target_of(ctl->args->to, name);
        if (!ctl_select(ctl, print_text_at(member, "backup"), &backup, err))
            return err_note(err, "the member %s", name);
        json_t *request = ctl_restore_request(ctl, backup);
        if (ctl->args->in_place) /* the group's name stands for each of its members' */
            json_object_set_new(request, "confirm", json_string(name));
        else
            json_object_set_new(request, "to", json_stringn(to.at, to.len));
        json_array_append_new(requests, request);
        bool done = ctl_restore_plan(ctl, request, &plan, err);
        if (done && !(ctl_wants_json(ctl) || ctl->args->quiet))
            ctl_restore_show(ctl, backup, json_object_get(plan, "answer"));
        if (plan != NULL)
            json_array_append_new(plans, plan);
        json_decref(backup);
        if (!done)
            return err_note(err, "the member %s", name);
    }
    return true;
}

static bool go_all(Ctl *ctl, const json_t *requests, const json_t *plans, Err *err)
{
    size_t i;
    json_t *request, *jobs = json_array();
    bool done = true;
    json_array_foreach(requests, i, request)
    {
        json_t *job = NULL;
        json_object_set(request, "plan", json_object_get(json_array_get(plans, i), "id"));
        done = done && client_send(ctl->client, "POST", "/restores", request, &job, err);
        if (job != NULL)
            json_array_append_new(jobs, job);
    }
    done = done && ctl_started(ctl, jobs, err);
    json_decref(jobs);
    return done;
}

/* How each member stands when one failed: what is back, what is not, what was not begun. */
static bool tell_halfway(const json_t *members, const json_t *ended, Err *err)
{
    size_t i;
    const json_t *member;
    scoped(buf_free) Buf said = {0};
    size_t done = json_array_size(ended);
    json_array_foreach(members, i, member)
    {
        const char *name = print_text_at(member, "source");
        const char *safety = print_text_at(json_array_get(ended, i), "answer.safety.backup");
        if (i + 1 < done && safety[0] != 0)
            buf_printf(&said, "%s is restored (back:  holdfast restore %s --in-place --confirm %s)",
                       name, safety, name);
        else
            buf_printf(&said, "%s %s", name,
                       i + 1 < done    ? "is restored"
                       : i + 1 == done ? "failed"
                                       : "was not begun");
        buf_add_text(&said, i + 1 < json_array_size(members) ? TEXT(", ") : TEXT(""));
    }
    return err_note(err, "the group is not of one instant now: %s", buf_cstr(&said));
}

static bool member_in_place(Ctl *ctl, json_t *request, const json_t *plan, json_t *ended, Err *err)
{
    json_t *made = NULL, *job = NULL;
    json_object_set(request, "plan", json_object_get(plan, "id"));
    bool done = client_send(ctl->client, "POST", "/restores", request, &made, err) &&
                follow_to_end(ctl->client, print_text_at(made, "id"), &job, err);
    json_array_append_new(ended, job != NULL ? job : json_object());
    if (done && strcmp(print_text_at(job, "state"), "completed") != 0)
        done = err_set(err, ERR_CONFLICT, "restore.group", "%s is %s: %s", print_text_at(job, "id"),
                       print_text_at(job, "state"), print_text_at(job, "error.text"));
    json_decref(made);
    return done;
}

/* One after the other: the next begins only when what was there before it is well. */
static bool go_in_place(Ctl *ctl, const json_t *members, const json_t *requests,
                        const json_t *plans, Err *err)
{
    size_t i;
    json_t *request, *ended = json_array();
    bool done = true;
    json_array_foreach(requests, i, request)
    {
        const char *name = print_text_at(json_array_get(members, i), "source");
        done = done && member_in_place(ctl, request, json_array_get(plans, i), ended, err);
        if (!done)
            break;
        if (!ctl->args->quiet && !ctl_wants_json(ctl)) {
            print_safe(stdout, name);
            printf(": ");
            print_safe(stdout, print_text_at(json_array_get(ended, i), "error.text"));
            printf("\n");
        }
    }
    if (ctl_wants_json(ctl))
        print_json(stdout, ended);
    done = done || tell_halfway(members, ended, err);
    json_decref(ended);
    return done;
}

bool ctl_group_restore(Ctl *ctl, const json_t *barrier, Err *err)
{
    const json_t *members = json_object_get(barrier, "members");
    json_t *requests = json_array(), *plans = json_array();
    if (!ctl->args->quiet && !ctl_wants_json(ctl))
        fprintf(stderr, "barrier      %s of group %s, at %s\n", print_text_at(barrier, "barrier"),
                print_text_at(barrier, "group"), print_text_at(barrier, "at"));
    bool done =
        check_targets(ctl, barrier, members, err) && plan_all(ctl, members, requests, plans, err);
    if (done && (ctl->args->plan || ctl->args->dry_run)) {
        if (ctl_wants_json(ctl))
            print_json(stdout, plans);
    } else if (done) {
        done = ctl_restore_agreed(ctl, err) &&
               (ctl->args->in_place ? go_in_place(ctl, members, requests, plans, err)
                                    : go_all(ctl, requests, plans, err));
    }
    json_decref(requests);
    json_decref(plans);
    return done;
}

/* --- running ------------------------------------------------------------------------------------
 */

/* The barrier that a job began; NULL: it leads none. */
static bool barrier_of(Ctl *ctl, const json_t *job, json_t **barrier, Err *err)
{
    size_t i;
    json_t *items = NULL, *item;
    const json_t *seat = json_object_get(json_object_get(job, "params"), "group");
    *barrier = NULL;
    if (!json_bool_or(seat, "lead", false))
        return true;
    bool done = list_of(ctl, print_text_at(seat, "name"), NULL, NULL, &items, err);
    json_array_foreach(items, i, item)
    {
        if (*barrier == NULL &&
            strcmp(print_text_at(item, "barrier"), print_text_at(seat, "run")) == 0)
            *barrier = json_incref(item);
    }
    json_decref(items);
    return done;
}

bool ctl_group_members(Ctl *ctl, json_t *jobs, Err *err)
{
    size_t count = json_array_size(jobs);
    for (size_t i = 0; i < count; i++) {
        const json_t *lead = json_array_get(jobs, i);
        size_t m;
        json_t *barrier = NULL, *member;
        if (!barrier_of(ctl, lead, &barrier, err))
            return false;
        json_array_foreach(json_object_get(barrier, "members"), m, member)
        {
            json_t *job = NULL;
            scoped(buf_free) Buf path = {0};
            const char *id = print_text_at(member, "job");
            buf_printf(&path, "/jobs/%s", id);
            if (id[0] == 0 || strcmp(id, print_text_at(lead, "id")) == 0)
                continue;
            if (client_get(ctl->client, buf_cstr(&path), &job, err))
                json_array_append_new(jobs, job);
        }
        json_decref(barrier);
        if (err->code != ERR_NONE)
            return false;
    }
    return true;
}

bool ctl_group_verdict(Ctl *ctl, const json_t *jobs, Err *err)
{
    size_t i;
    json_t *job;
    json_array_foreach(jobs, i, job)
    {
        json_t *barrier = NULL;
        if (!barrier_of(ctl, job, &barrier, err))
            return false;
        if (barrier != NULL && strcmp(print_text_at(barrier, "state"), "complete") != 0)
            err_set(err, ERR_SOURCE, "group.broken",
                    "the backups of group %s have no common instant (%s): %s. See:  holdfast group "
                    "list %s",
                    print_text_at(barrier, "group"), print_text_at(barrier, "state"),
                    print_text_at(barrier, "cause"), print_text_at(barrier, "group"));
        json_decref(barrier);
        if (err->code != ERR_NONE)
            return false;
    }
    return true;
}
