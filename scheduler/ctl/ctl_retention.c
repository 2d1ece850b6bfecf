/* SPDX-License-Identifier: Apache-2.0
 * What stays and what goes, with the reason beside each backup. */
#include "scheduler/ctl/ctl.h"
#include "scheduler/ctl/ctl_policy.h"

#define COUNT(array) (sizeof(array) / sizeof *(array))

static const PrintColumn fleet_columns[] = {
    {"SOURCE", "source", AS_TEXT},
    {"STORE", "store", AS_TEXT},
    {"KEPT", "kept", AS_COUNT},
    {"EXPIRE", "expires", AS_COUNT},
    {"FREES", "frees_bytes", AS_BYTES},
    {"FROZEN", "frozen", AS_TEXT},
    {"KEYS", "key_set", AS_TEXT | AS_WIDE},
};

static const PrintColumn backup_columns[] = {
    {"", "verdict", AS_TEXT},
    {"BACKUP", "id", AS_TEXT},
    {"CONSISTENT", "consistent_at", AS_WHEN},
    {"SIZE", "bytes", AS_BYTES},
    {"FREES", "frees_bytes", AS_BYTES},
    {"REASON", "reason", AS_TEXT},
};

/* One source and store: every backup, oldest first, then what it comes to. */
static void print_one(const Ctl *ctl, const json_t *item)
{
    size_t i;
    json_t *row;
    scoped(buf_free) Buf line = {0};
    json_t *backups = json_deep_copy(json_object_get(item, "backups"));
    json_array_foreach(backups, i, row)
    {
        bool expires = json_is_true(json_object_get(row, "expires"));
        json_object_set_new(row, "verdict", json_string(expires ? "expire" : "keep"));
        if (!expires)
            json_object_del(row, "frees_bytes");
    }
    if (json_array_size(backups) != 0)
        print_table(stdout, backups, backup_columns, COUNT(backup_columns), ctl->args->utc);
    buf_printf(&line, "%s in %s: %lld kept, %lld expire", print_text_at(item, "source"),
               print_text_at(item, "store"), (long long)print_number_at(item, "kept"),
               (long long)print_number_at(item, "expires"));
    if (print_number_at(item, "expires") != 0) {
        buf_printf(&line, " and free ");
        print_bytes(&line, print_number_at(item, "frees_bytes"));
    }
    if (print_at(item, "frozen") != NULL)
        buf_printf(&line, "; frozen: %s", print_text_at(item, "frozen"));
    print_safe(stdout, buf_cstr(&line));
    printf("\n");
    json_decref(backups);
}

/* Under another policy: pages come by POST, so that the file goes with each. */
static bool ask_other(Ctl *ctl, const char *source, json_t *items, Err *err)
{
    scoped(buf_free) Buf cursor = {0};
    for (bool more = true; more;) {
        scoped(buf_free) Buf path = {0};
        json_t *page = NULL;
        buf_printf(&path, "/retention/preview");
        ctl_query(&path, "source", source);
        ctl_query(&path, "cursor", cursor.len == 0 ? NULL : buf_cstr(&cursor));
        if (!ctl_policy_send_file(ctl, ctl->args->policy, "POST", buf_cstr(&path), NULL, &page,
                                  err))
            return false;
        json_array_extend(items, json_object_get(page, "items"));
        const char *next = json_string_value(json_object_get(page, "next_cursor"));
        more = next != NULL;
        buf_clear(&cursor);
        buf_printf(&cursor, "%s", more ? next : "");
        json_decref(page);
    }
    return true;
}

static bool ask(Ctl *ctl, const char *source, json_t **items, Err *err)
{
    scoped(buf_free) Buf path = {0};
    buf_printf(&path, "/retention");
    ctl_query(&path, "source", source);
    if (ctl->args->policy == NULL)
        return client_list(ctl->client, buf_cstr(&path), 0, items, err);
    *items = json_array();
    return ask_other(ctl, source, *items, err);
}

bool ctl_retention_preview(Ctl *ctl, Err *err)
{
    json_t *items = NULL;
    const char *source = ctl->args->words.count == 0 ? NULL : ctl->args->words.at[0];
    size_t i;
    json_t *item;
    bool done = ask(ctl, source, &items, err);
    if (done && source != NULL && json_array_size(items) == 0)
        done = err_set(err, ERR_MISSING, "source.unknown", "no source is called %s", source);
    bool eyes = ctl->args->output == NULL && !ctl_wants_json(ctl);
    if (done && source != NULL && eyes)
        json_array_foreach(items, i, item)
        {
            print_one(ctl, item);
        }
    else if (done)
        ctl_list(ctl, items, fleet_columns, COUNT(fleet_columns), "source");
    json_decref(items);
    return done;
}

static bool path_of(const Ctl *ctl, const char *suffix, Buf *path, Err *err)
{
    const char *name;
    if (!ctl_word(ctl, 0, &name, err))
        return false;
    buf_printf(path, "/sources/");
    http_escape(path, text_of(name));
    buf_printf(path, "%s", suffix);
    return true;
}

bool ctl_retention_run(Ctl *ctl, Err *err)
{
    scoped(buf_free) Buf path = {0};
    json_t *job = NULL, *jobs = json_array();
    json_t *body = json_object();
    if (ctl->args->reason != NULL)
        json_object_set_new(body, "reason", json_string(ctl->args->reason));
    bool done = path_of(ctl, "/retention", &path, err) &&
                client_send(ctl->client, "POST", buf_cstr(&path), body, &job, err);
    json_decref(body);
    if (done) {
        json_array_append(jobs, job);
        done = ctl_started(ctl, jobs, err);
    }
    json_decref(job);
    json_decref(jobs);
    return done;
}

bool ctl_retention_resume(Ctl *ctl, Err *err)
{
    json_t *answer = NULL, *body = json_object();
    if (ctl->args->reason != NULL)
        json_object_set_new(body, "reason", json_string(ctl->args->reason));
    if (ctl->args->store != NULL)
        json_object_set_new(body, "store", json_string(ctl->args->store));
    if (ctl->args->source != NULL)
        json_object_set_new(body, "source", json_string(ctl->args->source));
    bool done = client_send(ctl->client, "POST", "/retention/resume", body, &answer, err);
    if (done && ctl_wants_json(ctl))
        print_json(stdout, answer);
    else if (done)
        printf("%s\n", print_text_at(answer, "state"));
    json_decref(body);
    json_decref(answer);
    return done;
}

bool ctl_retention_explain(Ctl *ctl, Err *err)
{
    static const PrintColumn columns[] = {
        {"BACKUP", "backup", AS_TEXT}, {"STORE", "store", AS_TEXT},   {"GOES", "goes_at", AS_WHEN},
        {"REASON", "reason", AS_TEXT}, {"FROZEN", "frozen", AS_TEXT}, {"SOURCE", "source", AS_TEXT},
    };
    const char *selector;
    json_t *backup = NULL, *items = NULL;
    scoped(buf_free) Buf path = {0};
    if (!ctl_word(ctl, 0, &selector, err) || !ctl_select(ctl, selector, &backup, err))
        return false;
    buf_printf(&path, "/backups/%s/retention", print_text_at(backup, "id"));
    bool done = client_list(ctl->client, buf_cstr(&path), 0, &items, err);
    if (done)
        ctl_list(ctl, items, columns, COUNT(columns), "store");
    json_decref(items);
    json_decref(backup);
    return done;
}

/* --- holds ---------------------------------------------------------------------------------- */

static bool act(Ctl *ctl, const char *verb, Err *err)
{
    const char *selector;
    json_t *backup = NULL, *job = NULL, *jobs = json_array(), *body = json_object();
    scoped(buf_free) Buf path = {0};
    bool done = ctl_word(ctl, 0, &selector, err) && ctl_select(ctl, selector, &backup, err);
    if (done && ctl->args->dry_run)
        ctl_would(ctl, verb, backup, "id");
    else if (done) {
        if (ctl->args->reason != NULL)
            json_object_set_new(body, "reason", json_string(ctl->args->reason));
        if (ctl->args->until != NULL)
            json_object_set_new(body, "until", json_string(ctl->args->until));
        buf_printf(&path, "/backups/%s/%s", print_text_at(backup, "id"), verb);
        done = client_send(ctl->client, "POST", buf_cstr(&path), body, &job, err);
        if (done) {
            json_array_append(jobs, job);
            done = ctl_started(ctl, jobs, err);
        }
    }
    json_decref(body);
    json_decref(jobs);
    json_decref(job);
    json_decref(backup);
    return done;
}

bool ctl_backup_hold(Ctl *ctl, Err *err)
{
    return act(ctl, "hold", err);
}

bool ctl_backup_release(Ctl *ctl, Err *err)
{
    return act(ctl, "release", err);
}
