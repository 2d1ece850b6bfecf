/* SPDX-License-Identifier: Apache-2.0 */
#include "scheduler/plan/fleet_keep.h"

#include "scheduler/plan/fleet_tree.h"
#include "scheduler/plan/keep.h"

static const char PREFIX[] = "keep_";

/* The keep_* members of a copy or schedule; NULL where there is none. */
static json_t *rules_of(const json_t *record)
{
    json_t *rules = NULL;
    for (KeepRule rule = 0; rule < KEEP_RULES; rule++) {
        char key[32];
        snprintf(key, sizeof key, "%s%s", PREFIX, keep_rule_name(rule));
        const json_t *value = json_object_get(record, key);
        if (!json_is_integer(value))
            continue;
        if (rules == NULL)
            rules = json_object();
        if (rule == KEEP_WITHIN) /* durations arrive in milliseconds */
            json_object_set_new(rules, "within_s", json_integer(json_integer_value(value) / 1000));
        else
            json_object_set(rules, keep_rule_name(rule), (json_t *)(uintptr_t)value);
    }
    return rules;
}

static json_t *copy_of(const json_t *copy)
{
    json_t *rules = rules_of(copy);
    json_t *out = json_object();
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)copy, key, value)
    {
        if (strncmp(key, PREFIX, sizeof PREFIX - 1) != 0)
            json_object_set(out, key, value);
    }
    if (rules != NULL)
        json_object_set_new(out, "keep", rules);
    return out;
}

bool fleet_keep_runs(const json_t *schedule)
{
    const char *run = json_string_value(json_object_get(schedule, "run"));
    return run != NULL && strcmp(run, "retention") == 0;
}

/* The rules of schedules, and whether one of these runs retention. */
static json_t *own_rules(const json_t *policy, bool *runs)
{
    json_t *own = json_object();
    const char *name;
    json_t *row;
    json_object_foreach(json_object_get(policy, "schedules"), name, row)
    {
        json_t *rules = rules_of(row);
        if (rules != NULL)
            json_object_set_new(own, name, json_pack("{s:o}", "keep", rules));
        *runs = *runs || fleet_keep_runs(row);
    }
    return own;
}

void fleet_keep_add(const json_t *policy, json_t *out)
{
    const json_t *copy;
    bool runs = false, any = false;
    size_t i;
    json_t *copies = json_array();
    json_t *own = own_rules(policy, &runs);
    json_t *schedules = json_object_get(out, "schedules");
    any = json_object_size(own) != 0;
    json_array_foreach(json_object_get(policy, "copies"), i, copy)
    {
        json_t *compiled = copy_of(copy);
        any = any || json_object_get(compiled, "keep") != NULL;
        json_array_append_new(copies, compiled);
    }
    json_object_set_new(out, "copies", copies);
    if (json_object_size(own) != 0)
        json_object_set(out, "keep", own);
    json_decref(own);
    if (json_object_get(policy, "min_good") != NULL)
        json_object_set(out, "min_good", json_object_get(policy, "min_good"));
    if (any && !runs)
        json_object_set_new(schedules, "retention",
                            json_pack("{s:s, s:s}", "at", FLEET_KEEP_DAILY, "kind", "retention"));
}

/* --- checks --------------------------------------------------------------------------------- */

static bool has_rules(const YamlNode *record)
{
    for (size_t i = 0; record != NULL && record->kind == YAML_MAP && i < record->count; i++) {
        Text key = record->pairs[i].key->text;
        if (key.len > sizeof PREFIX - 1 && memcmp(key.at, PREFIX, sizeof PREFIX - 1) == 0)
            return true;
    }
    return false;
}

static bool says(const YamlNode *record, const char *key, const char *word)
{
    const YamlNode *value = yaml_get(record, key);
    return value != NULL && value->kind == YAML_SCALAR && text_equal(value->text, text_of(word));
}

/* Schedules that run retention make no backups. True: one has rules, or one runs retention. */
static bool check_schedules(FleetCheck *check, const YamlNode *policy, const char *path, bool *runs)
{
    const YamlNode *schedules = yaml_get(policy, "schedules");
    bool any = false;
    for (size_t i = 0; schedules != NULL && schedules->kind == YAML_MAP && i < schedules->count;
         i++) {
        const YamlNode *row = schedules->pairs[i].value;
        Text name = schedules->pairs[i].key->text;
        bool retention = says(row, "run", "retention");
        if (row->kind != YAML_MAP)
            continue;
        any = any || has_rules(row);
        *runs = *runs || retention;
        if (retention && (has_rules(row) || yaml_get(row, "method") != NULL))
            FLEET_PROBLEM(check, schedules->pairs[i].key, "no-backups",
                          "put them where the backups are made",
                          "%s.schedules.%.*s runs retention: it has no method, and no backups of "
                          "its own to keep",
                          path, TEXT_ARG(name));
    }
    return any;
}

static json_int_t lock_of(const FleetCheck *check, Text store)
{
    const json_t *stores = json_object_get(check->walked, "stores");
    const json_t *span = json_object_get(
        json_object_get(json_object_getn(stores, store.at, store.len), "lock"), "for");
    return json_is_integer(span) ? json_integer_value(span) : 0;
}

/* What a lock keeps longer than the rules do is paid for, and looks like retention that fails. */
static void check_lock(FleetCheck *check, const YamlNode *copy, const json_t *walked,
                       const char *path, size_t at)
{
    const YamlNode *store = yaml_get(copy, "store");
    json_int_t lock = store == NULL ? 0 : lock_of(check, store->text);
    const json_t *within = json_object_get(walked, "keep_within");
    const json_t *daily = json_object_get(walked, "keep_daily");
    json_int_t longest = 0;
    if (lock == 0 || !has_rules(copy))
        return;
    if (json_is_integer(within))
        longest = json_integer_value(within);
    if (json_is_integer(daily) && json_integer_value(daily) * 86400000 > longest)
        longest = json_integer_value(daily) * 86400000;
    if (longest >= lock || json_object_get(walked, "keep_weekly") != NULL ||
        json_object_get(walked, "keep_monthly") != NULL ||
        json_object_get(walked, "keep_yearly") != NULL)
        return;
    FLEET_WARNING(check, store, "keep-below-lock", "keep as long as the lock does, or lock shorter",
                  "%s.copies[%zu] keeps for less than '%.*s' locks what is put there (%lldd): "
                  "nothing goes before the lock ends",
                  path, at, TEXT_ARG(store->text), (long long)(lock / 86400000));
}

void fleet_keep_check(FleetCheck *check, const YamlPair *policy, const char *path)
{
    const YamlNode *copies = yaml_get(policy->value, "copies");
    const json_t *walked =
        json_object_get(json_object_getn(json_object_get(check->walked, "policies"),
                                         policy->key->text.at, policy->key->text.len),
                        "copies");
    bool runs = false;
    bool any = check_schedules(check, policy->value, path, &runs);
    for (size_t i = 0; copies != NULL && copies->kind == YAML_LIST && i < copies->count; i++) {
        any = any || has_rules(copies->items[i]);
        check_lock(check, copies->items[i], json_array_get(walked, i), path, i);
    }
    if (!any && copies != NULL)
        FLEET_WARNING(check, fleet_check_key(policy->value, "copies"), "keeps-all",
                      "add keep_daily: 14 or the like to a copy",
                      "%s has no keep rule: its backups stay for ever", path);
    if (any && !runs && fleet_tree_at(policy->value, "schedules", "retention", NULL) != NULL)
        FLEET_PROBLEM(check, fleet_tree_at(policy->value, "schedules", "retention", NULL),
                      "name-taken", "call it otherwise, or let it say run: retention",
                      "%s.schedules.retention makes backups, and the daily run of its keep rules "
                      "has that name",
                      path);
}
