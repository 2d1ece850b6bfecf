/* SPDX-License-Identifier: Apache-2.0 */
#include "common/base/json.h"
#include "scheduler/ctl/ctl.h"
#include "scheduler/ctl/follow.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

static const PrintColumn list_columns[] = {
    {"BACKUP", "id", AS_TEXT},
    {"SOURCE", "source", AS_TEXT},
    {"STATE", "state", AS_TEXT},
    {"CONSISTENT", "consistent_at", AS_WHEN},
    {"SIZE", "bytes", AS_BYTES},
    {"STORED", "stored_bytes", AS_BYTES},
    {"ENTRIES", "entries", AS_COUNT},
    {"STORE", "store", AS_TEXT},
    {"VERIFIED", "verified", AS_TEXT},
    {"GROUP", "group", AS_TEXT | AS_WIDE},
    {"BARRIER", "barrier", AS_TEXT | AS_WIDE},
    {"COMMITTED", "committed_at", AS_WHEN | AS_WIDE},
    {"NEW", "new_bytes", AS_BYTES | AS_WIDE},
    {"WORKER", "worker", AS_TEXT | AS_WIDE},
    {"KEYS", "key_set", AS_TEXT | AS_WIDE},
    {"JOB", "job", AS_TEXT | AS_WIDE},
};

static const PrintColumn card_columns[] = {
    {"backup", "id", AS_TEXT},
    {"source", "source", AS_TEXT},
    {"state", "state", AS_TEXT},
    {"job", "job", AS_TEXT},
    {"consistent", "consistent_at", AS_WHEN},
    {"position", "position", AS_TEXT},
    {"group", "group", AS_TEXT},
    {"barrier", "barrier", AS_TEXT},
    {"committed", "committed_at", AS_WHEN},
    {"sequence", "sequence", AS_COUNT},
    {"entries", "entries", AS_COUNT},
    {"size", "bytes", AS_BYTES},
    {"new content", "new_bytes", AS_BYTES},
    {"stored", "stored_bytes", AS_BYTES},
    {"store", "store", AS_TEXT},
    {"repository", "repository", AS_TEXT},
    {"key set", "key_set", AS_TEXT},
    {"worker", "worker", AS_TEXT},
    {"verified", "verified", AS_TEXT},
    {"copies", "copies", AS_TEXT},
    {"plain copies", "plain", AS_TEXT},
    {"held until", "held_until", AS_WHEN},
    {"held because", "held_reason", AS_TEXT},
    {"retention", "retention", AS_TEXT},
    {"contents", "contents", AS_TEXT},
    {"issues", "issues", AS_TEXT},
};

#define COUNT(array) (sizeof(array) / sizeof *(array))

bool ctl_backup_list(Ctl *ctl, Err *err)
{
    scoped(buf_free) Buf path = {0};
    json_t *items = NULL;
    size_t limit;
    buf_printf(&path, "/backups");
    ctl_query(&path, "source", ctl->args->source);
    ctl_query(&path, "state", ctl->args->state);
    ctl_query(&path, "store", ctl->args->store);
    ctl_query(&path, "since", ctl->args->since);
    ctl_query(&path, "until", ctl->args->until);
    bool done = ctl_limit(ctl, 50, &limit, err) &&
                client_list(ctl->client, buf_cstr(&path), limit, &items, err);
    if (done)
        ctl_list(ctl, items, list_columns, COUNT(list_columns), "id");
    json_decref(items);
    return done;
}

/* Where it lies, in words: "nas ok, s3-eu damaged (2 of its packs are damaged)". */
static json_t *in_words(const json_t *backup)
{
    size_t i;
    const json_t *place;
    json_t *card = json_copy((json_t *)(uintptr_t)backup);
    scoped(buf_free) Buf words = {0};
    json_array_foreach(json_object_get(backup, "copies"), i, place)
    {
        const char *fault = json_string_value(json_object_get(place, "fault"));
        buf_printf(&words, "%s%s %s", i == 0 ? "" : ", ", print_text_at(place, "store"),
                   print_text_at(place, "state"));
        if (fault != NULL)
            buf_printf(&words, " (%s)", fault);
    }
    json_object_set_new(card, "copies", json_string(buf_cstr(&words)));
    buf_clear(&words);
    json_array_foreach(json_object_get(backup, "plain"), i, place)
        buf_printf(&words, "%s%s/%s %s", i == 0 ? "" : ", ", print_text_at(place, "store"),
                   print_text_at(place, "file"), print_text_at(place, "state"));
    if (words.len == 0)
        json_object_del(card, "plain");
    else
        json_object_set_new(card, "plain", json_string(buf_cstr(&words)));
    return card;
}

bool ctl_backup_show(Ctl *ctl, Err *err)
{
    const char *selector;
    json_t *found = NULL;
    json_t *backup = NULL;
    scoped(buf_free) Buf path = {0};
    if (!ctl_word(ctl, 0, &selector, err) || !ctl_select(ctl, selector, &found, err))
        return false;
    buf_printf(&path, "/backups/%s", print_text_at(found, "id"));
    bool done = client_get(ctl->client, buf_cstr(&path), &backup, err);
    json_t *card = done && !ctl_wants_json(ctl) ? in_words(backup) : json_incref(backup);
    if (done)
        ctl_card(ctl, card, card_columns, COUNT(card_columns));
    json_decref(card);
    json_decref(found);
    json_decref(backup);
    return done;
}

static bool write_out(void *ctx, Slice bytes, Err *err)
{
    if (fwrite(bytes.at, 1, bytes.len, ctx) != bytes.len)
        return err_set_sys(err, err_code_of_errno(errno), "fetch.write", "writing the file");
    return true;
}

/* The file to write: new, for its owner alone. NULL --out is stdout. */
static bool open_out(const Ctl *ctl, FILE **out, Err *err)
{
    const char *name = ctl->args->out;
    *out = stdout;
    if (name == NULL && ctl_wants_json(ctl))
        return err_set(err, ERR_USAGE, "fetch.json",
                       "--json needs --out FILE: the file's own bytes are no JSON");
    if (name == NULL)
        return true;
    int fd = open(name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    *out = fd < 0 ? NULL : fdopen(fd, "wb");
    return *out != NULL ||
           err_set_sys(err, err_code_of_errno(errno), "fetch.open", "%s", ctl->args->out);
}

/* To --out or stdout; `what` is the answer's in JSON. */
static bool stream(Ctl *ctl, const char *path, json_t *what, Err *err)
{
    FILE *out;
    scoped(json_release) json_t *answer = what;
    if (!open_out(ctl, &out, err))
        return false;
    bool done = client_stream(ctl->client, path, write_out, out, err);
    if (fflush(out) != 0 && done)
        done = err_set_sys(err, err_code_of_errno(errno), "fetch.write", "writing the file");
    if (out == stdout)
        return done;
    if (fclose(out) != 0 && done)
        done = err_set_sys(err, err_code_of_errno(errno), "fetch.write", "writing the file");
    if (!done)
        unlink(ctl->args->out); /* half a file looks like a whole one */
    if (done && ctl_wants_json(ctl)) {
        json_object_set_new(answer, "out", json_string(ctl->args->out));
        print_json(stdout, answer);
    }
    return done;
}

bool ctl_backup_fetch(Ctl *ctl, Err *err)
{
    const char *selector;
    const char *file;
    scoped(json_release) json_t *found = NULL;
    scoped(buf_free) Buf path = {0};
    if (!ctl_word(ctl, 0, &selector, err) || !ctl_word(ctl, 1, &file, err) ||
        !ctl_select(ctl, selector, &found, err))
        return false;
    buf_printf(&path, "/backups/%s/fetch", print_text_at(found, "id"));
    ctl_query(&path, "path", file);
    return stream(ctl, buf_cstr(&path), json_pack("{s:s}", "path", file), err);
}

bool ctl_backup_export(Ctl *ctl, Err *err)
{
    const char *selector;
    scoped(json_release) json_t *found = NULL;
    scoped(buf_free) Buf path = {0};
    if (!ctl_word(ctl, 0, &selector, err) || !ctl_select(ctl, selector, &found, err))
        return false;
    const char *id = print_text_at(found, "id");
    if (ctl->args->out == NULL && isatty(STDOUT_FILENO))
        return err_set(err, ERR_USAGE, "export.terminal",
                       "an archive is no use on a terminal: write it to a file with --out or >");
    buf_printf(&path, "/backups/%s/export", id);
    return stream(ctl, buf_cstr(&path), json_pack("{s:s}", "backup", id), err);
}
