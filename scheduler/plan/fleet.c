/* SPDX-License-Identifier: Apache-2.0 */
#include "scheduler/plan/fleet.h"

#include "common/base/json.h"
#include "scheduler/plan/cron.h"
#include "scheduler/plan/fleet_table.h"

#include <stdio.h>

/* One compilation. */
typedef struct Fleet {
    YamlDoc *doc;
    YamlProblems *problems;
    json_t *walked; /* what the table made of the file */
    json_t *out;
} Fleet;

#define PROBLEM(fleet, node, code, suggestion, ...)                                                \
    yaml_problem((fleet)->problems, (fleet)->doc, (node), false, (code), (suggestion), __VA_ARGS__)

static const YamlNode *node_at(const Fleet *fleet, const char *format, ...) PRINTF_LIKE(2, 3);
static const YamlNode *node_at(const Fleet *fleet, const char *format, ...)
{
    scoped(buf_free) Buf path = {0};
    va_list args;
    va_start(args, format);
    buf_vprintf(&path, format, args);
    va_end(args);
    return yaml_find(fleet->doc, buf_cstr(&path));
}

/* Refuses every key whose row says "later", at its place. */
static void refuse_later(const Fleet *fleet, const YamlNode *node, const YamlField *field)
{
    if (node == NULL)
        return;
    if (field->type == YAML_LIST_OF && node->kind == YAML_LIST)
        for (size_t i = 0; i < node->count; i++)
            refuse_later(fleet, node->items[i], field->fields);
    if (field->type == YAML_MAP_OF && node->kind == YAML_MAP)
        for (size_t i = 0; i < node->count; i++)
            refuse_later(fleet, node->pairs[i].value, field->fields);
    if (field->type != YAML_RECORD || node->kind != YAML_MAP)
        return;
    for (size_t f = 0; f < field->field_count; f++) {
        const YamlField *member = &field->fields[f];
        for (size_t i = 0; i < node->count; i++) {
            if (!text_equal(node->pairs[i].key->text, text_of(member->name)))
                continue;
            if (member->doc == FLEET_LATER)
                PROBLEM(fleet, node->pairs[i].key, "not-in-this-version", NULL,
                        "'%s' is not in this version", member->name);
            else
                refuse_later(fleet, node->pairs[i].value, member);
        }
    }
}

/* source, then its policy, then defaults. */
static const json_t *setting(const Fleet *fleet, const json_t *source, const json_t *policy,
                             const char *key)
{
    const json_t *levels[] = {source, policy, json_object_get(fleet->walked, "defaults")};
    for (size_t i = 0; i < 3; i++) {
        const json_t *value = json_object_get(levels[i], key);
        if (value != NULL)
            return value;
    }
    return NULL;
}

static const char *text_setting(const Fleet *fleet, const json_t *source, const json_t *policy,
                                const char *key, const char *otherwise)
{
    const json_t *value = setting(fleet, source, policy, key);
    return json_is_string(value) ? json_string_value(value) : otherwise;
}

/* Durations arrive in milliseconds and leave in seconds. */
static json_int_t seconds_of(const json_t *value, json_int_t otherwise)
{
    return json_is_integer(value) ? json_integer_value(value) / 1000 : otherwise;
}

/* One value of a record that may be given in part at each level: retry.attempts and the like. */
static const json_t *part(const Fleet *fleet, const json_t *source, const json_t *policy,
                          const char *record, const char *key)
{
    const json_t *levels[] = {source, policy, json_object_get(fleet->walked, "defaults")};
    for (size_t i = 0; i < 3; i++) {
        const json_t *value = json_object_get(json_object_get(levels[i], record), key);
        if (value != NULL)
            return value;
    }
    return NULL;
}

static json_int_t number_or(const json_t *value, json_int_t otherwise)
{
    return json_is_integer(value) ? json_integer_value(value) : otherwise;
}

static const char *string_or(const json_t *value, const char *otherwise)
{
    return json_is_string(value) ? json_string_value(value) : otherwise;
}

static void add_retry(const Fleet *fleet, const json_t *source, const json_t *policy, json_t *out)
{
    json_object_set_new(
        out, "retry",
        json_pack("{s:I, s:I, s:I, s:s}", "attempts",
                  number_or(part(fleet, source, policy, "retry", "attempts"), 3), "backoff_s",
                  seconds_of(part(fleet, source, policy, "retry", "backoff"), 120), "max_backoff_s",
                  seconds_of(part(fleet, source, policy, "retry", "max_backoff"), 1800), "jitter",
                  string_or(part(fleet, source, policy, "retry", "jitter"), "equal")));
    json_object_set_new(
        out, "compression",
        json_pack("{s:s, s:I}", "codec",
                  string_or(part(fleet, source, policy, "compression", "codec"), "zstd"), "level",
                  number_or(part(fleet, source, policy, "compression", "level"), 3)));
}

/* A hook's timeout in seconds, the rest as written. */
static json_t *hooks_of(const json_t *hooks)
{
    json_t *out = json_object();
    const char *when;
    json_t *hook;
    if (hooks == NULL) {
        json_decref(out);
        return json_null();
    }
    json_object_foreach((json_t *)(uintptr_t)hooks, when, hook)
    {
        json_t *copy = json_deep_copy(hook);
        json_int_t timeout = seconds_of(json_object_get(copy, "timeout"), 60);
        json_object_del(copy, "timeout");
        json_object_set_new(copy, "timeout_s", json_integer(timeout));
        json_object_set_new(out, when, copy);
    }
    return out;
}

/* A rule that does not parse, or a zone that is not there, is told at its place. */
static void check_rule(const Fleet *fleet, const YamlNode *node, const char *at, const char *name)
{
    Cron cron;
    Err err = {0};
    if (!cron_parse(text_of(at), text_of(name), &cron, &err))
        PROBLEM(fleet, node, "bad-schedule", NULL, "%s", err.text);
}

static void add_schedule(const Fleet *fleet, const char *source, const char *policy_name,
                         const char *name, const json_t *row, json_t *out)
{
    const char *at =
        json_is_string(row) ? json_string_value(row) : string_or(json_object_get(row, "at"), "");
    const json_t *method = json_object_get(row, "method");
    const YamlNode *node = json_is_string(row)
                               ? node_at(fleet, "policies.%s.schedule", policy_name)
                               : node_at(fleet, "policies.%s.schedules.%s.at", policy_name, name);
    check_rule(fleet, node, at, source);
    json_object_set_new(out, name,
                        json_pack("{s:s, s:s, s:O?}", "at", at, "kind", "backup", "method",
                                  (json_t *)(uintptr_t)method));
}

static void add_schedules(const Fleet *fleet, const char *source, const char *policy_name,
                          const json_t *policy, json_t *out)
{
    json_t *schedules = json_object();
    const json_t *single = json_object_get(policy, "schedule");
    const json_t *several = json_object_get(policy, "schedules");
    const char *name;
    json_t *row;
    if (single != NULL)
        add_schedule(fleet, source, policy_name, "default", single, schedules);
    json_object_foreach((json_t *)(uintptr_t)several, name, row)
    {
        add_schedule(fleet, source, policy_name, name, row, schedules);
    }
    json_object_set_new(out, "schedules", schedules);
}

/* What the engine itself is told: the source's members that are nobody else's. */
static json_t *config_of(const json_t *source)
{
    json_t *config = json_object();
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)source, key, value)
    {
        if (!fleet_table_common(key))
            json_object_set(config, key, value);
    }
    return config;
}

static void require_keys(const Fleet *fleet, const char *name, const json_t *source)
{
    const char *type = string_or(json_object_get(source, "type"), "");
    const YamlNode *node = node_at(fleet, "sources.%s", name);
    static const char *const database_keys[] = {
        "host", "port", "user", "password", "service", "databases", "sslmode", "exclude_table_data",
        "jobs"};
    static const char *const files_keys[] = {"paths", "exclude", "one_file_system"};
    bool files = strcmp(type, "files") == 0;
    if (!files && strcmp(type, "postgresql") != 0) {
        PROBLEM(fleet, node_at(fleet, "sources.%s.type", name), "not-in-this-version", NULL,
                "sources of type '%s' are not in this version", type);
        return;
    }
    if (files && json_object_get(source, "paths") == NULL)
        PROBLEM(fleet, node, "missing-key", NULL, "sources.%s needs 'paths'", name);
    if (!files && json_object_get(source, "databases") == NULL)
        PROBLEM(fleet, node, "missing-key", NULL, "sources.%s needs 'databases': names, or [all]",
                name);
    const char *method = string_or(json_object_get(source, "method"), "logical");
    if (files && json_object_get(source, "method") != NULL)
        PROBLEM(fleet, node_at(fleet, "sources.%s.method", name), "wrong-type", NULL,
                "'method' is not for a source of type files");
    else if (strcmp(method, "logical") != 0)
        PROBLEM(fleet, node_at(fleet, "sources.%s.method", name), "not-in-this-version", NULL,
                "the method '%s' is not in this version", method);
    const char *const *foreign = files ? database_keys : files_keys;
    size_t count = files ? sizeof database_keys / sizeof *database_keys
                         : sizeof files_keys / sizeof *files_keys;
    for (size_t i = 0; i < count; i++)
        if (json_object_get(source, foreign[i]) != NULL)
            PROBLEM(fleet, node_at(fleet, "sources.%s.%s", name, foreign[i]), "wrong-type", NULL,
                    "'%s' is not for a source of type %s", foreign[i], type);
}

static void add_place(const Fleet *fleet, const char *name, const json_t *source, json_t *out)
{
    const json_t *run_on = json_object_get(source, "run_on");
    const char *pool = string_or(json_object_get(run_on, "pool"), NULL);
    const char *host = string_or(json_object_get(run_on, "host"), NULL);
    if (pool != NULL && host != NULL)
        PROBLEM(fleet, node_at(fleet, "sources.%s.run_on", name), "two-places", NULL,
                "run_on names a pool or a host, not both");
    if (pool != NULL && strcmp(pool, "default") != 0 &&
        json_object_get(json_object_get(fleet->walked, "pools"), pool) == NULL)
        PROBLEM(fleet, node_at(fleet, "sources.%s.run_on.pool", name), "unknown-pool", NULL,
                "pool '%s' is not defined in pools", pool);
    if (pool != NULL)
        json_object_set_new(out, "pool", json_string(pool));
    else if (host != NULL)
        json_object_set_new(out, "host", json_string(host));
}

static void add_store(const Fleet *fleet, const char *name, const char *policy_name,
                      const json_t *source, const json_t *policy, json_t *out)
{
    const json_t *copies = json_object_get(policy, "copies");
    const char *store = string_or(json_object_get(json_array_get(copies, 0), "store"), "");
    const char *set = text_setting(fleet, source, policy, "encryption", NULL);
    if (json_object_get(json_object_get(fleet->walked, "stores"), store) == NULL)
        PROBLEM(fleet, node_at(fleet, "policies.%s.copies[0].store", policy_name), "unknown-store",
                NULL, "store '%s' is not defined in stores", store);
    if (set == NULL)
        PROBLEM(fleet, node_at(fleet, "sources.%s", name), "missing-key", NULL,
                "sources.%s has no encryption: name a key of keys, or none, here or in defaults",
                name);
    else if (strcmp(set, "none") != 0 &&
             json_object_get(json_object_get(fleet->walked, "keys"), set) == NULL)
        PROBLEM(fleet, node_at(fleet, "sources.%s", name), "unknown-key-set", NULL,
                "sources.%s is encrypted with '%s', which is not defined in keys", name, set);
    json_object_set_new(out, "store", json_string(store));
    json_object_set_new(out, "key_set",
                        set == NULL || strcmp(set, "none") == 0 ? json_null() : json_string(set));
    json_object_set(out, "copies", (json_t *)(uintptr_t)copies);
}

static void add_limits(const Fleet *fleet, const json_t *source, const json_t *policy, json_t *out)
{
    const json_t *limits = json_object_get(policy, "limits");
    const json_t *deadline = setting(fleet, source, policy, "start_deadline");
    const json_t *objectives = json_object_get(policy, "objectives");
    const json_t *concurrent = json_object_get(limits, "concurrent");
    json_object_set_new(out, "rate", json_integer(number_or(json_object_get(limits, "rate"), 0)));
    if (concurrent != NULL)
        json_object_set(out, "concurrent", (json_t *)(uintptr_t)concurrent);
    json_object_set_new(out, "start_deadline_s",
                        deadline == NULL ? json_null() : json_integer(seconds_of(deadline, 0)));
    json_object_set_new(out, "timeout_s",
                        json_integer(seconds_of(setting(fleet, source, policy, "timeout"), 28800)));
    json_object_set_new(
        out, "stall_s",
        json_integer(seconds_of(setting(fleet, source, policy, "stall_timeout"), 600)));
    if (objectives != NULL)
        json_object_set_new(out, "objectives",
                            json_pack("{s:I, s:I}", "rpo_s",
                                      seconds_of(json_object_get(objectives, "rpo"), 0), "rto_s",
                                      seconds_of(json_object_get(objectives, "rto"), 0)));
}

static void check_zone(const Fleet *fleet, const char *name, const char *timezone)
{
    Zone *zone = NULL;
    Err err = {0};
    const YamlNode *node = node_at(fleet, "sources.%s.timezone", name);
    if (!zone_open(&zone, text_of(timezone), &err))
        PROBLEM(fleet, node != NULL ? node : node_at(fleet, "defaults.timezone"),
                "unknown-timezone", NULL, "%s", err.text);
    zone_free(zone);
}

static json_t *source_of(const Fleet *fleet, const char *name, const json_t *source)
{
    const char *policy_name = string_or(json_object_get(source, "policy"), "");
    const json_t *policy = json_object_get(json_object_get(fleet->walked, "policies"), policy_name);
    const json_t *partial = setting(fleet, source, policy, "allow_partial");
    const json_t *initial = setting(fleet, source, policy, "initial");
    const char *timezone = text_setting(fleet, source, policy, "timezone", "UTC");
    json_t *out = json_object();
    if (policy == NULL) {
        PROBLEM(fleet, node_at(fleet, "sources.%s.policy", name), "unknown-policy", NULL,
                "policy '%s' is not defined in policies", policy_name);
        return out;
    }
    require_keys(fleet, name, source);
    check_zone(fleet, name, timezone);
    static const char *const copied[] = {"type", "policy", "owner", "labels", "verify"};
    for (size_t i = 0; i < sizeof copied / sizeof *copied; i++)
        if (json_object_get(source, copied[i]) != NULL)
            json_object_set(out, copied[i], json_object_get(source, copied[i]));
    add_place(fleet, name, source, out);
    add_store(fleet, name, policy_name, source, policy, out);
    json_t *config = config_of(source);
    const json_t *connections = json_object_get(json_object_get(policy, "limits"), "connections");
    if (connections != NULL && json_object_get(config, "jobs") == NULL &&
        json_object_get(config, "databases") != NULL)
        json_object_set(config, "jobs", (json_t *)(uintptr_t)connections);
    json_object_set_new(out, "config", config);
    json_object_set_new(out, "timezone", json_string(timezone));
    add_schedules(fleet, name, policy_name, policy, out);
    json_object_set_new(out, "overlap",
                        json_string(text_setting(fleet, source, policy, "overlap", "skip")));
    json_object_set_new(out, "catch_up",
                        json_string(text_setting(fleet, source, policy, "catch_up", "latest")));
    json_object_set_new(out, "dedup",
                        json_string(text_setting(fleet, source, policy, "dedup", "source")));
    json_object_set_new(out, "initial", json_boolean(json_is_true(initial)));
    add_limits(fleet, source, policy, out);
    add_retry(fleet, source, policy, out);
    json_object_set_new(out, "allow_partial",
                        partial == NULL ? json_null() : json_deep_copy(partial));
    json_object_set_new(out, "hooks", hooks_of(json_object_get(source, "hooks")));
    return out;
}

static void check_stores(const Fleet *fleet)
{
    const char *name;
    json_t *store;
    json_object_foreach(json_object_get(fleet->walked, "stores"), name, store)
    {
        const char *path = string_or(json_object_get(store, "path"), "");
        if (strcmp(string_or(json_object_get(store, "type"), ""), "local") != 0)
            PROBLEM(fleet, node_at(fleet, "stores.%s.type", name), "not-in-this-version", NULL,
                    "stores of type '%s' are not in this version",
                    string_or(json_object_get(store, "type"), ""));
        else if (path[0] != '/')
            PROBLEM(fleet, node_at(fleet, "stores.%s", name), "bad-path", NULL,
                    "stores.%s needs an absolute 'path'", name);
    }
}

static void compile(Fleet *fleet, Text text)
{
    const char *name;
    json_t *value;
    json_t *sets = json_array();
    json_t *sources = json_object();
    check_stores(fleet);
    json_object_foreach(json_object_get(fleet->walked, "keys"), name, value)
    {
        json_array_append_new(sets, json_string(name));
    }
    json_object_foreach(json_object_get(fleet->walked, "sources"), name, value)
    {
        json_object_set_new(sources, name, source_of(fleet, name, value));
    }
    json_t *pools = json_object_get(fleet->walked, "pools");
    fleet->out = json_pack("{s:O, s:s%, s:o, s:O, s:o, s:O, s:o}", "fleet",
                           json_object_get(fleet->walked, "fleet"), "text", text.at, text.len,
                           "pools", pools == NULL ? json_object() : json_incref(pools), "stores",
                           json_object_get(fleet->walked, "stores"), "key_sets", sets, "policies",
                           json_object_get(fleet->walked, "policies"), "sources", sources);
}

bool fleet_compile(const char *file, Text text, Buf *document, YamlProblems *problems)
{
    Fleet fleet = {.problems = problems};
    if (!yaml_parse(file, text, &fleet.doc, problems)) {
        yaml_doc_free(fleet.doc);
        return false;
    }
    refuse_later(&fleet, yaml_root(fleet.doc), &fleet_table);
    bool walked =
        yaml_walk(fleet.doc, yaml_root(fleet.doc), "", &fleet_table, &fleet.walked, problems);
    if (walked)
        compile(&fleet, text);
    bool good = walked && problems->errors == 0 && fleet.out != NULL;
    if (good)
        json_canonical(fleet.out, document);
    json_decref(fleet.out);
    json_decref(fleet.walked);
    yaml_doc_free(fleet.doc);
    return good;
}
