/* SPDX-License-Identifier: Apache-2.0 */
#include "scheduler/plan/fleet_verify.h"

#include "scheduler/plan/fleet_tree.h"

static const char *const levels[] = {"stored", "content", "restore"};
enum { LEVELS = sizeof levels / sizeof *levels };

/* A restore asks the policy's questions too, where it has some. */
static const char *level_of(const char *name, const json_t *verify)
{
    bool asks = json_array_size(json_object_get(verify, "query")) > 0;
    return strcmp(name, "restore") == 0 && asks ? "query" : name;
}

static void add_round(const char *level, const json_t *verify, json_t *schedules)
{
    const json_t *round = json_object_get(verify, level);
    char name[32];
    const json_t *within = json_object_get(round, "within");
    static const char *const copied[] = {"stores", "rate", "pool"};
    if (!json_is_object(round)) /* `always`: the backup's own reading back */
        return;
    json_t *params = json_pack("{s:s}", "level", level_of(level, verify));
    if (json_is_integer(within)) /* durations arrive in milliseconds */
        json_object_set_new(params, "within_s", json_integer(json_integer_value(within) / 1000));
    for (size_t i = 0; i < sizeof copied / sizeof *copied; i++)
        if (json_object_get(round, copied[i]) != NULL)
            json_object_set(params, copied[i], json_object_get(round, copied[i]));
    snprintf(name, sizeof name, "verify:%s", level);
    json_object_set_new(schedules, name,
                        json_pack("{s:O, s:s, s:o}", "at", json_object_get(round, "schedule"),
                                  "kind", "verify", "params", params));
}

void fleet_verify_add(const json_t *source, const json_t *policy, json_t *out)
{
    const json_t *general = json_object_get(policy, "verify");
    const json_t *own = json_object_get(source, "verify");
    if (general == NULL && own == NULL)
        return;
    json_t *both = general == NULL ? json_object() : json_deep_copy(general);
    if (own != NULL)
        json_object_update(both, (json_t *)(uintptr_t)own);
    for (size_t i = 0; i < LEVELS; i++)
        add_round(levels[i], both, json_object_get(out, "schedules"));
    json_object_set_new(out, "verify", both);
}

/* --- checks --------------------------------------------------------------------------------- */

static bool is_copy(const YamlNode *policy, Text store)
{
    const YamlNode *copies = yaml_get(policy, "copies");
    for (size_t i = 0; copies != NULL && copies->kind == YAML_LIST && i < copies->count; i++) {
        const YamlNode *name = yaml_get(copies->items[i], "store");
        const YamlNode *layout = yaml_get(copies->items[i], "layout");
        bool plain = layout != NULL && text_equal(layout->text, TEXT("plain"));
        if (name != NULL && !plain && text_equal(name->text, store))
            return true;
    }
    return false;
}

/* verify of a policy, or of a source under that policy. */
static void check_stores(FleetCheck *check, const YamlNode *holder, const YamlNode *policy,
                         const char *path)
{
    const YamlNode *verify = yaml_get(holder, "verify");
    for (size_t l = 0; l < LEVELS; l++) {
        const YamlNode *stores = yaml_get(yaml_get(verify, levels[l]), "stores");
        for (size_t i = 0; stores != NULL && stores->kind == YAML_LIST && i < stores->count; i++)
            if (stores->items[i]->kind == YAML_SCALAR && !is_copy(policy, stores->items[i]->text))
                FLEET_PROBLEM(check, stores->items[i], "no-copy-there",
                              "name a store of the policy's copies",
                              "%s.verify.%s: no copy goes into the store '%.*s'", path, levels[l],
                              TEXT_ARG(stores->items[i]->text));
    }
}

void fleet_verify_check(FleetCheck *check)
{
    const YamlNode *policies = yaml_get(check->root, "policies");
    const YamlNode *sources = yaml_get(check->root, "sources");
    for (size_t i = 0; policies != NULL && policies->kind == YAML_MAP && i < policies->count; i++) {
        scoped(buf_free) Buf path = {0};
        buf_printf(&path, "policies.%.*s", TEXT_ARG(policies->pairs[i].key->text));
        check_stores(check, policies->pairs[i].value, policies->pairs[i].value, buf_cstr(&path));
    }
    for (size_t i = 0; sources != NULL && sources->kind == YAML_MAP && i < sources->count; i++) {
        const YamlNode *source = sources->pairs[i].value;
        const YamlNode *name = yaml_get(source, "policy");
        const YamlNode *policy = NULL;
        scoped(buf_free) Buf path = {0};
        for (size_t p = 0;
             name != NULL && policies != NULL && policies->kind == YAML_MAP && p < policies->count;
             p++)
            if (text_equal(policies->pairs[p].key->text, name->text))
                policy = policies->pairs[p].value;
        buf_printf(&path, "sources.%.*s", TEXT_ARG(sources->pairs[i].key->text));
        if (policy != NULL)
            check_stores(check, source, policy, buf_cstr(&path));
    }
}
