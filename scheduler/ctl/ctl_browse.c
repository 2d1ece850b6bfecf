/* SPDX-License-Identifier: Apache-2.0
 * ctl_browse.c — `holdfast backup files` and `backup diff`: what a worker with the reader key
 * lists. */
#include "common/base/json.h"
#include "scheduler/ctl/ctl.h"
#include "scheduler/ctl/follow.h"

#include <stdio.h>
#include <string.h>

/* A listing comes from a worker that has the reader key; it is short or it is not coming. */
enum { LISTING_MS = 120000, LISTED = 1000 };

static const PrintColumn file_columns[] = {
    {"TYPE", "type", AS_TEXT},
    {"SIZE", "size", AS_BYTES},
    {"MODIFIED", "mtime", AS_WHEN},
    {"PATH", "path", AS_TEXT},
};

static const PrintColumn diff_columns[] = {
    {"CHANGE", "change", AS_TEXT}, {"WHAT", "what", AS_TEXT}, {"TYPE", "type", AS_TEXT},
    {"SIZE", "size", AS_BYTES},    {"PATH", "path", AS_TEXT},
};

#define COUNT(array) (sizeof(array) / sizeof *(array))

/* What is to be listed: a path of the API, and what it is asked. */
typedef struct Listing {
    const char *id;      /* of the backup */
    const char *what;    /* "files" or "diff" */
    const char *prefix;  /* NULL: all */
    const char *against; /* id of another backup, or NULL */
    bool children;
} Listing;

static bool list_page(Ctl *ctl, const Listing *listing, size_t limit, const char *cursor,
                      json_t **ended, Err *err)
{
    char number[24];
    json_t *job = NULL;
    scoped(buf_free) Buf path = {0};
    snprintf(number, sizeof number, "%zu", limit);
    buf_printf(&path, "/backups/%s/%s", listing->id, listing->what);
    ctl_query(&path, "prefix", listing->prefix);
    ctl_query(&path, "against", listing->against);
    ctl_query(&path, "children", listing->children ? "true" : NULL);
    ctl_query(&path, "limit", number);
    ctl_query(&path, "cursor", cursor);
    bool done = client_get(ctl->client, buf_cstr(&path), &job, err) &&
                follow_quietly(ctl->client, print_text_at(job, "id"), LISTING_MS, ended, err);
    json_decref(job);
    if (done && strcmp(print_text_at(*ended, "state"), "completed") != 0)
        return err_set(err, ERR_IO, "backup.files", "%s", print_text_at(*ended, "error.text"));
    if (done && listing->against != NULL && print_at(*ended, "answer.against") == NULL)
        return err_set(err, ERR_IO, "backup.diff",
                       "the worker that answered compares no backups: upgrade it");
    return done;
}

/* Page after page, until the limit or the end. */
static bool list_all(Ctl *ctl, const Listing *listing, json_t *items, bool *more, Err *err)
{
    size_t limit;
    if (!ctl_limit(ctl, LISTED, &limit, err))
        return false;
    scoped(json_release) json_t *ended = NULL;
    do {
        json_t *page = NULL;
        const char *cursor = json_string_value(print_at(ended, "answer.next_cursor"));
        if (!list_page(ctl, listing, limit - json_array_size(items), cursor, &page, err)) {
            json_decref(page);
            return false;
        }
        json_decref(ended);
        ended = page;
        json_array_extend(items, json_object_get(json_object_get(ended, "answer"), "items"));
        *more = json_is_string(print_at(ended, "answer.next_cursor"));
    } while (*more && json_array_size(items) < limit);
    return true;
}

/* "content, mtime" instead of a list. */
static void say_what(json_t *items)
{
    size_t i;
    json_t *row;
    json_array_foreach(items, i, row)
    {
        size_t j;
        const json_t *one;
        scoped(buf_free) Buf words = {0};
        json_array_foreach(json_object_get(row, "what"), j, one)
            buf_printf(&words, "%s%s", j == 0 ? "" : ", ", json_string_value(one));
        json_object_set_new(row, "what", json_string(buf_cstr(&words)));
    }
}

static bool show(Ctl *ctl, const Listing *listing, const PrintColumn *columns, size_t count,
                 Err *err)
{
    bool more = false;
    scoped(json_release) json_t *items = json_array();
    if (!list_all(ctl, listing, items, &more, err))
        return false;
    if (listing->against != NULL && !ctl_wants_json(ctl))
        say_what(items);
    ctl_list(ctl, items, columns, count, "path");
    if (more && !ctl->args->quiet)
        fprintf(stderr, "there is more: narrow it with a PREFIX, or raise --limit\n");
    return true;
}

static const char *word(const Ctl *ctl, size_t at)
{
    return ctl->args->words.count > at ? ctl->args->words.at[at] : NULL;
}

bool ctl_backup_files(Ctl *ctl, Err *err)
{
    const char *selector;
    scoped(json_release) json_t *found = NULL;
    if (!ctl_word(ctl, 0, &selector, err) || !ctl_select(ctl, selector, &found, err))
        return false;
    Listing listing = {.id = print_text_at(found, "id"),
                       .what = "files",
                       .prefix = word(ctl, 1),
                       .children = ctl->args->children};
    return show(ctl, &listing, file_columns, COUNT(file_columns), err);
}

bool ctl_backup_diff(Ctl *ctl, Err *err)
{
    const char *from, *to;
    scoped(json_release) json_t *before = NULL;
    scoped(json_release) json_t *after = NULL;
    if (!ctl_word(ctl, 0, &from, err) || !ctl_word(ctl, 1, &to, err) ||
        !ctl_select(ctl, from, &before, err) || !ctl_select(ctl, to, &after, err))
        return false;
    Listing listing = {.id = print_text_at(after, "id"),
                       .what = "diff",
                       .prefix = word(ctl, 2),
                       .against = print_text_at(before, "id")};
    return show(ctl, &listing, diff_columns, COUNT(diff_columns), err);
}
