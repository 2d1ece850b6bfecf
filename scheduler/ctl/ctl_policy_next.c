/* SPDX-License-Identifier: Apache-2.0 */
#include "scheduler/ctl/ctl.h"

static const PrintColumn next_columns[] = {
    {"AT", "at", AS_WHEN},     {"SOURCE", "source", AS_TEXT}, {"SCHEDULE", "schedule", AS_TEXT},
    {"RULE", "rule", AS_TEXT}, {"NOTE", "note", AS_TEXT},
};

static bool says(const json_t *item, const char *key, const char *word)
{
    return strcmp(print_text_at(item, key), word) == 0;
}

static void print_slots(const json_t *item)
{
    size_t i;
    json_t *slot;
    json_array_foreach(json_object_get(item, "next"), i, slot)
    {
        printf("%s", i == 0 ? "  next      " : "            ");
        print_safe(stdout, print_text_at(slot, "local"));
        printf("  (");
        print_safe(stdout, print_text_at(slot, "at"));
        printf(")%s", print_at(slot, "note") == NULL ? "" : "  ");
        print_safe(stdout, print_text_at(slot, "note"));
        printf("\n");
    }
    if (i == 0)
        printf("  next      never\n");
}

/* What may keep a slot from running, in the order in which it is asked. */
static void print_conditions(const json_t *item)
{
    scoped(buf_free) Buf span = {0};
    if (json_is_true(json_object_get(item, "paused")))
        printf("  paused    its source is paused: slots are skipped until it is resumed\n");
    printf("  overlap   %s\n", says(item, "overlap", "queue")
                                   ? "waits while the one before still runs"
                                   : "skipped while the one before still runs");
    if (print_at(item, "start_deadline_s") != NULL) {
        print_span(&span, print_number_at(item, "start_deadline_s"));
        printf("  deadline  missed when it cannot start within %s\n", buf_cstr(&span));
    }
    printf("  catch-up  after a time without a scheduler %s\n",
           says(item, "catch_up", "none") ? "nothing is made good"
                                          : "the newest slot runs for all that were missed");
}

static void print_explained(const json_t *item)
{
    scoped(buf_free) Buf head = {0};
    const char *rule = print_text_at(item, "rule");
    const char *fields = print_text_at(item, "fields");
    buf_printf(&head, "%s %s  \"%s\"", print_text_at(item, "source"),
               print_text_at(item, "schedule"), rule);
    if (strcmp(rule, fields) != 0)
        buf_printf(&head, " = \"%s\"", fields);
    buf_printf(&head, ": %s, clocks of %s", print_text_at(item, "words"),
               print_text_at(item, "timezone"));
    print_safe(stdout, buf_cstr(&head));
    printf("\n");
    print_slots(item);
    print_conditions(item);
}

static bool explain(Ctl *ctl, const char *source, Err *err)
{
    size_t i;
    json_t *item;
    json_t *items = NULL;
    json_t *answer = NULL;
    scoped(buf_free) Buf path = {0};
    buf_printf(&path, "/sources/");
    http_escape(&path, text_of(source));
    buf_printf(&path, "/schedule");
    if (!client_get(ctl->client, buf_cstr(&path), &answer, err))
        return false;
    items = json_object_get(answer, "items");
    if (ctl_wants_json(ctl))
        print_json(stdout, items);
    else if (json_array_size(items) == 0)
        printf("it has no schedule: it runs by hand only\n");
    else
        json_array_foreach(items, i, item)
        {
            print_explained(item);
        }
    json_decref(answer);
    return true;
}

bool ctl_policy_next(Ctl *ctl, Err *err)
{
    scoped(buf_free) Buf path = {0};
    json_t *items = NULL;
    const char *source = ctl->args->words.count != 0 ? ctl->args->words.at[0] : ctl->args->source;
    if (ctl->args->explain && source == NULL)
        return err_set(err, ERR_USAGE, "usage.words",
                       "--explain is about one source:  holdfast policy next SOURCE --explain");
    if (ctl->args->explain)
        return explain(ctl, source, err);
    buf_printf(&path, "/schedule");
    ctl_query(&path, "for", ctl->args->span);
    ctl_query(&path, "source", source);
    bool done = client_list(ctl->client, buf_cstr(&path), 0, &items, err);
    if (done)
        ctl_list(ctl, items, next_columns, sizeof next_columns / sizeof *next_columns, "source");
    json_decref(items);
    return done;
}
