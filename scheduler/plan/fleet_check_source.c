/* SPDX-License-Identifier: Apache-2.0 */
#include "scheduler/plan/fleet_check.h"
#include "scheduler/plan/fleet_log.h"
#include "scheduler/plan/fleet_tree.h"

#include <stdio.h>

/* Which methods an engine has; the first is what it does unless it is told. */
static const struct {
    const char *type, *methods;
} engines[] = {
    {"postgresql", "logical|physical"},
    {"mysql", "hot|standard|cold|physical"},
    {"redis", "replication|bgsave"},
    {"files", ""},
    {"sqlite", ""},
};

static const char *methods_of(const YamlNode *type)
{
    for (size_t i = 0; type != NULL && i < sizeof engines / sizeof *engines; i++)
        if (type->kind == YAML_SCALAR && text_equal(type->text, text_of(engines[i].type)))
            return engines[i].methods;
    return NULL;
}

Text fleet_check_method(const char *type)
{
    for (size_t i = 0; i < sizeof engines / sizeof *engines; i++)
        if (strcmp(type, engines[i].type) == 0)
            return (Text){engines[i].methods, strcspn(engines[i].methods, "|")};
    return (Text){"", 0};
}

static bool has(const char *methods, Text method)
{
    for (const char *at = methods; *at != 0; at += *at == '|') {
        size_t len = strcspn(at, "|");
        if (text_equal((Text){at, len}, method))
            return true;
        at += len;
    }
    return false;
}

/* Every method that a source may be asked for, its own and its schedules', is one of its engine. */
static void check_methods(FleetCheck *check, Text name, const YamlNode *source,
                          const YamlNode *policy)
{
    const YamlNode *type = yaml_get(source, "type");
    const YamlNode *own = yaml_get(source, "method");
    const YamlNode *schedules = yaml_get(policy, "schedules");
    const char *methods = methods_of(type);
    if (methods == NULL)
        return;
    if (own != NULL && own->kind == YAML_SCALAR && *methods != 0 && !has(methods, own->text))
        FLEET_PROBLEM(check, own, "wrong-method", NULL,
                      "sources.%.*s: '%.*s' is not a method of type %.*s (%s)", TEXT_ARG(name),
                      TEXT_ARG(own->text), TEXT_ARG(type->text), methods);
    for (size_t i = 0; schedules != NULL && schedules->kind == YAML_MAP && i < schedules->count;
         i++) {
        const YamlNode *method = yaml_get(schedules->pairs[i].value, "method");
        if (method != NULL && method->kind == YAML_SCALAR && !has(methods, method->text))
            FLEET_PROBLEM(check, yaml_get(source, "policy"), "wrong-method", NULL,
                          "sources.%.*s: its policy's schedule '%.*s' asks for the method '%.*s', "
                          "and type %.*s has %s",
                          TEXT_ARG(name), TEXT_ARG(schedules->pairs[i].key->text),
                          TEXT_ARG(method->text), TEXT_ARG(type->text),
                          *methods == 0 ? "none" : methods);
    }
}

static void check_place(FleetCheck *check, Text name, const YamlNode *source)
{
    const YamlNode *run_on = yaml_get(source, "run_on");
    if (yaml_get(run_on, "pool") != NULL && yaml_get(run_on, "host") != NULL)
        FLEET_PROBLEM(check, run_on, "two-places", "take one of them out",
                      "sources.%.*s.run_on names a pool or a host, not both", TEXT_ARG(name));
}

static const YamlNode *place_of(const YamlNode *source, bool *host)
{
    const YamlNode *run_on = yaml_get(source, "run_on");
    const YamlNode *named = yaml_get(run_on, "host");
    *host = named != NULL;
    return named != NULL ? named : yaml_get(run_on, "pool");
}

/* Of each place without workers the first source, and how many there are: {key: [which, count]}. */
static void note_place(const FleetCheck *check, size_t which, const YamlNode *source,
                       json_t *unserved)
{
    bool host;
    scoped(buf_free) Buf key = {0};
    const YamlNode *node = place_of(source, &host);
    if (check->facts == NULL || check->facts->places == NULL ||
        (node != NULL && node->kind != YAML_SCALAR))
        return;
    if (host && yaml_get(yaml_get(source, "run_on"), "pool") != NULL)
        return; /* told as one too many */
    buf_printf(&key, "%s%.*s", host ? "host:" : "",
               TEXT_ARG(node == NULL ? TEXT("default") : node->text));
    if (!host && node != NULL && !text_equal(node->text, TEXT("default")) &&
        fleet_tree_at(check->root, "pools", buf_cstr(&key), NULL) == NULL)
        return; /* told as unknown */
    const json_t *place = json_object_get(check->facts->places, buf_cstr(&key));
    if (json_integer_value(json_object_get(place, "workers")) > 0)
        return;
    json_t *found = json_object_get(unserved, buf_cstr(&key));
    json_int_t count = json_integer_value(json_array_get(found, 1));
    if (found == NULL)
        json_object_set_new(unserved, buf_cstr(&key), json_pack("[i, i]", (int)which, 1));
    else
        json_integer_set(json_array_get(found, 1), count + 1);
}

/* A place without workers is a warning: they may come. One a place, however many sources it has. */
static void tell_places(FleetCheck *check, const YamlNode *sources, json_t *unserved)
{
    const char *key;
    json_t *found;
    json_object_foreach(unserved, key, found)
    {
        bool host;
        char others[40] = "";
        size_t which = (size_t)json_integer_value(json_array_get(found, 0));
        if (sources == NULL || which >= sources->count)
            continue;
        const YamlPair *first = &sources->pairs[which];
        json_int_t more = json_integer_value(json_array_get(found, 1)) - 1;
        const YamlNode *node = place_of(first->value, &host);
        const json_t *place = json_object_get(check->facts->places, key);
        const char *seen = json_string_value(json_object_get(place, "seen"));
        if (more > 0)
            snprintf(others, sizeof others, " and %lld more run", (long long)more);
        FLEET_WARNING(check, node != NULL ? node : yaml_get(first->value, "type"), "no-worker",
                      "holdfast worker list", "sources.%.*s%s %s %s, which has no worker%s%s",
                      TEXT_ARG(first->key->text), more > 0 ? others : " runs",
                      host ? "on host" : "in pool", key + (host ? 5 : 0),
                      seen == NULL ? "" : " since ", seen == NULL ? "" : seen);
    }
}

/* It is easy to forget and cannot be added to what is stored: no encryption must be said. */
static void check_key_set(FleetCheck *check, const YamlPair *pair, const YamlNode *policy)
{
    const YamlNode *defaults = yaml_get(check->root, "defaults");
    if (yaml_get(pair->value, "encryption") == NULL && yaml_get(policy, "encryption") == NULL &&
        yaml_get(defaults, "encryption") == NULL)
        FLEET_PROBLEM(check, pair->key, "missing-key", "name a key set of keys, or none",
                      "sources.%.*s has no encryption, neither here nor in its policy or defaults",
                      TEXT_ARG(pair->key->text));
}

static bool is_text(const YamlNode *node, const char *text)
{
    return node != NULL && node->kind == YAML_SCALAR && text_equal(node->text, text_of(text));
}

/* A dump is of what is named; a physical backup of the whole cluster. */
static void check_databases(FleetCheck *check, Text name, const YamlNode *source)
{
    const YamlNode *list = yaml_get(source, "databases");
    if (list != NULL && list->kind == YAML_LIST && list->count > 0 &&
        is_text(yaml_get(source, "method"), "physical") && !is_text(list->items[0], "all"))
        FLEET_PROBLEM(check, list, "impossible", "write [all]",
                      "sources.%.*s.databases: a physical backup is of all databases",
                      TEXT_ARG(name));
    for (size_t i = 0;
         list != NULL && list->kind == YAML_LIST && list->count > 1 && i < list->count; i++)
        if (text_equal(list->items[i]->text, TEXT("all")))
            FLEET_PROBLEM(check, list->items[i], "impossible", NULL,
                          "sources.%.*s.databases: 'all' stands alone, or not at all",
                          TEXT_ARG(name));
}

static void check_log(FleetCheck *check, Text name, const YamlNode *source)
{
    const YamlNode *wal = yaml_get(source, "wal");
    const YamlNode *method = yaml_get(source, "method");
    bool kept = wal != NULL && wal->kind == YAML_SCALAR && !text_equal(wal->text, TEXT("none"));
    if (kept && (method == NULL || !text_equal(method->text, TEXT("physical"))))
        FLEET_WARNING(check, wal, "log-elsewhere", "write method: physical",
                      "sources.%.*s: wal is kept for the method 'physical' only", TEXT_ARG(name));
    const YamlNode *push = yaml_get(source, "wal_push");
    if (push != NULL && !is_text(wal, "archive_command"))
        FLEET_PROBLEM(check, push, "impossible", "write wal: archive_command, or leave it out",
                      "sources.%.*s: wal_push is of a log that the server pushes", TEXT_ARG(name));
    if (is_text(wal, "archive_command") && yaml_get(source, "run_on") == NULL)
        FLEET_WARNING(
            check, wal, "log-elsewhere", "write run_on: {host: NAME}, the server's own",
            "sources.%.*s: a log that is pushed lies on the server's host, and any worker "
            "of the pool may take the job",
            TEXT_ARG(name));
}

void fleet_check_sources(FleetCheck *check)
{
    const YamlNode *sources = yaml_get(check->root, "sources");
    const json_t *policies = json_object_get(check->walked, "policies");
    json_t *unserved = json_object();
    for (size_t i = 0; sources != NULL && sources->kind == YAML_MAP && i < sources->count; i++) {
        const YamlPair *pair = &sources->pairs[i];
        const YamlNode *named = yaml_get(pair->value, "policy");
        const YamlNode *policy = NULL;
        check->counted.sources++;
        if (named != NULL && named->kind == YAML_SCALAR &&
            json_object_getn(policies, named->text.at, named->text.len) != NULL) {
            const YamlNode *all = yaml_get(check->root, "policies");
            for (size_t p = 0; p < all->count && policy == NULL; p++)
                if (text_equal(all->pairs[p].key->text, named->text))
                    policy = all->pairs[p].value;
        }
        check->counted.without_policy += policy == NULL;
        if (pair->value->kind != YAML_MAP)
            continue;
        check_methods(check, pair->key->text, pair->value, policy);
        check_place(check, pair->key->text, pair->value);
        note_place(check, i, pair->value, unserved);
        check_databases(check, pair->key->text, pair->value);
        check_log(check, pair->key->text, pair->value);
        fleet_log_check(check, pair);
        if (policy != NULL)
            check_key_set(check, pair, policy);
    }
    tell_places(check, sources, unserved);
    json_decref(unserved);
}
