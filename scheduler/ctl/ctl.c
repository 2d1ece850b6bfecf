/* SPDX-License-Identifier: Apache-2.0 */
#include "scheduler/ctl/ctl.h"

#include "scheduler/ctl/follow.h"

#include <ctype.h>
#include <stdlib.h>
#include <strings.h>

static bool wants(const Ctl *ctl, const char *format)
{
    return ctl->args->output != NULL && strcmp(ctl->args->output, format) == 0;
}

bool ctl_wants_json(const Ctl *ctl)
{
    return wants(ctl, "json") || wants(ctl, "ndjson");
}

enum { LIST_COLUMNS = 16, FIELD_ROOM = 64 };

/* "a,b.c" as columns of these paths; the title is the path, loud. */
static size_t field_columns(const char *fields, PrintColumn columns[LIST_COLUMNS],
                            char titles[LIST_COLUMNS][FIELD_ROOM],
                            char paths[LIST_COLUMNS][FIELD_ROOM])
{
    size_t count = 0;
    for (const char *at = fields; *at != 0 && count < LIST_COLUMNS; count++) {
        size_t len = strcspn(at, ",");
        snprintf(paths[count], FIELD_ROOM, "%.*s", (int)len, at);
        for (size_t i = 0; i < FIELD_ROOM; i++)
            titles[count][i] = (char)toupper((unsigned char)paths[count][i]);
        columns[count] = (PrintColumn){titles[count], paths[count], AS_TEXT};
        at += len + (at[len] == ',');
    }
    return count;
}

static json_t *only_fields(const json_t *items, const PrintColumn *columns, size_t count)
{
    size_t i;
    json_t *item;
    json_t *all = json_array();
    json_array_foreach(items, i, item)
    {
        json_t *some = json_object();
        for (size_t c = 0; c < count; c++) {
            const json_t *value = print_at(item, columns[c].path);
            json_object_set_new(some, columns[c].path,
                                value == NULL ? json_null() : json_deep_copy(value));
        }
        json_array_append_new(all, some);
    }
    return all;
}

static void print_each(const json_t *items)
{
    size_t i;
    json_t *item;
    json_array_foreach(items, i, item)
    {
        print_json_line(stdout, item);
    }
}

static void print_names(const json_t *items, const char *path)
{
    size_t i;
    json_t *item;
    json_array_foreach(items, i, item)
    {
        print_safe(stdout, print_text_at(item, path));
        putchar('\n');
    }
}

/* A table for eyes: the wide columns where they were asked for. */
static void print_columns(const Ctl *ctl, const json_t *items, const PrintColumn *columns,
                          size_t count)
{
    PrintColumn some[LIST_COLUMNS];
    size_t kept = 0;
    bool wide = wants(ctl, "wide");
    if (json_array_size(items) == 0) {
        if (!ctl->args->quiet)
            fprintf(stderr, "none\n");
        return;
    }
    for (size_t c = 0; c < count && kept < LIST_COLUMNS; c++)
        if (wide || (columns[c].as & AS_WIDE) == 0)
            some[kept++] = columns[c];
    print_table(stdout, items, some, kept, ctl->args->utc);
}

void ctl_list(const Ctl *ctl, const json_t *items, const PrintColumn *columns, size_t count,
              const char *name_path)
{
    PrintColumn own[LIST_COLUMNS];
    char titles[LIST_COLUMNS][FIELD_ROOM];
    char paths[LIST_COLUMNS][FIELD_ROOM];
    json_t *shown = json_incref((json_t *)(uintptr_t)items);
    if (ctl->args->fields != NULL) {
        count = field_columns(ctl->args->fields, own, titles, paths);
        columns = own;
        if (ctl_wants_json(ctl)) {
            json_decref(shown);
            shown = only_fields(items, own, count);
        }
    }
    if (wants(ctl, "ndjson"))
        print_each(shown);
    else if (ctl_wants_json(ctl) && ctl->args->watch)
        print_json_line(stdout, shown);
    else if (ctl_wants_json(ctl))
        print_json(stdout, shown);
    else if (wants(ctl, "name"))
        print_names(shown, name_path);
    else if (wants(ctl, "csv"))
        print_csv(stdout, shown, columns, count);
    else
        print_columns(ctl, shown, columns, count);
    json_decref(shown);
}

bool ctl_limit(const Ctl *ctl, size_t usual, size_t *limit, Err *err)
{
    char *end;
    *limit = usual;
    if (ctl->args->limit == NULL)
        return true;
    *limit = (size_t)strtoul(ctl->args->limit, &end, 10);
    return (ctl->args->limit[0] >= '1' && ctl->args->limit[0] <= '9' && *end == 0 &&
            end - ctl->args->limit < 10) ||
           err_set(err, ERR_USAGE, "usage.limit", "--limit is a number, 1 or more, not '%s'",
                   ctl->args->limit);
}

void ctl_card(const Ctl *ctl, const json_t *item, const PrintColumn *columns, size_t count)
{
    if (ctl_wants_json(ctl))
        print_json(stdout, item);
    else
        print_card(stdout, item, columns, count, ctl->args->utc);
}

void ctl_query(Buf *path, const char *name, const char *value)
{
    if (value == NULL)
        return;
    bool first = memchr(path->at, '?', path->len) == NULL;
    buf_printf(path, "%c%s=", first ? '?' : '&', name);
    http_escape(path, text_of(value));
}

bool ctl_word(const Ctl *ctl, size_t n, const char **word, Err *err)
{
    if (n < ctl->args->words.count) {
        *word = ctl->args->words.at[n];
        return true;
    }
    scoped(buf_free) Buf page = {0};
    args_help_verb(&page, ctl->args->verb);
    Text first = {(const char *)page.at, (size_t)(strchr(buf_cstr(&page), '\n') - (char *)page.at)};
    return err_set(err, ERR_USAGE, "usage.words", "an argument is missing:  %.*s", TEXT_ARG(first));
}

void ctl_outcome(const Ctl *ctl, const json_t *answer, const char *said)
{
    if (ctl_wants_json(ctl)) {
        print_json(stdout, answer);
        return;
    }
    print_safe(stdout, ctl->args->words.at[0]);
    printf("%s: ", said);
    print_safe(stdout, print_text_at(answer, "state"));
    printf("\n");
}

void ctl_would(const Ctl *ctl, const char *what, const json_t *thing, const char *name_path)
{
    const char *state = print_text_at(thing, "state");
    scoped(buf_free) Buf line = {0};
    if (ctl_wants_json(ctl)) {
        json_t *answer = json_pack("{s:b, s:s, s:O}", "dry_run", 1, "would", what, "thing", thing);
        print_json(stdout, answer);
        json_decref(answer);
        return;
    }
    buf_printf(&line, "would %s %s%s%s%s; nothing was done", what, print_text_at(thing, name_path),
               state[0] == 0 ? "" : " (now ", state, state[0] == 0 ? "" : ")");
    print_safe(stdout, buf_cstr(&line));
    printf("\n");
}

bool ctl_started(Ctl *ctl, const json_t *jobs, Err *err)
{
    size_t i;
    json_t *job;
    if (ctl->args->follow || ctl->args->wait)
        return follow_jobs(ctl->client, ctl->args, jobs, &ctl->exit_code, err);
    if (ctl_wants_json(ctl)) {
        print_json(stdout, jobs);
        return true;
    }
    json_array_foreach(jobs, i, job)
    {
        scoped(buf_free) Buf line = {0};
        const char *id = print_text_at(job, "id");
        const char *pool = print_text_at(job, "pool");
        buf_printf(&line, "%s %s %s %s", print_text_at(job, "state"), id,
                   print_text_at(job, "kind"), print_text_at(job, "source"));
        if (pool[0] != 0)
            buf_printf(&line, " (pool %s)", pool);
        buf_printf(&line, ". Follow: holdfast job follow %s", id);
        print_safe(stdout, buf_cstr(&line));
        printf("\n");
    }
    return true;
}

bool ctl_start(Ctl *ctl, const char *verb, const char *path, const json_t *body, Err *err)
{
    json_t *job = NULL;
    json_t *jobs = json_array();
    bool done = client_send(ctl->client, verb, path, body, &job, err);
    if (done) {
        json_array_append(jobs, job);
        done = ctl_started(ctl, jobs, err);
    }
    json_decref(job);
    json_decref(jobs);
    return done;
}

/* One backup by id or unique prefix. */
static bool select_by_id(Ctl *ctl, const char *id, json_t **backup, Err *err)
{
    scoped(buf_free) Buf path = {0};
    buf_printf(&path, "/backups/");
    http_escape(&path, text_of(id));
    return client_get(ctl->client, buf_cstr(&path), backup, err);
}

bool ctl_steps_back(const char *when, long *steps)
{
    char *end;
    *steps = 0;
    if (strncmp(when, "latest", 6) != 0)
        return false;
    if (when[6] == 0)
        return true;
    if (when[6] != '~')
        return false;
    *steps = strtol(when + 7, &end, 10);
    return *end == 0 && end != when + 7 && *steps >= 0 && *steps < 10000;
}

bool ctl_select(Ctl *ctl, const char *selector, json_t **backup, Err *err)
{
    scoped(buf_free) Buf path = {0};
    scoped(buf_free) Buf source = {0};
    const char *at = strrchr(selector, '@');
    long steps = 0;
    json_t *items = NULL;
    if (strncasecmp(selector, "bk_", 3) == 0)
        return select_by_id(ctl, selector, backup, err);
    buf_add(&source, selector, at == NULL ? strlen(selector) : (size_t)(at - selector));
    buf_printf(&path, "/backups");
    ctl_query(&path, "source", buf_cstr(&source));
    if (at != NULL && !ctl_steps_back(at + 1, &steps))
        ctl_query(&path, "until", at + 1);
    if (!client_list(ctl->client, buf_cstr(&path), (size_t)steps + 1, &items, err)) {
        json_decref(items);
        return false;
    }
    if (json_array_size(items) <= (size_t)steps) {
        json_decref(items);
        return err_set(err, ERR_MISSING, "backup.missing",
                       "there is no backup for '%s'. See:  holdfast backup list --source %s",
                       selector, buf_cstr(&source));
    }
    *backup = json_incref(json_array_get(items, (size_t)steps));
    json_decref(items);
    return true;
}
