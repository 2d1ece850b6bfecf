/* SPDX-License-Identifier: Apache-2.0 */
#include "common/base/http.h"
#include "scheduler/ctl/ctl.h"

/* One line a repository. */
static json_t *repositories_of(const json_t *stores)
{
    size_t i, r;
    json_t *store, *repository;
    json_t *lines = json_array();
    json_array_foreach(stores, i, store)
    {
        json_array_foreach(json_object_get(store, "repositories"), r, repository)
        {
            json_t *line = json_copy(repository);
            json_object_set(line, "store", json_object_get(store, "name"));
            json_array_append_new(lines, line);
        }
    }
    return lines;
}

bool ctl_catalogue_status(Ctl *ctl, Err *err)
{
    static const PrintColumn columns[] = {
        {"STORE", "store", AS_TEXT},
        {"KEYS", "key_set", AS_TEXT},
        {"BACKUPS", "backups", AS_COUNT},
        {"EPOCH", "epoch", AS_COUNT},
        {"SET BACK", "rolled_back", AS_TEXT},
        {"DAMAGED", "damaged_packs", AS_COUNT},
        {"FROZEN", "frozen_at", AS_WHEN},
        {"WHY", "frozen_reason", AS_TEXT | AS_WIDE},
        {"REPOSITORY", "id", AS_TEXT | AS_WIDE},
    };
    json_t *items = NULL;
    bool done = client_list(ctl->client, "/stores", 0, &items, err);
    json_t *lines = repositories_of(items);
    if (done)
        ctl_list(ctl, lines, columns, sizeof columns / sizeof *columns, "store");
    json_decref(lines);
    json_decref(items);
    return done;
}

/* What lies in one store, or in any. */
static bool in_stores(Ctl *ctl, const char *route, const PrintColumn *columns, size_t count,
                      const char *name, Err *err)
{
    json_t *items = NULL;
    scoped(buf_free) Buf path = {0};
    buf_printf(&path, "%s", route);
    if (ctl->args->store != NULL) {
        buf_printf(&path, "?store=");
        http_escape(&path, text_of(ctl->args->store));
    }
    bool done = client_list(ctl->client, buf_cstr(&path), 0, &items, err);
    if (done)
        ctl_list(ctl, items, columns, count, name);
    json_decref(items);
    return done;
}

bool ctl_damage(Ctl *ctl, Err *err)
{
    static const PrintColumn columns[] = {
        {"STORE", "store", AS_TEXT},       {"PACK", "pack", AS_TEXT},
        {"FOUND", "found_at", AS_WHEN},    {"BACKUPS", "backup_count", AS_COUNT},
        {"LOST", "lost_chunks", AS_COUNT}, {"NEXT", "next", AS_TEXT},
        {"WHY", "why", AS_TEXT | AS_WIDE},
    };
    return in_stores(ctl, "/damage", columns, sizeof columns / sizeof *columns, "pack", err);
}

bool ctl_orphan_list(Ctl *ctl, Err *err)
{
    static const PrintColumn columns[] = {
        {"STORE", "store", AS_TEXT},
        {"OBJECT", "name", AS_TEXT},
        {"WHY", "why", AS_TEXT},
        {"STATE", "state", AS_TEXT},
        {"BYTES", "bytes", AS_BYTES},
        {"SEEN", "first_seen_at", AS_WHEN},
        {"NEXT", "next", AS_TEXT},
        {"DELETED", "deletes_at", AS_WHEN | AS_WIDE},
        {"PLACE", "place", AS_TEXT | AS_WIDE},
        {"ERROR", "error", AS_TEXT | AS_WIDE},
    };
    return in_stores(ctl, "/orphans", columns, sizeof columns / sizeof *columns, "name", err);
}

static bool start(Ctl *ctl, const char *what, Err *err)
{
    const char *name;
    scoped(buf_free) Buf path = {0};
    if (!ctl_word(ctl, 0, &name, err))
        return false;
    if (ctl->args->dry_run) {
        json_t *would = json_pack("{s:s}", "store", name);
        ctl_would(ctl, what, would, "store");
        json_decref(would);
        return true;
    }
    json_t *body = json_pack("{s:s}", "what", what);
    if (ctl->args->pool != NULL)
        json_object_set_new(body, "pool", json_string(ctl->args->pool));
    if (ctl->args->key_set != NULL)
        json_object_set_new(body, "key_set", json_string(ctl->args->key_set));
    buf_printf(&path, "/stores/");
    http_escape(&path, text_of(name));
    buf_printf(&path, "/rebuild");
    bool done = ctl_start(ctl, "POST", buf_cstr(&path), body, err);
    json_decref(body);
    return done;
}

bool ctl_catalogue_rebuild(Ctl *ctl, Err *err)
{
    return start(ctl, "rebuild", err);
}

bool ctl_catalogue_merge(Ctl *ctl, Err *err)
{
    return start(ctl, "merge", err);
}
