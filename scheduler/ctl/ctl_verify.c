/* SPDX-License-Identifier: Apache-2.0 */
#include "common/base/http.h"
#include "scheduler/ctl/ctl.h"

bool ctl_verify(Ctl *ctl, Err *err)
{
    const char *selector;
    json_t *backup = NULL;
    scoped(buf_free) Buf path = {0};
    if (!ctl_word(ctl, 0, &selector, err) || !ctl_select(ctl, selector, &backup, err))
        return false;
    if (ctl->args->dry_run) {
        ctl_would(ctl, "verify", backup, "id");
        json_decref(backup);
        return true;
    }
    json_t *body =
        json_pack("{s:s}", "level", ctl->args->level == NULL ? "stored" : ctl->args->level);
    if (ctl->args->pool != NULL)
        json_object_set_new(body, "pool", json_string(ctl->args->pool));
    if (ctl->args->store != NULL)
        json_object_set_new(body, "store", json_string(ctl->args->store));
    buf_printf(&path, "/backups/%s/verify", print_text_at(backup, "id"));
    bool done = ctl_start(ctl, "POST", buf_cstr(&path), body, err);
    json_decref(body);
    json_decref(backup);
    return done;
}

/* What the backups of a source need, each pack once. */
bool ctl_source_verify(Ctl *ctl, Err *err)
{
    const struct {
        const char *key, *value;
    } members[] = {{"level", ctl->args->level},
                   {"store", ctl->args->store},
                   {"within", ctl->args->within},
                   {"pool", ctl->args->pool}};
    const char *source;
    scoped(buf_free) Buf path = {0};
    if (!ctl_word(ctl, 0, &source, err))
        return false;
    json_t *body = json_object();
    for (size_t i = 0; i < sizeof members / sizeof *members; i++)
        if (members[i].value != NULL)
            json_object_set_new(body, members[i].key, json_string(members[i].value));
    buf_printf(&path, "/sources/");
    http_escape(&path, text_of(source));
    buf_printf(&path, "/verify");
    bool done = ctl_start(ctl, "POST", buf_cstr(&path), body, err);
    json_decref(body);
    return done;
}

bool ctl_verification_list(Ctl *ctl, Err *err)
{
    static const PrintColumn columns[] = {
        {"SOURCE", "source", AS_TEXT},       {"STORE", "store", AS_TEXT},
        {"LEVEL", "level", AS_TEXT},         {"STATE", "state", AS_TEXT},
        {"ENDED", "ended_at", AS_WHEN},      {"SEEN", "seen", AS_COUNT},
        {"OF", "packs", AS_COUNT},           {"FAILED", "failed", AS_COUNT},
        {"LATE", "overdue", AS_TEXT},        {"OLDEST", "oldest_at", AS_WHEN | AS_WIDE},
        {"RULE", "rule", AS_TEXT | AS_WIDE}, {"JOB", "job", AS_TEXT | AS_WIDE},
    };
    json_t *items = NULL;
    scoped(buf_free) Buf path = {0};
    buf_printf(&path, "/verifications");
    ctl_query(&path, "source", ctl->args->source);
    bool done = client_list(ctl->client, buf_cstr(&path), 0, &items, err);
    if (done)
        ctl_list(ctl, items, columns, sizeof columns / sizeof *columns, "source");
    json_decref(items);
    return done;
}

bool ctl_window_list(Ctl *ctl, Err *err)
{
    static const PrintColumn columns[] = {
        {"SOURCE", "source", AS_TEXT},
        {"FROM", "from_at", AS_WHEN},
        {"TO", "to_at", AS_WHEN},
        {"STATE", "state", AS_TEXT},
        {"BACKUP", "backup", AS_TEXT},
        {"TIMELINE", "timeline", AS_COUNT},
        {"HOLE", "hole_from", AS_TEXT},
        {"UNTIL", "hole_to", AS_TEXT},
        {"NEXT", "next", AS_TEXT},
        {"FROM LSN", "from_lsn", AS_TEXT | AS_WIDE},
        {"TO LSN", "to_lsn", AS_TEXT | AS_WIDE},
        {"LAG", "lag_bytes", AS_BYTES | AS_WIDE},
        {"UNSTORED", "unstored_bytes", AS_BYTES | AS_WIDE},
        {"SINCE", "unstored_since", AS_WHEN | AS_WIDE},
        {"LOG", "log", AS_TEXT | AS_WIDE},
    };
    json_t *items = NULL;
    scoped(buf_free) Buf path = {0};
    buf_printf(&path, "/windows");
    ctl_query(&path, "source", ctl->args->words.count == 0 ? NULL : ctl->args->words.at[0]);
    bool done = client_list(ctl->client, buf_cstr(&path), 0, &items, err);
    if (done)
        ctl_list(ctl, items, columns, sizeof columns / sizeof *columns, "source");
    json_decref(items);
    return done;
}

/* One source: all of it; else a line each. */
bool ctl_proof(Ctl *ctl, Err *err)
{
    static const PrintColumn columns[] = {
        {"SOURCE", "source", AS_TEXT},
        {"VERDICT", "verdict", AS_TEXT},
        {"PROVEN", "proven_at", AS_WHEN},
        {"BACKUP", "backup", AS_TEXT},
        {"READY", "ready_seconds", AS_TEXT},
        {"RTO", "rto_seconds", AS_TEXT},
        {"TABLES", "tables", AS_COUNT},
        {"ROWS", "rows", AS_COUNT},
        {"FILES", "files", AS_COUNT},
        {"WORKER", "worker", AS_TEXT},
        {"LAST", "last_text", AS_TEXT},
        {"RESTORED", "seconds", AS_TEXT | AS_WIDE},
        {"SERVER", "server_version", AS_TEXT | AS_WIDE},
        {"SYSTEM", "system_identifier", AS_TEXT | AS_WIDE},
        {"LEVEL", "level", AS_TEXT | AS_WIDE},
        {"STORE", "store", AS_TEXT | AS_WIDE},
        {"RULE", "rule", AS_TEXT | AS_WIDE},
        {"JOB", "job", AS_TEXT | AS_WIDE},
    };
    json_t *items = NULL;
    scoped(buf_free) Buf path = {0};
    buf_printf(&path, "/proofs");
    ctl_query(&path, "source", ctl->args->words.count > 0 ? ctl->args->words.at[0] : NULL);
    bool done = client_list(ctl->client, buf_cstr(&path), 0, &items, err);
    if (done)
        ctl_list(ctl, items, columns, sizeof columns / sizeof *columns, "source");
    json_decref(items);
    return done;
}
