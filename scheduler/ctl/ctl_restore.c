/* SPDX-License-Identifier: Apache-2.0
 * A restore is two steps: a plan, which a worker with the reader key makes and which the operator
 * reads, and the restore of exactly that plan, named by the plan's token. */
#include "scheduler/ctl/ctl_restore.h"

#include "common/base/json.h"
#include "scheduler/ctl/ctl_group.h"
#include "scheduler/ctl/follow.h"

#include <strings.h>
#include <unistd.h>

/* A plan is a short job; a worker that does not answer in this time is not there. */
static const int64_t PLAN_MS = 120000;

static json_t *texts(const ArgList *list)
{
    json_t *array = json_array();
    for (size_t i = 0; i < list->count; i++)
        json_array_append_new(array, json_string(list->at[i]));
    return array;
}

/* The API's words have no hyphens. */
static void add_with(const Ctl *ctl, json_t *body)
{
    json_t *with = json_object();
    for (size_t i = 0; i < ctl->args->with.count; i++) {
        scoped(buf_free) Buf word = {0};
        for (const char *at = ctl->args->with.at[i]; *at != 0; at++)
            buf_add_byte(&word, *at == '-' ? '_' : (uint8_t)*at);
        json_object_set_new(with, buf_cstr(&word), json_true());
    }
    json_object_set_new(body, "with", with);
}

/* Adds to what says which backup: `backup`, or `source` with or without `at`. */
static void add_request(const Ctl *ctl, json_t *body)
{
    json_t *select = json_object();
    if (ctl->args->to != NULL)
        json_object_set_new(body, "to", json_string(ctl->args->to));
    if (ctl->args->pool != NULL)
        json_object_set_new(body, "pool", json_string(ctl->args->pool));
    if (ctl->args->from != NULL)
        json_object_set_new(body, "from", json_string(ctl->args->from));
    if (ctl->args->until != NULL)
        json_object_set_new(body, "until", json_string(ctl->args->until));
    if (ctl->args->in_place)
        json_object_set_new(body, "in_place", json_true());
    if (ctl->args->delta)
        json_object_set_new(body, "delta", json_true());
    if (ctl->args->no_safety_backup)
        json_object_set_new(body, "no_safety_backup", json_true());
    if (ctl->args->confirm != NULL)
        json_object_set_new(body, "confirm", json_string(ctl->args->confirm));
    if (ctl->args->grant != NULL)
        json_object_set_new(body, "grant", json_string(ctl->args->grant));
    if (ctl->args->file != NULL)
        json_object_set_new(body, "file", json_string(ctl->args->file));
    if (ctl->args->reason != NULL)
        json_object_set_new(body, "reason", json_string(ctl->args->reason));
    if (ctl->args->only.count != 0)
        json_object_set_new(select, "paths", texts(&ctl->args->only));
    if (ctl->args->glob.count != 0)
        json_object_set_new(select, "globs", texts(&ctl->args->glob));
    if (ctl->args->table.count != 0)
        json_object_set_new(select, "tables", texts(&ctl->args->table));
    json_object_set_new(body, "select", select);
    if (ctl->args->with.count != 0)
        add_with(ctl, body);
}

/* OLD=NEW; an equals sign that belongs to OLD is written \=, as pg_basebackup has it. */
static bool add_tablespaces(const Ctl *ctl, json_t *body, Err *err)
{
    json_t *map = json_object();
    json_object_set_new(body, "tablespaces", map);
    for (size_t i = 0; i < ctl->args->tablespace.count; i++) {
        scoped(buf_free) Buf old = {0};
        const char *at = ctl->args->tablespace.at[i];
        for (; *at != 0 && *at != '='; at++) {
            at += *at == '\\' && at[1] == '=';
            buf_add_byte(&old, (uint8_t)*at);
        }
        if (old.len == 0 || *at == 0 || at[1] != '/')
            return err_set(err, ERR_USAGE, "restore.tablespaces",
                           "'%s' maps no tablespace: write --tablespace /old/directory=/new/one, "
                           "or its number first, as 16384=/new/one",
                           ctl->args->tablespace.at[i]);
        if (json_object_get(map, buf_cstr(&old)) != NULL)
            return err_set(err, ERR_USAGE, "restore.tablespaces", "tablespace %s is mapped twice",
                           buf_cstr(&old));
        json_object_set_new(map, buf_cstr(&old), json_string(at + 1));
    }
    return true;
}

/* "16384: /srv/fast -> /new/fast; 16390: ..." */
static json_t *tablespaces_text(const json_t *plan)
{
    size_t i;
    const json_t *space;
    scoped(buf_free) Buf text = {0};
    json_array_foreach(json_object_get(plan, "tablespaces"), i, space)
    {
        buf_printf(&text, "%s%lld: ", i == 0 ? "" : "; ",
                   (long long)json_integer_value(json_object_get(space, "oid")));
        print_add_safe(&text, print_text_at(space, "from"));
        buf_add_text(&text, TEXT(" -> "));
        print_add_safe(&text, print_text_at(space, "path"));
    }
    return text.len == 0 ? NULL : json_string(buf_cstr(&text));
}

/* "about 38m 2s, measured 2026-11-19 (rto 1h 0m)". No basis, no time. */
static json_t *takes_text(const json_t *plan)
{
    scoped(buf_free) Buf text = {0};
    const json_t *seconds = json_object_get(plan, "takes_seconds");
    const json_t *rto = json_object_get(plan, "rto_seconds");
    const char *basis = print_text_at(plan, "takes_basis");
    if (!json_is_number(seconds))
        return NULL;
    buf_add_text(&text, strcmp(basis, "checked") == 0 ? TEXT("at least ") : TEXT("about "));
    print_span(&text, (int64_t)json_number_value(seconds));
    buf_printf(&text, ", measured %.10s%s", print_text_at(plan, "takes_measured_at"),
               strcmp(basis, "checked") == 0  ? " by a check"
               : strcmp(basis, "others") == 0 ? " of other sources"
                                              : "");
    if (json_is_integer(rto)) {
        buf_add_text(&text, TEXT(" (rto "));
        print_span(&text, json_integer_value(rto));
        buf_add_text(&text, TEXT(")"));
    }
    return json_string(buf_cstr(&text));
}

void ctl_restore_show(const Ctl *ctl, const json_t *backup, const json_t *plan)
{
    static const PrintColumn columns[] = {
        {"backup", "id", AS_TEXT},
        {"source", "source", AS_TEXT},
        {"consistent", "consistent_at", AS_WHEN},
        {"size", "bytes", AS_BYTES},
        {"stored", "stored_bytes", AS_BYTES},
    };
    static const PrintColumn effects[] = {
        {"file", "file", AS_TEXT},
        {"packed as", "format", AS_TEXT},
        {"size", "file_bytes", AS_BYTES},
        {"from", "from", AS_TEXT},
        {"to", "target", AS_TEXT},
        {"exists", "exists", AS_TEXT},
        {"creates", "creates", AS_TEXT},
        {"first", "first", AS_TEXT},
        {"replaces", "replaces", AS_TEXT},
        {"entries", "entries", AS_COUNT},
        {"free there", "free_bytes", AS_BYTES},
        {"takes", "takes", AS_TEXT},
        {"tablespaces", "spaces", AS_TEXT},
        {"with", "given", AS_TEXT},
        {"warning", "warning", AS_TEXT},
    };
    if (backup != NULL)
        print_card(stderr, backup, columns, sizeof columns / sizeof *columns, ctl->args->utc);
    scoped(json_release) json_t *shown = json_copy((json_t *)(uintptr_t)plan);
    json_t *takes = takes_text(plan);
    if (takes != NULL)
        json_object_set_new(shown, "takes", takes);
    json_t *spaces = tablespaces_text(plan);
    if (spaces != NULL)
        json_object_set_new(shown, "spaces", spaces);
    print_card(stderr, shown, effects, sizeof effects / sizeof *effects, ctl->args->utc);
}

/* Asks on a terminal; refuses where nobody can answer. */
bool ctl_restore_agreed(const Ctl *ctl, Err *err)
{
    char answer[16];
    if (ctl->args->yes)
        return true;
    if (ctl->args->no_input || isatty(STDIN_FILENO) != 1)
        return err_set(err, ERR_CONFLICT, "restore.not_agreed",
                       "nobody is here to agree to this plan; say --yes to go on");
    fprintf(stderr, "Restore? [y/N] ");
    if (fgets(answer, sizeof answer, stdin) != NULL && (answer[0] == 'y' || answer[0] == 'Y'))
        return true;
    return err_set(err, ERR_CANCELLED, "restore.not_agreed", "nothing was restored");
}

/* The plan's job ends with the plan as its answer. */
bool ctl_restore_plan(Ctl *ctl, const json_t *request, json_t **plan_job, Err *err)
{
    json_t *job = NULL;
    if (!client_send(ctl->client, "POST", "/restores/plan", request, &job, err))
        return false;
    bool done = follow_quietly(ctl->client, print_text_at(job, "id"), PLAN_MS, plan_job, err);
    json_decref(job);
    if (!done)
        return err_note(err, "planning the restore");
    if (strcmp(print_text_at(*plan_job, "state"), "completed") != 0)
        return err_set(err, ERR_CONFLICT,
                       print_text_at(*plan_job, "error.cause")[0] == 0
                           ? "restore.plan"
                           : print_text_at(*plan_job, "error.cause"),
                       "%s", print_text_at(*plan_job, "error.text"));
    return true;
}

static bool go(Ctl *ctl, json_t *request, const json_t *plan_job, Err *err)
{
    json_object_set(request, "plan", json_object_get(plan_job, "id"));
    return ctl_start(ctl, "POST", "/restores", request, err);
}

/* A source's name stands for its newest good backup, NAME@TIME for the newest before it; of those
 * that are followed to a time, for the newest before that. An id, or latest~1, is taken as it is.
 */
bool ctl_restore_which(Ctl *ctl, const char *selector, const char *until, json_t *body, Err *err)
{
    const char *at = strrchr(selector, '@');
    if (strncasecmp(selector, "bk_", 3) == 0 || (at != NULL && strncmp(at, "@latest~", 8) == 0)) {
        json_t *backup = NULL;
        if (!ctl_select(ctl, selector, &backup, err))
            return false;
        json_object_set(body, "backup", json_object_get(backup, "id"));
        json_decref(backup);
        return true;
    }
    if (ctl->args->file != NULL)
        at = NULL; /* a source's own name: a file has no dates */
    size_t len = at == NULL ? strlen(selector) : (size_t)(at - selector);
    json_object_set_new(body, "source", json_stringn(selector, len));
    if (at != NULL && strcmp(at, "@latest") != 0)
        json_object_set_new(body, "at", json_string(at + 1));
    else if (at == NULL && until != NULL && strchr(until, 'T') != NULL &&
             strchr(until, ':') != NULL && strncmp(until, "name:", 5) != 0)
        json_object_set_new(body, "at", json_string(until));
    return true;
}

/* What was newer and was not taken is said before anything else. */
void ctl_restore_tell_skipped(const json_t *plan)
{
    size_t i;
    const json_t *one;
    json_array_foreach(json_object_get(plan, "skipped"), i, one)
    {
        scoped(buf_free) Buf line = {0};
        buf_add_text(&line, TEXT("skipped "));
        print_add_safe(&line, print_text_at(one, "backup"));
        buf_add_text(&line, TEXT(": "));
        print_add_safe(&line, print_text_at(one, "why"));
        fprintf(stderr, "%s\n", buf_cstr(&line));
    }
}

json_t *ctl_restore_request(const Ctl *ctl, const json_t *backup)
{
    json_t *body = json_object();
    add_request(ctl, body);
    json_object_set(body, "backup", json_object_get(backup, "id"));
    return body;
}

static bool fetch_planned(Ctl *ctl, const json_t *plan, json_t **backup, Err *err)
{
    scoped(buf_free) Buf path = {0};
    buf_printf(&path, "/backups/");
    http_escape(&path, text_of(print_text_at(plan, "backup")));
    return client_get(ctl->client, buf_cstr(&path), backup, err);
}

static bool show(Ctl *ctl, const json_t *plan, Err *err)
{
    json_t *backup = NULL;
    if (ctl->args->file == NULL && !fetch_planned(ctl, plan, &backup, err))
        return false;
    ctl_restore_tell_skipped(plan);
    ctl_restore_show(ctl, backup, plan);
    json_decref(backup);
    return true;
}

bool ctl_restore(Ctl *ctl, Err *err)
{
    const char *selector;
    json_t *plan_job = NULL;
    json_t *barrier = NULL;
    if (!ctl_word(ctl, 0, &selector, err) ||
        (ctl->args->file == NULL && !ctl_group_select(ctl, selector, &barrier, err)))
        return false;
    if (barrier != NULL) {
        bool restored = ctl_group_restore(ctl, barrier, err);
        json_decref(barrier);
        return restored;
    }
    if (ctl->args->to == NULL && !ctl->args->in_place)
        return err_set(
            err, ERR_USAGE, "restore.where",
            "say where: --to DIRECTORY or --to DATABASE, or --in-place --confirm SOURCE");
    json_t *request = json_object();
    add_request(ctl, request);
    bool done = add_tablespaces(ctl, request, err) &&
                ctl_restore_which(ctl, selector, ctl->args->until, request, err) &&
                ctl_restore_plan(ctl, request, &plan_job, err);
    const json_t *plan = json_object_get(plan_job, "answer");
    if (done && (ctl->args->plan || ctl->args->dry_run)) {
        if (ctl_wants_json(ctl))
            print_json(stdout, plan);
        else
            done = show(ctl, plan, err);
    } else if (done) {
        if (!ctl->args->quiet && !ctl_wants_json(ctl))
            done = show(ctl, plan, err);
        done = done && ctl_restore_agreed(ctl, err) && go(ctl, request, plan_job, err);
    }
    json_decref(request);
    json_decref(plan_job);
    return done;
}
