/* SPDX-License-Identifier: Apache-2.0 */
#include "common/base/http.h"
#include "scheduler/ctl/ctl.h"

/* One line a repository: a store may hold several, one a key set, or none yet. */
static json_t *repositories_of(const json_t *stores)
{
    size_t i;
    size_t r;
    json_t *store;
    json_t *repository;
    json_t *lines = json_array();
    json_array_foreach(stores, i, store)
    {
        const json_t *all = json_object_get(store, "repositories");
        json_array_foreach(all, r, repository)
        {
            json_t *line = json_copy(store);
            json_object_set(line, "repository", repository);
            json_array_append_new(lines, line);
        }
        if (json_array_size(all) == 0)
            json_array_append(lines, store);
    }
    return lines;
}

static bool list(Ctl *ctl, const PrintColumn *columns, size_t count, Err *err)
{
    json_t *items = NULL;
    bool done = client_list(ctl->client, "/stores", 0, &items, err);
    json_t *lines = ctl_wants_json(ctl) ? json_incref(items) : repositories_of(items);
    if (done)
        ctl_list(ctl, lines, columns, count, "name");
    json_decref(lines);
    json_decref(items);
    return done;
}

/* Names of workers: the keys themselves are on their hosts, and never come here. */
bool ctl_key_list(Ctl *ctl, Err *err)
{
    static const PrintColumn columns[] = {
        {"STORE", "name", AS_TEXT},
        {"KEYS", "repository.key_set", AS_TEXT},
        {"WRITE", "repository.keys.writers", AS_TEXT},
        {"READ", "repository.keys.readers", AS_TEXT},
        {"PRUNE", "repository.keys.pruners", AS_TEXT},
        {"GENERATION", "repository.keys.reencrypt_generation", AS_COUNT},
        {"LEFT", "repository.keys.reencrypt_left", AS_COUNT},
        {"LEFT BYTES", "repository.keys.reencrypt_left_bytes", AS_BYTES},
        {"LOOKED", "repository.keys.reencrypt_at", AS_WHEN},
    };
    return list(ctl, columns, sizeof columns / sizeof *columns, err);
}

bool ctl_store_list(Ctl *ctl, Err *err)
{
    static const PrintColumn columns[] = {
        {"STORE", "name", AS_TEXT},
        {"TYPE", "type", AS_TEXT},
        {"KEYS", "repository.key_set", AS_TEXT},
        {"BACKUPS", "repository.backups", AS_COUNT},
        {"STORED", "repository.stored_bytes", AS_BYTES},
        {"DAMAGED", "repository.damaged_packs", AS_COUNT},
        {"SET BACK", "repository.rolled_back", AS_TEXT},
        {"REPOSITORY", "repository.id", AS_TEXT | AS_WIDE},
    };
    return list(ctl, columns, sizeof columns / sizeof *columns, err);
}

bool ctl_store_test(Ctl *ctl, Err *err)
{
    const char *name;
    scoped(buf_free) Buf path = {0};
    json_t *body = json_object();
    if (ctl->args->pool != NULL)
        json_object_set_new(body, "pool", json_string(ctl->args->pool));
    if (!ctl_word(ctl, 0, &name, err)) {
        json_decref(body);
        return false;
    }
    buf_printf(&path, "/stores/");
    http_escape(&path, text_of(name));
    buf_printf(&path, "/test");
    return ctl_try(ctl, buf_cstr(&path), body, "store.test", err);
}
