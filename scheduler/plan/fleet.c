/* SPDX-License-Identifier: Apache-2.0 */
#include "scheduler/plan/fleet.h"

#include "common/base/json.h"
#include "common/base/mem.h"
#include "scheduler/plan/fleet_check.h"
#include "scheduler/plan/fleet_group.h"
#include "scheduler/plan/fleet_keep.h"
#include "scheduler/plan/fleet_log.h"
#include "scheduler/plan/fleet_table.h"
#include "scheduler/plan/fleet_tree.h"
#include "scheduler/plan/fleet_verify.h"

/* One compilation of what was found to be right. */
typedef struct Fleet {
    json_t *walked; /* what the table made of the files */
} Fleet;

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
                  number_or(part(fleet, source, policy, "compression", "level"), 0)));
}

static json_t *hook_of(const json_t *hook)
{
    json_t *copy = json_deep_copy(hook);
    json_int_t timeout = seconds_of(json_object_get(copy, "timeout"), 60);
    json_object_del(copy, "timeout");
    json_object_set_new(copy, "timeout_s", json_integer(timeout));
    return copy;
}

/* A hook's timeout in seconds, the rest as written; of `apps` a list of such. */
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
        if (!json_is_array(hook)) {
            json_object_set_new(out, when, hook_of(hook));
            continue;
        }
        json_t *list = json_array();
        for (size_t i = 0; i < json_array_size(hook); i++)
            json_array_append_new(list, hook_of(json_array_get(hook, i)));
        json_object_set_new(out, when, list);
    }
    return out;
}

static void add_schedule(const char *name, const json_t *row, json_t *out)
{
    bool plain = json_is_string(row);
    if (json_is_false(json_object_get(row, "enabled")))
        return;
    json_object_set_new(out, name,
                        json_pack("{s:O, s:s, s:O?}", "at",
                                  plain ? (json_t *)(uintptr_t)row : json_object_get(row, "at"),
                                  "kind", fleet_keep_runs(row) ? "retention" : "backup", "method",
                                  json_object_get(row, "method")));
}

static void add_schedules(const json_t *policy, json_t *out)
{
    json_t *schedules = json_object();
    const json_t *single = json_object_get(policy, "schedule");
    const char *name;
    json_t *row;
    if (single != NULL)
        add_schedule("default", single, schedules);
    json_object_foreach(json_object_get(policy, "schedules"), name, row)
    {
        add_schedule(name, row, schedules);
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

static void add_place(const json_t *source, json_t *out)
{
    const json_t *run_on = json_object_get(source, "run_on");
    static const char *const keys[] = {"pool", "host"};
    for (size_t i = 0; i < FLEET_COUNT(keys); i++)
        if (json_object_get(run_on, keys[i]) != NULL)
            json_object_set(out, keys[i], json_object_get(run_on, keys[i]));
}

static void add_store(const Fleet *fleet, const json_t *source, const json_t *policy, json_t *out)
{
    json_t *copies = json_object_get(policy, "copies");
    const char *set = text_setting(fleet, source, policy, "encryption", "none");
    json_object_set(out, "store", json_object_get(json_array_get(copies, 0), "store"));
    json_object_set_new(out, "key_set", strcmp(set, "none") == 0 ? json_null() : json_string(set));
}

/* The host that a backup reads: the server's where it is named, else the one it runs on. One that
 * runs wherever a worker of its pool is free, and names none, counts in no host's limit. */
static const json_t *host_of(const json_t *source)
{
    static const char *const here[] = {"", "localhost", "127.0.0.1", "::1"};
    const json_t *server = json_object_get(source, "host");
    const json_t *run_on = json_object_get(json_object_get(source, "run_on"), "host");
    bool local = server == NULL || json_string_value(server)[0] == '/';
    for (size_t i = 0; !local && i < FLEET_COUNT(here); i++)
        local = strcmp(json_string_value(server), here[i]) == 0;
    return local ? run_on : server;
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
    if (json_object_get(limits, "per_host") != NULL)
        json_object_set(out, "per_host", json_object_get(limits, "per_host"));
    if (host_of(source) != NULL)
        json_object_set(out, "reads", (json_t *)(uintptr_t)host_of(source));
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

/* What the engine does unless a schedule or an operator says otherwise, and when it may. */
static void add_time(const Fleet *fleet, const json_t *source, const json_t *policy, json_t *out)
{
    const json_t *calendars = json_object_get(fleet->walked, "calendars");
    Text usual = fleet_check_method(string_or(json_object_get(source, "type"), ""));
    const json_t *own = json_object_get(source, "method");
    json_t *excluded = json_object();
    json_t *windows = json_object_get(policy, "windows");
    const json_t *name;
    size_t i;
    if (own != NULL || usual.len != 0)
        json_object_set_new(out, "method",
                            own != NULL ? json_deep_copy(own) : json_stringn(usual.at, usual.len));
    if (windows != NULL)
        json_object_set(out, "windows", windows);
    json_array_foreach(json_object_get(policy, "calendars"), i, name)
    {
        json_object_set(excluded, json_string_value(name),
                        json_object_get(calendars, json_string_value(name)));
    }
    if (json_object_size(excluded) != 0)
        json_object_set(out, "calendars", excluded);
    json_decref(excluded);
}

static json_t *config_with_jobs(const json_t *source, const json_t *policy)
{
    json_t *config = config_of(source);
    json_t *connections = json_object_get(json_object_get(policy, "limits"), "connections");
    if (connections != NULL && json_object_get(config, "jobs") == NULL &&
        json_object_get(config, "databases") != NULL)
        json_object_set(config, "jobs", connections);
    return config;
}

static json_t *source_of(const Fleet *fleet, const json_t *source)
{
    const char *policy_name = string_or(json_object_get(source, "policy"), "");
    const json_t *policy = json_object_get(json_object_get(fleet->walked, "policies"), policy_name);
    const json_t *partial = setting(fleet, source, policy, "allow_partial");
    const json_t *initial = setting(fleet, source, policy, "initial");
    static const char *const copied[] = {"type", "policy", "owner", "labels"};
    static const char *const words[][2] = {
        {"timezone", "UTC"}, {"overlap", "skip"}, {"catch_up", "latest"}, {"dedup", "source"}};
    json_t *out = json_object();
    for (size_t i = 0; i < FLEET_COUNT(copied); i++)
        if (json_object_get(source, copied[i]) != NULL)
            json_object_set(out, copied[i], json_object_get(source, copied[i]));
    for (size_t i = 0; i < FLEET_COUNT(words); i++)
        json_object_set_new(
            out, words[i][0],
            json_string(text_setting(fleet, source, policy, words[i][0], words[i][1])));
    add_place(source, out);
    add_store(fleet, source, policy, out);
    add_schedules(policy, out);
    fleet_keep_add(policy, out);
    fleet_verify_add(source, policy, out);
    add_limits(fleet, source, policy, out);
    add_retry(fleet, source, policy, out);
    add_time(fleet, source, policy, out);
    json_object_set_new(out, "config", config_with_jobs(source, policy));
    json_object_set_new(out, "initial", json_boolean(json_is_true(initial)));
    json_object_set_new(out, "allow_partial",
                        partial == NULL ? json_null() : json_deep_copy(partial));
    json_object_set_new(out, "hooks", hooks_of(json_object_get(source, "hooks")));
    return out;
}

/* The files as they were written: what `policy show` shows, and what `policy export` starts from.
 */
static json_t *files_of(const FleetFile *files, size_t count, const FleetTree *tree)
{
    json_t *list = json_array();
    for (size_t i = 0; i < count; i++)
        if (tree->docs[i] != NULL)
            json_array_append_new(list, json_pack("{s:s, s:s%}", "name", files[i].name, "text",
                                                  files[i].text.at, files[i].text.len));
    return list;
}

static json_t *budgets_of(const Fleet *fleet)
{
    json_t *budgets = json_object();
    const char *name;
    json_t *row;
    json_object_foreach(json_object_get(fleet->walked, "budgets"), name, row)
    {
        json_object_set_new(budgets, name,
                            json_pack("{s:O, s:O*, s:O*}", "labels",
                                      json_object_get(json_object_get(row, "match"), "labels"),
                                      "rate", json_object_get(row, "rate"), "concurrent",
                                      json_object_get(row, "concurrent")));
    }
    return budgets;
}

static json_t *document_of(const Fleet *fleet, json_t *files)
{
    const char *name;
    json_t *value;
    json_t *sets = json_array();
    json_t *sources = json_object();
    json_object_foreach(json_object_get(fleet->walked, "keys"), name, value)
    {
        json_array_append_new(sets, json_string(name));
    }
    json_object_foreach(json_object_get(fleet->walked, "sources"), name, value)
    {
        json_t *compiled = source_of(fleet, value);
        json_object_set_new(sources, name, compiled);
        fleet_log_add(name, compiled, sources);
    }
    json_t *groups = fleet_group_compile(fleet->walked, sources);
    json_t *pools = json_object_get(fleet->walked, "pools");
    return json_pack("{s:O, s:o, s:o, s:O, s:o, s:O, s:o, s:o, s:o*}", "fleet",
                     json_object_get(fleet->walked, "fleet"), "files", files, "pools",
                     pools == NULL ? json_object() : json_incref(pools), "stores",
                     json_object_get(fleet->walked, "stores"), "key_sets", sets, "policies",
                     json_object_get(fleet->walked, "policies"), "sources", sources, "budgets",
                     budgets_of(fleet), "groups", groups);
}

static void check_all(FleetCheck *check)
{
    fleet_check_table(check);
    fleet_check_frame(check);
    fleet_check_policies(check);
    fleet_verify_check(check);
    fleet_check_sources(check);
    fleet_group_check(check);
    fleet_check_plain(check);
    fleet_check_physics(check);
}

bool fleet_compile_files(const FleetFile *files, size_t count, const FleetFacts *facts,
                         Buf *document, FleetCount *counted, YamlProblems *problems)
{
    Fleet fleet = {0};
    FleetTree tree;
    bool good = fleet_tree_read(files, count, &tree, problems);
    if (good) {
        yaml_walk(tree.docs[0], tree.root, "", &fleet_table, &fleet.walked, problems);
        FleetCheck check = {
            .root = tree.root, .walked = fleet.walked, .facts = facts, .problems = problems};
        check_all(&check);
        if (counted != NULL)
            *counted = check.counted;
    }
    good = good && problems->errors == 0;
    json_t *compiled = good ? document_of(&fleet, files_of(files, count, &tree)) : NULL;
    if (compiled != NULL)
        json_canonical(compiled, document);
    json_decref(compiled);
    json_decref(fleet.walked);
    fleet_tree_free(&tree);
    return compiled != NULL;
}

bool fleet_compile(const char *file, Text text, Buf *document, YamlProblems *problems)
{
    FleetFile one = {file, text};
    return fleet_compile_files(&one, 1, NULL, document, NULL, problems);
}

static void add_count(Buf *out, size_t count, const char *what)
{
    buf_printf(out, "%zu %s%s", count, what, count == 1 ? "" : "s");
}

void fleet_summary(const char *file, const FleetCount *counted, const YamlProblems *problems,
                   Buf *out)
{
    size_t warnings = problems->count - problems->errors;
    if (problems->errors == 0) {
        buf_printf(out, "%s is valid: ", file);
        add_count(out, counted->sources, "source");
        if (warnings != 0) {
            buf_printf(out, ", ");
            add_count(out, warnings, "warning");
        }
        buf_printf(out, "\n");
        return;
    }
    add_count(out, problems->errors, "error");
    if (warnings != 0) {
        buf_printf(out, ", ");
        add_count(out, warnings, "warning");
    }
    buf_printf(out, " in %s", file);
    if (counted->without_policy != 0) {
        buf_printf(out, " (");
        add_count(out, counted->without_policy, "source");
        buf_printf(out, " left without a policy)");
    }
    buf_printf(out, "\n");
}

json_t *fleet_schema(void)
{
    json_t *schema = yaml_schema(&fleet_table);
    json_object_set_new(schema, "$schema",
                        json_string("https://json-schema.org/draft/2020-12/schema"));
    json_object_set_new(schema, "title", json_string("Holdfast fleet file"));
    return schema;
}
