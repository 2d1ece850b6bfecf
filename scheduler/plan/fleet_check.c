/* SPDX-License-Identifier: Apache-2.0 */
#include "scheduler/plan/fleet_check.h"

#include "common/base/json.h"
#include "common/base/mem.h"
#include "common/base/suggest.h"
#include "scheduler/plan/fleet_table.h"
#include "scheduler/plan/fleet_tree.h"

/* What a row's `refers` means: where such names are defined, and which one is always there. */
typedef struct Kind {
    const char *name;
    const char *code; /* of the problem */
    const char *section, *member;
    const char *always;
} Kind;

static const Kind kinds[] = {
    {"policy", "unknown-policy", "policies", NULL, NULL},
    {"store", "unknown-store", "stores", NULL, NULL},
    {"key set", "unknown-key-set", "keys", NULL, "none"},
    {"pool", "unknown-pool", "pools", NULL, "default"},
    {"sandbox", "unknown-sandbox", "sandboxes", NULL, NULL},
    {"source", "unknown-source", "sources", NULL, NULL},
    {"calendar", "unknown-calendar", "calendars", NULL, NULL},
    {"target", "unknown-target", "notify", "targets", NULL},
    {"route", "unknown-route", "notify", "routes", NULL},
};
enum { KIND_COUNT = sizeof kinds / sizeof *kinds, NAMES_SHOWN = 8, NAMES_TRIED = 1000 };

typedef struct Table {
    FleetCheck *check;
    json_t *names[KIND_COUNT]; /* a set of names; built when first asked */
} Table;

const YamlNode *fleet_check_key(const YamlNode *map, const char *name)
{
    for (size_t i = 0; map != NULL && map->kind == YAML_MAP && i < map->count; i++)
        if (text_equal(map->pairs[i].key->text, text_of(name)))
            return map->pairs[i].key;
    return map;
}

static json_t *names_of(const FleetCheck *check, const Kind *kind)
{
    json_t *names = json_object();
    const YamlNode *section = yaml_get(check->root, kind->section);
    if (kind->member != NULL)
        section = yaml_get(section, kind->member);
    for (size_t i = 0; section != NULL && i < section->count; i++) {
        const YamlNode *name = section->kind == YAML_MAP    ? section->pairs[i].key
                               : section->kind == YAML_LIST ? yaml_get(section->items[i], "name")
                                                            : NULL;
        if (name != NULL && name->kind == YAML_SCALAR)
            json_object_setn_new(names, name->text.at, name->text.len, json_true());
    }
    return names;
}

/* "(gold, bronze)", and the nearest of all. */
static const char *list_names(json_t *names, Text word, Buf *out)
{
    const char *tried[NAMES_TRIED];
    size_t count = 0;
    const char *name;
    json_t *value;
    json_object_foreach(names, name, value)
    {
        if (count == NAMES_TRIED)
            break;
        if (count < NAMES_SHOWN)
            buf_printf(out, "%s%s", count == 0 ? "" : ", ", name);
        tried[count++] = name;
    }
    if (count > NAMES_SHOWN)
        buf_printf(out, " and %zu more", json_object_size(names) - NAMES_SHOWN);
    if (count == 0)
        buf_printf(out, "there is none");
    return suggest_nearest(word, tried, count);
}

static void check_reference(Table *table, const YamlNode *node, const char *refers)
{
    size_t k = 0;
    scoped(buf_free) Buf path = {0};
    scoped(buf_free) Buf known = {0};
    scoped(buf_free) Buf hint = {0};
    while (k < KIND_COUNT && strcmp(kinds[k].name, refers) != 0)
        k++;
    if (k == KIND_COUNT || node->kind != YAML_SCALAR || node->text.len == 0)
        return;
    if (table->names[k] == NULL)
        table->names[k] = names_of(table->check, &kinds[k]);
    bool always = kinds[k].always != NULL && text_equal(node->text, text_of(kinds[k].always));
    if (always || json_object_getn(table->names[k], node->text.at, node->text.len) != NULL)
        return;
    const char *nearest = list_names(table->names[k], node->text, &known);
    if (nearest != NULL)
        buf_printf(&hint, "did you mean '%s'?", nearest);
    else
        buf_printf(&hint, "define it in %s%s%s", kinds[k].section,
                   kinds[k].member == NULL ? "" : ".",
                   kinds[k].member == NULL ? "" : kinds[k].member);
    yaml_path(node, &path);
    FLEET_PROBLEM(table->check, node, kinds[k].code, buf_cstr(&hint),
                  "%s: %s '%.*s' is not defined (%s)", buf_cstr(&path), refers,
                  TEXT_ARG(node->text), buf_cstr(&known));
}

static void refuse_later(const Table *table, const YamlNode *at, const YamlNode *choice)
{
    scoped(buf_free) Buf path = {0};
    yaml_path(at, &path);
    if (choice == NULL)
        FLEET_PROBLEM(table->check, at, "not-in-this-version", "take it out until a version has it",
                      "%s is not in this version", buf_cstr(&path));
    else
        FLEET_PROBLEM(table->check, at, "not-in-this-version", NULL,
                      "%s '%.*s' is not in this version", buf_cstr(&path), TEXT_ARG(choice->text));
}

/* {env: …} is for a daemon's own file: what a policy names must be there on every worker. */
static void check_secret(const Table *table, const YamlNode *node)
{
    const YamlNode *key = node->kind == YAML_MAP && node->count == 1 ? node->pairs[0].key : NULL;
    scoped(buf_free) Buf path = {0};
    if (key == NULL || !text_equal(key->text, TEXT("env")))
        return;
    yaml_path(node, &path);
    FLEET_PROBLEM(table->check, key, "env-secret", "use {credential: NAME} or {file: PATH}",
                  "%s: an environment variable is for a daemon's own file", buf_cstr(&path));
}

static bool is_later(const YamlField *field, const YamlNode *node)
{
    if (field->later_choices == NULL || node->kind != YAML_SCALAR)
        return false;
    for (const char *at = field->later_choices; *at != 0; at += *at == '|') {
        size_t len = strcspn(at, "|");
        if (text_equal((Text){at, len}, node->text))
            return true;
        at += len;
    }
    return false;
}

static void visit(Table *table, const YamlNode *node, const YamlField *field, bool refused);

/* Members of a record; of one whose type is refused, nothing that is only for types is. */
static void visit_record(Table *table, const YamlNode *node, const YamlField *field, bool refused)
{
    const YamlNode *type = yaml_get(node, "type");
    bool type_later = false;
    for (size_t f = 0; type != NULL && f < field->field_count; f++)
        if (strcmp(field->fields[f].name, "type") == 0)
            type_later = is_later(&field->fields[f], type);
    for (size_t i = 0; i < node->count; i++) {
        const YamlPair *pair = &node->pairs[i];
        const YamlField *member = NULL;
        for (size_t f = 0; f < field->field_count && member == NULL; f++)
            if (text_equal(pair->key->text, text_of(field->fields[f].name)))
                member = &field->fields[f];
        if (member == NULL)
            continue;
        bool covered = refused || (type_later && member->only != NULL);
        if (member->later && !covered)
            refuse_later(table, pair->key, NULL);
        visit(table, pair->value, member, covered || member->later);
    }
}

/* Of a row that may be a word or a map: the one that was written. */
static const YamlField *written_as(const YamlField *field, const YamlNode *node)
{
    bool map = node->kind == YAML_MAP;
    while (field->other != NULL && map && field->type != YAML_RECORD)
        field = field->other;
    return field;
}

static void visit(Table *table, const YamlNode *node, const YamlField *field, bool refused)
{
    field = written_as(field, node);
    if (field->refers != NULL)
        check_reference(table, node, field->refers);
    if (field->type == YAML_SECRET)
        check_secret(table, node);
    if (!refused && is_later(field, node))
        refuse_later(table, node, node);
    if (field->type == YAML_LIST_OF && node->kind == YAML_LIST)
        for (size_t i = 0; i < node->count; i++) {
            bool beyond = field->items_now != 0 && i >= field->items_now;
            if (beyond && !refused)
                refuse_later(table, node->items[i], NULL);
            visit(table, node->items[i], field->fields, refused || beyond);
        }
    if (field->type == YAML_MAP_OF && node->kind == YAML_MAP)
        for (size_t i = 0; i < node->count; i++)
            visit(table, node->pairs[i].value, field->fields, refused);
    if (field->type == YAML_RECORD && node->kind == YAML_MAP)
        visit_record(table, node, field, refused);
}

void fleet_check_table(FleetCheck *check)
{
    Table table = {.check = check};
    visit(&table, check->root, &fleet_table, false);
    for (size_t k = 0; k < KIND_COUNT; k++)
        json_decref(table.names[k]);
}

/* --- budgets and routes -------------------------------------------------------------------------
 */

static bool labelled(const YamlNode *source, const YamlNode *wanted)
{
    const YamlNode *labels = yaml_get(source, "labels");
    for (size_t i = 0; i < wanted->count; i++) {
        bool has = false;
        for (size_t l = 0; labels != NULL && labels->kind == YAML_MAP && l < labels->count; l++)
            has |= text_equal(labels->pairs[l].key->text, wanted->pairs[i].key->text) &&
                   text_equal(labels->pairs[l].value->text, wanted->pairs[i].value->text);
        if (!has)
            return false;
    }
    return true;
}

/* A selector that no source has is a slip of the pen more often than a plan. */
static void check_match(FleetCheck *check, const YamlNode *match)
{
    const YamlNode *labels = yaml_get(match, "labels");
    const YamlNode *sources = yaml_get(check->root, "sources");
    scoped(buf_free) Buf path = {0};
    if (labels == NULL || labels->kind != YAML_MAP || sources == NULL || sources->kind != YAML_MAP)
        return;
    for (size_t i = 0; i < sources->count; i++)
        if (labelled(sources->pairs[i].value, labels))
            return;
    yaml_path(labels, &path);
    FLEET_WARNING(check, labels, "matches-nothing", NULL, "%s: no source has these labels",
                  buf_cstr(&path));
}

static bool listed(const YamlNode *list, const char *word)
{
    for (size_t i = 0; list != NULL && list->kind == YAML_LIST && i < list->count; i++)
        if (text_equal(list->items[i]->text, text_of(word)))
            return true;
    return false;
}

static void check_route(FleetCheck *check, const YamlNode *route, const YamlNode *routes, size_t at)
{
    static const char *const needs[][2] = {{"digest", "at"}, {"heartbeat", "every"}};
    const YamlNode *name = yaml_get(route, "name");
    const YamlNode *when = yaml_get(route, "when");
    scoped(buf_free) Buf path = {0};
    yaml_path(route, &path);
    check_match(check, yaml_get(route, "match"));
    for (size_t i = 0; i < 2; i++)
        if (listed(when, needs[i][0]) && yaml_get(route, needs[i][1]) == NULL)
            FLEET_PROBLEM(check, when, "missing-key", NULL, "%s: when '%s' needs '%s'",
                          buf_cstr(&path), needs[i][0], needs[i][1]);
    for (size_t i = 0; name != NULL && i < at; i++) {
        const YamlNode *other = yaml_get(routes->items[i], "name");
        if (other != NULL && text_equal(other->text, name->text))
            FLEET_PROBLEM(check, name, "defined-twice", NULL,
                          "route '%.*s' is defined in line %u already", TEXT_ARG(name->text),
                          other->line);
    }
}

void fleet_check_frame(FleetCheck *check)
{
    const YamlNode *budgets = yaml_get(check->root, "budgets");
    const YamlNode *routes = fleet_tree_at(check->root, "notify", "routes", NULL);
    for (size_t i = 0; budgets != NULL && budgets->kind == YAML_MAP && i < budgets->count; i++) {
        const YamlNode *budget = budgets->pairs[i].value;
        if (yaml_get(budget, "rate") == NULL && yaml_get(budget, "concurrent") == NULL)
            FLEET_PROBLEM(check, budgets->pairs[i].key, "missing-key", NULL,
                          "budgets.%.*s limits nothing: give it a rate, or a number of concurrent "
                          "runs",
                          TEXT_ARG(budgets->pairs[i].key->text));
        check_match(check, yaml_get(budget, "match"));
    }
    for (size_t i = 0; routes != NULL && routes->kind == YAML_LIST && i < routes->count; i++)
        if (routes->items[i]->kind == YAML_MAP)
            check_route(check, routes->items[i], routes, i);
}
