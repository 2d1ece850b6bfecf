/* SPDX-License-Identifier: Apache-2.0 */
#include "scheduler/plan/fleet_group.h"

#include "common/base/json.h"
#include "scheduler/plan/fleet_keep.h"
#include "scheduler/plan/fleet_tree.h"

#include <string.h>

enum { TIMEOUT_S = 60, GATHER_S = 600 };

static json_int_t seconds_or(const json_t *value, json_int_t otherwise)
{
    return json_is_integer(value) ? json_integer_value(value) / 1000 : otherwise;
}

static json_t *group_of(const json_t *group)
{
    static const char *const hooks[] = {"hold", "release"};
    const json_t *barrier = json_object_get(group, "barrier");
    json_t *out = json_pack("{s:O, s:I, s:I}", "members", json_object_get(group, "members"),
                            "timeout_s", seconds_or(json_object_get(barrier, "timeout"), TIMEOUT_S),
                            "gather_s", seconds_or(json_object_get(barrier, "gather"), GATHER_S));
    for (size_t i = 0; i < sizeof hooks / sizeof *hooks; i++)
        if (json_object_get(barrier, hooks[i]) != NULL)
            json_object_set(out, hooks[i], json_object_get(barrier, hooks[i]));
    return out;
}

static void add_slot(const char *group, const char *schedule, const json_t *row, json_t *out)
{
    scoped(buf_free) Buf name = {0};
    bool plain = json_is_string(row);
    if (!plain && (json_is_false(json_object_get(row, "enabled")) || fleet_keep_runs(row)))
        return;
    buf_printf(&name, "group:%s%s%s", group, schedule[0] == 0 ? "" : ":", schedule);
    json_object_set_new(out, buf_cstr(&name),
                        json_pack("{s:O, s:s, s:{s:s}}", "at",
                                  plain ? (json_t *)(uintptr_t)row : json_object_get(row, "at"),
                                  "kind", "backup", "params", "group", group));
}

/* The slots of the group's policy, as schedules of its lead. */
static void add_slots(const char *name, const json_t *policy, json_t *schedules)
{
    const char *key;
    json_t *row;
    if (json_object_get(policy, "schedule") != NULL)
        add_slot(name, "", json_object_get(policy, "schedule"), schedules);
    json_object_foreach(json_object_get(policy, "schedules"), key, row)
    {
        add_slot(name, key, row, schedules);
    }
}

/* Of a member under the group's own policy: the group's slot stands for its backups. */
static void drop_slots(const char *policy, json_t *source)
{
    const char *key;
    json_t *row;
    void *next;
    json_t *schedules = json_object_get(source, "schedules");
    if (!text_equal(json_text_or(source, "policy", TEXT("")), text_of(policy)))
        return;
    json_object_foreach_safe(schedules, next, key, row)
    {
        if (text_equal(json_text_or(row, "kind", TEXT("")), TEXT("backup")) &&
            strncmp(key, "group:", 6) != 0)
            json_object_del(schedules, key);
    }
}

json_t *fleet_group_compile(const json_t *walked, json_t *sources)
{
    const json_t *policies = json_object_get(walked, "policies");
    json_t *groups = json_object();
    const char *name;
    json_t *group, *member;
    size_t i;
    json_object_foreach(json_object_get(walked, "groups"), name, group)
    {
        const char *policy = json_string_value(json_object_get(group, "policy"));
        const json_t *members = json_object_get(group, "members");
        json_array_foreach(members, i, member)
        {
            drop_slots(policy, json_object_get(sources, json_string_value(member)));
        }
        json_t *lead = json_object_get(sources, json_string_value(json_array_get(members, 0)));
        add_slots(name, json_object_get(policies, policy), json_object_get(lead, "schedules"));
        json_object_set_new(groups, name, group_of(group));
    }
    if (json_object_size(groups) != 0)
        return groups;
    json_decref(groups);
    return NULL;
}

static void check_members(FleetCheck *check, const YamlPair *group)
{
    const YamlNode *members = yaml_get(group->value, "members");
    for (size_t i = 0; members != NULL && members->kind == YAML_LIST && i < members->count; i++)
        for (size_t k = 0; k < i; k++)
            if (members->items[i]->kind == YAML_SCALAR && members->items[k]->kind == YAML_SCALAR &&
                text_equal(members->items[i]->text, members->items[k]->text))
                FLEET_PROBLEM(check, members->items[i], "defined-twice", NULL,
                              "groups.%.*s.members[%zu]: '%.*s' stands in it already",
                              TEXT_ARG(group->key->text), i, TEXT_ARG(members->items[i]->text));
}

static bool is_own(Text key)
{
    return text_equal(key, TEXT("method")) || (key.len > 5 && memcmp(key.at, "keep_", 5) == 0);
}

/* A backup of a group is of no schedule of its source: what one says of its own would be lost. */
static void check_schedule(FleetCheck *check, Text group, const char *policy, const YamlPair *row)
{
    for (size_t i = 0; row->value->kind == YAML_MAP && i < row->value->count; i++) {
        Text key = row->value->pairs[i].key->text;
        if (is_own(key))
            FLEET_PROBLEM(check, row->value->pairs[i].key, "not-of-a-group",
                          "say it of the policy, or give the group a policy of its own",
                          "policies.%s.schedules.%.*s.%.*s: the slots of groups.%.*s have no "
                          "'%.*s' of their own",
                          policy, TEXT_ARG(row->key->text), TEXT_ARG(key), TEXT_ARG(group),
                          TEXT_ARG(key));
    }
}

static void check_schedules(FleetCheck *check, const YamlPair *group)
{
    scoped(buf_free) Buf policy = {0};
    scoped(buf_free) Buf name = {0};
    const YamlNode *named = yaml_get(group->value, "policy");
    if (named == NULL || named->kind != YAML_SCALAR)
        return;
    buf_add_text(&policy, named->text);
    const YamlNode *rows =
        fleet_tree_at(check->root, "policies", buf_cstr(&policy), "schedules", NULL);
    const json_t *walked = json_object_get(
        json_object_get(json_object_get(check->walked, "policies"), buf_cstr(&policy)),
        "schedules");
    for (size_t i = 0; rows != NULL && rows->kind == YAML_MAP && i < rows->count; i++) {
        buf_clear(&name);
        buf_add_text(&name, rows->pairs[i].key->text);
        const json_t *row = json_object_get(walked, buf_cstr(&name));
        if (!json_is_false(json_object_get(row, "enabled")) && !fleet_keep_runs(row))
            check_schedule(check, group->key->text, buf_cstr(&policy), &rows->pairs[i]);
    }
}

void fleet_group_check(FleetCheck *check)
{
    const YamlNode *groups = yaml_get(check->root, "groups");
    for (size_t i = 0; groups != NULL && groups->kind == YAML_MAP && i < groups->count; i++) {
        const YamlPair *group = &groups->pairs[i];
        scoped(buf_free) Buf name = {0};
        buf_add_text(&name, group->key->text);
        if (fleet_tree_at(check->root, "sources", buf_cstr(&name), NULL) != NULL)
            FLEET_PROBLEM(check, group->key, "name-taken", "call one of the two otherwise",
                          "groups.%s has the name of a source", buf_cstr(&name));
        if (group->value->kind == YAML_MAP) {
            check_members(check, group);
            check_schedules(check, group);
        }
    }
}
