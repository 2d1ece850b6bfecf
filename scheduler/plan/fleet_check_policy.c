/* SPDX-License-Identifier: Apache-2.0 */
#include "scheduler/plan/fleet_check.h"
#include "scheduler/plan/fleet_keep.h"
#include "scheduler/plan/fleet_text.h"
#include "scheduler/plan/fleet_tree.h"

static void check_schedules(FleetCheck *check, const YamlPair *pair, const char *path)
{
    const YamlNode *policy = pair->value;
    const YamlNode *one = yaml_get(policy, "schedule");
    const YamlNode *several = yaml_get(policy, "schedules");
    if (one != NULL && several != NULL)
        FLEET_PROBLEM(check, fleet_check_key(policy, "schedules"), "two-forms",
                      "move the one into the other, with a name",
                      "%s has both schedule and schedules", path);
    if (one == NULL && (several == NULL || several->count == 0))
        FLEET_WARNING(check, pair->key, "no-schedule", NULL,
                      "%s has no schedule: its sources run by hand only", path);
}

static bool permits(const YamlNode *window, Text method)
{
    const YamlNode *methods = yaml_get(window, "methods");
    if (methods == NULL || methods->kind != YAML_LIST)
        return true;
    for (size_t i = 0; i < methods->count; i++)
        if (text_equal(methods->items[i]->text, method))
            return true;
    return false;
}

/* A schedule whose method no window lets in would wait for ever. */
static void check_windows(FleetCheck *check, const YamlNode *policy, const char *path)
{
    const YamlNode *windows = yaml_get(policy, "windows");
    const YamlNode *schedules = yaml_get(policy, "schedules");
    if (windows == NULL || windows->kind != YAML_LIST || windows->count == 0 || schedules == NULL ||
        schedules->kind != YAML_MAP)
        return;
    for (size_t i = 0; i < schedules->count; i++) {
        const YamlNode *method = yaml_get(schedules->pairs[i].value, "method");
        bool open = method == NULL || method->kind != YAML_SCALAR;
        for (size_t w = 0; w < windows->count && !open; w++)
            open = permits(windows->items[w], method->text);
        if (!open)
            FLEET_PROBLEM(check, method, "no-window", "name it in the methods of a window",
                          "%s.schedules.%.*s: no window lets the method '%.*s' run", path,
                          TEXT_ARG(schedules->pairs[i].key->text), TEXT_ARG(method->text));
    }
}

static bool is_plain(const YamlNode *copy)
{
    const YamlNode *layout = yaml_get(copy, "layout");
    return layout != NULL && text_equal(layout->text, TEXT("plain"));
}

/* What is said of plain copies means nothing of others. */
static void check_plain(FleetCheck *check, const YamlNode *copy, const char *path, size_t at)
{
    static const char *const members[] = {"name", "latest", "holds", "meta"};
    for (size_t i = 0; !is_plain(copy) && i < sizeof members / sizeof members[0]; i++)
        if (yaml_get(copy, members[i]) != NULL)
            FLEET_PROBLEM(check, fleet_check_key(copy, members[i]), "not-plain",
                          "say layout: plain, or take it out",
                          "%s.copies[%zu].%s is for plain copies", path, at, members[i]);
}

static void check_copies(FleetCheck *check, const YamlNode *policy, const char *path)
{
    const YamlNode *copies = yaml_get(policy, "copies");
    if (copies == NULL || copies->kind != YAML_LIST)
        return;
    for (size_t i = 0; i < copies->count; i++) {
        const YamlNode *store = yaml_get(copies->items[i], "store");
        check_plain(check, copies->items[i], path, i);
        if (i == 0 && is_plain(copies->items[0]))
            FLEET_PROBLEM(check, copies->items[0], "plain-first",
                          "put a copy in a repository before it",
                          "%s.copies[0] is plain, and the backup job writes to the first", path);
        for (size_t j = 0; store != NULL && j < i; j++) {
            const YamlNode *other = yaml_get(copies->items[j], "store");
            if (other != NULL && text_equal(other->text, store->text) &&
                is_plain(copies->items[i]) == is_plain(copies->items[j]))
                FLEET_PROBLEM(check, store, "store-twice", NULL,
                              "%s.copies[%zu] goes to the store of copies[%zu], '%.*s'", path, i, j,
                              TEXT_ARG(store->text));
        }
    }
}

static json_int_t milliseconds(const json_t *record, const char *key, json_int_t otherwise)
{
    const json_t *value = json_object_get(record, key);
    return json_is_integer(value) ? json_integer_value(value) : otherwise;
}

/* Durations of one record that contradict each other; `node` and `record` are the same thing. */
static void check_durations(FleetCheck *check, const YamlNode *node, const json_t *record,
                            const char *path)
{
    const json_t *retry = json_object_get(record, "retry");
    json_int_t backoff = milliseconds(retry, "backoff", -1);
    json_int_t most = milliseconds(retry, "max_backoff", -1);
    json_int_t timeout = milliseconds(record, "timeout", -1);
    json_int_t stall = milliseconds(record, "stall_timeout", -1);
    if (backoff > 0 && most > 0 && most < backoff)
        FLEET_PROBLEM(check, fleet_tree_at(node, "retry", "max_backoff", NULL), "impossible", NULL,
                      "%s.retry: max_backoff is shorter than backoff", path);
    if (timeout > 0 && stall > timeout)
        FLEET_WARNING(check, yaml_get(node, "stall_timeout"), "never-stalls", NULL,
                      "%s: stall_timeout is longer than timeout, so nothing ever stalls", path);
}

void fleet_check_policies(FleetCheck *check)
{
    const YamlNode *policies = yaml_get(check->root, "policies");
    const json_t *walked = json_object_get(check->walked, "policies");
    check_durations(check, yaml_get(check->root, "defaults"),
                    json_object_get(check->walked, "defaults"), "defaults");
    for (size_t i = 0; policies != NULL && policies->kind == YAML_MAP && i < policies->count; i++) {
        const YamlPair *pair = &policies->pairs[i];
        scoped(buf_free) Buf path = {0};
        buf_printf(&path, "policies.%.*s", TEXT_ARG(pair->key->text));
        if (pair->value->kind != YAML_MAP)
            continue;
        check_schedules(check, pair, buf_cstr(&path));
        check_windows(check, pair->value, buf_cstr(&path));
        check_copies(check, pair->value, buf_cstr(&path));
        fleet_keep_check(check, pair, buf_cstr(&path));
        check_durations(check, pair->value,
                        json_object_getn(walked, pair->key->text.at, pair->key->text.len),
                        buf_cstr(&path));
    }
}
