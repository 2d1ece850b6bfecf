/* SPDX-License-Identifier: Apache-2.0
 * What a fleet file would change, and what lies between two versions, for eyes: sources that change
 * in the same way stand together, so that one edit of a policy is one paragraph. */
#include "scheduler/ctl/ctl_policy.h"

#include <stdlib.h>

/* Names that are written out; more are counted. */
enum { NAMES_MOST = 3, EXIT_DIFFERS = 10 };

/* Sources with the same changes. */
typedef struct Group {
    const json_t *fields;
    json_t *names;
} Group;

static bool ends_with(const char *text, const char *end)
{
    size_t len = strlen(text);
    size_t tail = strlen(end);
    return len > tail && strcmp(text + len - tail, end) == 0;
}

/* A value as it would be written: seconds as a span, text in quotes where it needs them. */
static void add_value(Buf *out, const char *path, const json_t *value)
{
    if (value == NULL || json_is_null(value)) {
        buf_printf(out, "-");
    } else if (ends_with(path, "_s") && json_is_integer(value)) {
        print_span(out, json_integer_value(value));
    } else if (ends_with(path, "rate") && json_is_integer(value)) {
        print_bytes(out, json_integer_value(value));
        buf_printf(out, "/s");
    } else {
        const char *text = json_string_value(value);
        char *dump = text != NULL && strpbrk(text, " \t") == NULL && *text != 0
                         ? NULL
                         : json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY);
        print_add_safe(out, dump != NULL ? dump : text);
        free(dump);
    }
}

/* "    schedules.default.at  "H 2 * * *" → "H 1 * * *"". */
static void print_fields(const json_t *fields, const char *indent)
{
    size_t i;
    json_t *field;
    json_array_foreach(fields, i, field)
    {
        scoped(buf_free) Buf line = {0};
        const char *path = print_text_at(field, "path");
        buf_printf(&line, "%s", indent);
        print_add_safe(&line, path);
        if (ends_with(path, "_s"))
            line.len -= 2;
        buf_printf(&line, "  ");
        add_value(&line, path, json_object_get(field, "from"));
        buf_printf(&line, " → ");
        add_value(&line, path, json_object_get(field, "to"));
        printf("%s\n", buf_cstr(&line));
    }
}

static void add_when(Buf *out, const json_t *row, const char *key, bool utc)
{
    const char *when = json_string_value(json_object_get(row, key));
    if (when == NULL)
        buf_printf(out, "never");
    else
        print_when(out, when, utc);
}

/* Rows of a list by the source they are about: name -> [row, …]. A plan of ten thousand sources is
 * read once. */
static json_t *by_source(const json_t *list)
{
    size_t i;
    json_t *row;
    json_t *index = json_object();
    json_array_foreach(list, i, row)
    {
        const char *name =
            json_is_string(row) ? json_string_value(row) : print_text_at(row, "source");
        if (json_object_get(index, name) == NULL)
            json_object_set_new(index, name, json_array());
        json_array_append(json_object_get(index, name), row);
    }
    return index;
}

/* The next slots of one source that are others under the new policy; named: it is one of several.
 */
static void print_next(const json_t *schedules, const char *source, bool named, bool utc)
{
    size_t i;
    json_t *row;
    json_array_foreach(json_object_get(schedules, source), i, row)
    {
        scoped(buf_free) Buf line = {0};
        const char *change = print_text_at(row, "change");
        buf_printf(&line, "    %s%s%s: ", named ? source : "", named ? " " : "",
                   print_text_at(row, "schedule"));
        if (strcmp(change, "removed") == 0)
            buf_printf(&line, "no longer due; it was next ");
        else
            buf_printf(&line, "%s ", strcmp(change, "added") == 0 ? "first due" : "next due");
        add_when(&line, row, strcmp(change, "removed") == 0 ? "before" : "after", utc);
        if (strcmp(change, "moved") == 0) {
            buf_printf(&line, " (was ");
            add_when(&line, row, "before", utc);
            buf_printf(&line, ")");
        }
        print_safe(stdout, buf_cstr(&line));
        printf("\n");
    }
}

static void print_added(const json_t *plan, const json_t *schedules, bool utc)
{
    size_t i;
    json_t *item;
    json_t *starts = by_source(json_object_get(plan, "starts"));
    json_array_foreach(json_object_get(plan, "added"), i, item)
    {
        const char *name = json_string_value(item) == NULL ? "?" : json_string_value(item);
        bool starting = json_object_get(starts, name) != NULL;
        printf("+ ");
        print_safe(stdout, name);
        printf("%s\n", starting ? "  its first backup begins at once (initial: true)" : "");
        print_next(schedules, name, false, utc);
    }
    json_decref(starts);
}

/* What the row of one of them says. */
static long long number_of(const json_t *rows, const char *source, const char *key)
{
    return print_number_at(json_array_get(json_object_get(rows, source), 0), key);
}

static void print_retired(const json_t *plan)
{
    size_t i;
    json_t *item;
    json_t *cancels = by_source(json_object_get(plan, "cancels"));
    json_t *keeps = by_source(json_object_get(plan, "keeps"));
    json_array_foreach(json_object_get(plan, "retired"), i, item)
    {
        const char *name = json_string_value(item) == NULL ? "?" : json_string_value(item);
        long long jobs = number_of(cancels, name, "jobs");
        long long backups = number_of(keeps, name, "backups");
        printf("- ");
        print_safe(stdout, name);
        printf("  is no longer backed up");
        if (jobs != 0)
            printf("; %lld waiting backup%s cancelled", jobs, jobs == 1 ? " is" : "s are");
        if (backups != 0)
            printf("; its %lld backup%s", backups, backups == 1 ? " stays" : "s stay");
        printf("\n");
    }
    json_decref(cancels);
    json_decref(keeps);
}

static size_t groups_of(const json_t *changed, Group **groups)
{
    size_t i;
    size_t count = 0;
    json_t *row;
    *groups = calloc(json_array_size(changed) + 1, sizeof **groups);
    if (*groups == NULL)
        abort();
    json_t *seen = json_object(); /* the changes as text -> the group's number */
    json_array_foreach(changed, i, row)
    {
        const json_t *fields = json_object_get(row, "fields");
        char *key = json_dumps(fields, JSON_COMPACT | JSON_SORT_KEYS);
        const json_t *known = json_object_get(seen, key == NULL ? "" : key);
        size_t at = known == NULL ? count++ : (size_t)json_integer_value(known);
        if (known == NULL) {
            (*groups)[at] = (Group){fields, json_array()};
            json_object_set_new(seen, key == NULL ? "" : key, json_integer((json_int_t)at));
        }
        json_array_append((*groups)[at].names, json_object_get(row, "name"));
        free(key);
    }
    json_decref(seen);
    return count;
}

static void print_changed(const json_t *plan, const json_t *schedules, bool utc)
{
    Group *groups;
    size_t count = groups_of(json_object_get(plan, "changed"), &groups);
    for (size_t g = 0; g < count; g++) {
        size_t names = json_array_size(groups[g].names);
        printf("~ ");
        for (size_t i = 0; i < names && i < NAMES_MOST; i++) {
            const char *name = json_string_value(json_array_get(groups[g].names, i));
            printf("%s", i == 0 ? "" : ", ");
            print_safe(stdout, name == NULL ? "?" : name);
        }
        if (names > NAMES_MOST)
            printf(" and %zu more", names - NAMES_MOST);
        printf("\n");
        print_fields(groups[g].fields, "    ");
        for (size_t i = 0; i < names && i < NAMES_MOST; i++) {
            const char *name = json_string_value(json_array_get(groups[g].names, i));
            print_next(schedules, name == NULL ? "" : name, names > 1, utc);
        }
        json_decref(groups[g].names);
    }
    free(groups);
}

static void print_files(const json_t *plan)
{
    size_t i;
    json_t *row;
    json_array_foreach(json_object_get(plan, "files"), i, row)
    {
        printf("* ");
        print_safe(stdout, print_text_at(row, "name"));
        printf("  %s\n", print_text_at(row, "change"));
    }
}

static void print_difference(const json_t *body, bool utc)
{
    json_t *schedules = by_source(json_object_get(body, "schedules"));
    print_added(body, schedules, utc);
    print_changed(body, schedules, utc);
    json_decref(schedules);
    print_retired(body);
    print_fields(json_object_get(body, "settings"), "~ ");
    print_files(body);
    printf("%zu added, %zu changed, %zu retired, %d unchanged",
           json_array_size(json_object_get(body, "added")),
           json_array_size(json_object_get(body, "changed")),
           json_array_size(json_object_get(body, "retired")),
           (int)print_number_at(body, "unchanged"));
}

static void print_plan(const Ctl *ctl, const json_t *plan)
{
    bool utc = ctl->args->utc;
    size_t starts = json_array_size(json_object_get(plan, "starts"));
    int64_t version = print_number_at(plan, "version");
    scoped(buf_free) Buf against = {0};
    if (version == 0) {
        buf_printf(&against, "no policy is in force yet");
    } else {
        buf_printf(&against, "against version %lld, in force since ", (long long)version);
        print_when(&against, print_text_at(plan, "applied_at"), utc);
    }
    printf("%s\n", buf_cstr(&against));
    if (!json_is_true(json_object_get(plan, "differs"))) {
        printf("nothing differs\n");
        return;
    }
    print_difference(plan, utc);
    if (starts == 0)
        printf(". Applying starts nothing.\n");
    else
        printf(". Applying starts %zu backup%s, and nothing else.\n", starts,
               starts == 1 ? "" : "s");
    printf("Exactly this:  holdfast policy apply ");
    print_safe(stdout, ctl->args->words.at[0]);
    if (version != 0)
        printf(" --expect %.12s", print_text_at(plan, "sha256"));
    printf("\n");
}

static void note_differs(Ctl *ctl, const json_t *body)
{
    if (ctl->args->exit_code && json_is_true(json_object_get(body, "differs")))
        ctl->exit_code = EXIT_DIFFERS;
}

bool ctl_policy_plan(Ctl *ctl, Err *err)
{
    json_t *plan = NULL;
    bool done = ctl_policy_send(ctl, "POST", "/policy/plan", NULL, &plan, err);
    if (done && ctl_wants_json(ctl))
        print_json(stdout, plan);
    else if (done)
        print_plan(ctl, plan);
    if (done)
        note_differs(ctl, plan);
    json_decref(plan);
    return done;
}

bool ctl_policy_diff(Ctl *ctl, Err *err)
{
    const char *from;
    json_t *diff = NULL;
    scoped(buf_free) Buf path = {0};
    if (!ctl_word(ctl, 0, &from, err))
        return false;
    buf_printf(&path, "/policy/diff");
    ctl_query(&path, "from", from);
    if (ctl->args->words.count > 1)
        ctl_query(&path, "to", ctl->args->words.at[1]);
    if (!client_get(ctl->client, buf_cstr(&path), &diff, err))
        return false;
    if (ctl_wants_json(ctl))
        print_json(stdout, diff);
    else {
        printf("from version %d to version %d\n", (int)print_number_at(diff, "from"),
               (int)print_number_at(diff, "to"));
        print_difference(diff, ctl->args->utc);
        printf("\n");
    }
    note_differs(ctl, diff);
    json_decref(diff);
    return true;
}
