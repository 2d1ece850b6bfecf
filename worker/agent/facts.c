/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/agent/facts.h"

#include "common/base/json.h"
#include "common/base/log.h"
#include "worker/engine/engine.h"
#include "worker/job/granting.h"

#include <dirent.h>
#include <stdlib.h>
#include <string.h>

static void add_engines(json_t *facts)
{
    json_t *names = json_array();
    json_t *tools = json_object();
    size_t count = 0;
    const Engine *const *engines = engine_list(&count);
    for (size_t i = 0; i < count; i++) {
        json_t *report = NULL;
        Err err = {0};
        json_array_append_new(names, json_string(engines[i]->name));
        if (engines[i]->tools(&report, &err))
            json_object_update(tools, report);
        else
            log_err("worker.tools", &err);
        json_decref(report);
    }
    json_object_set_new(facts, "engines", names);
    json_object_set_new(facts, "tools", tools);
}

/* The names in a directory that end in `suffix`, without it; NULL directory gives none. */
static void names_in(const char *path, const char *prefix, const char *suffix, json_t *out)
{
    DIR *directory = path == NULL || path[0] == '\0' ? NULL : opendir(path);
    if (directory == NULL)
        return;
    size_t before = strlen(prefix);
    size_t after = strlen(suffix);
    for (const struct dirent *one = readdir(directory); one != NULL; one = readdir(directory)) {
        const char *name = one->d_name;
        size_t len = strlen(name);
        if (name[0] == '.' || len <= before + after || strncmp(name, prefix, before) != 0 ||
            strcmp(name + len - after, suffix) != 0)
            continue;
        json_t *text = json_stringn(name + before, len - before - after);
        if (text != NULL)
            json_array_append_new(out, text);
    }
    closedir(directory);
}

static bool holds(const json_t *names, const json_t *name)
{
    size_t at = 0;
    const json_t *one = NULL;
    json_array_foreach(names, at, one)
    {
        if (json_equal(one, name))
            return true;
    }
    return false;
}

/* A role is there when a key of it is, in a set that this host may use. */
static void add_keys(json_t *facts, const JobSettings *settings)
{
    static const struct {
        const char *suffix;
        const char *role;
    } files[] = {{".writer", "write"}, {".reader", "read"}, {".prune", "prune"}};
    const json_t *allowed = allow_key_sets(settings->allow);
    json_t *roles = json_array();
    json_t *sets = json_array();
    Err ignored = {0};
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
        json_t *names = json_array();
        names_in(settings->keys, "", files[i].suffix, names);
        bool any = false;
        size_t at = 0;
        json_t *one = NULL;
        json_array_foreach(names, at, one)
        {
            if (allowed != NULL && !holds(allowed, one))
                continue;
            any = true;
            if (!holds(sets, one))
                json_array_append(sets, one);
        }
        /* Unencrypted repositories need no key. Who may delete nothing is no pruner. */
        bool prune = strcmp(files[i].role, "prune") == 0;
        if ((any || allow_plain(settings->allow, &ignored)) &&
            (!prune || allow_prune_packs(settings->allow) > 0))
            json_array_append_new(roles, json_string(files[i].role));
        json_decref(names);
    }
    json_object_set_new(facts, "roles", roles);
    json_object_set_new(facts, "key_sets", sets);
    json_object_set_new(facts, "certificates", granting_certificates(settings));
}

static void add_stores(json_t *facts, const JobSettings *settings)
{
    const json_t *stores = allow_stores(settings->allow);
    json_object_set_new(facts, "any_store", json_boolean(stores == NULL));
    if (stores != NULL)
        json_object_set_new(facts, "stores", json_deep_copy(stores));
}

static void add_credentials(json_t *facts, const JobSettings *settings)
{
    json_t *names = json_array();
    names_in(getenv("CREDENTIALS_DIRECTORY"), "hf_", "", names);
    names_in(settings->credentials, "", "", names);
    names_in("/run/secrets", "", "", names);
    json_object_set_new(facts, "credentials", names);
}

void facts_collect(const JobSettings *settings, const json_t *tags, Buf *out)
{
    scoped(json_release) json_t *facts = json_object();
    Err ignored = {0};
    add_engines(facts);
    add_keys(facts, settings);
    json_object_set_new(facts, "plain", json_boolean(allow_plain(settings->allow, &ignored)));
    add_stores(facts, settings);
    add_credentials(facts, settings);
    json_object_set_new(facts, "sandbox", json_boolean(allow_sandbox(settings->allow) != NULL));
    json_object_set_new(facts, "tags", tags == NULL ? json_object() : json_deep_copy(tags));
    json_canonical(facts, out);
}
