/* SPDX-License-Identifier: Apache-2.0 */
#include "common/base/mem.h"
#include "common/base/suggest.h"
#include "common/base/units.h"
#include "common/base/yaml_doc.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum { NAME_MOST = 63, KEYS_MOST = 128 };

typedef struct Walk {
    const YamlDoc *doc;
    YamlProblems *problems;
} Walk;

static json_t *walk(Walk *w, const YamlNode *node, const char *path, const YamlField *field);

static void bad(Walk *w, const YamlNode *node, const char *path, const char *code,
                const char *suggestion, const char *wanted)
{
    yaml_problem(w->problems, w->doc, node, false, code, suggestion, "%s %s",
                 *path == 0 ? "the file" : path, wanted);
}

static YamlKind kind_of(YamlType type)
{
    switch (type) {
    case YAML_SECRET:
    case YAML_RECORD:
    case YAML_MAP_OF:
        return YAML_MAP;
    case YAML_LIST_OF:
        return YAML_LIST;
    default:
        return YAML_SCALAR;
    }
}

/* A bound in the unit that a person would write. */
static long long shown(const YamlField *field, int64_t bound)
{
    return field->type == YAML_DURATION ? bound / 1000 : bound;
}

static const char *unit_of(const YamlField *field)
{
    switch (field->type) {
    case YAML_DURATION:
        return "s";
    case YAML_SIZE:
        return " bytes";
    case YAML_RATE:
        return " bytes a second";
    case YAML_TEXT:
        return " letters long";
    default:
        return "";
    }
}

static bool in_range(Walk *w, const YamlNode *node, const char *path, const YamlField *field,
                     int64_t value)
{
    char wanted[128];
    bool high = field->most != 0 && value > field->most;
    if (value >= field->least && !high)
        return true;
    if (field->most != 0)
        snprintf(wanted, sizeof wanted, "must be %lld to %lld%s", shown(field, field->least),
                 shown(field, field->most), unit_of(field));
    else
        snprintf(wanted, sizeof wanted, "must be at least %lld%s", shown(field, field->least),
                 unit_of(field));
    bad(w, node, path, "out-of-range", NULL, wanted);
    return false;
}

static json_t *take_whole(Walk *w, const YamlNode *node, const char *path, const YamlField *field)
{
    json_t *value = node->plain ? yaml_to_json(node) : NULL;
    bool good = json_is_integer(value) && json_integer_value(value) >= 0;
    if (!good)
        bad(w, node, path, "bad-number", NULL, "must be a whole number that is not negative");
    if (good && in_range(w, node, path, field, json_integer_value(value)))
        return value;
    json_decref(value);
    return NULL;
}

static json_t *take_real(Walk *w, const YamlNode *node, const char *path)
{
    json_t *value = node->plain ? yaml_to_json(node) : NULL;
    if (json_is_number(value))
        return value;
    json_decref(value);
    bad(w, node, path, "bad-number", NULL, "must be a number");
    return NULL;
}

static json_t *take_bool(Walk *w, const YamlNode *node, const char *path)
{
    bool yes = text_equal(node->text, TEXT("true"));
    if (yes || text_equal(node->text, TEXT("false")))
        return json_boolean(yes);
    bad(w, node, path, "bad-boolean", NULL, "must be true or false");
    return NULL;
}

static bool checked(Walk *w, const YamlNode *node, const char *path, const YamlField *field)
{
    Err err = {0};
    scoped(buf_free) Buf hint = {0};
    if (field->check == NULL || field->check(node->text, &hint, &err))
        return true;
    yaml_problem(w->problems, w->doc, node, false, err.cause,
                 hint.len == 0 ? NULL : buf_cstr(&hint), "%s: %s", path, err.text);
    return false;
}

static json_t *take_text(Walk *w, const YamlNode *node, const char *path, const YamlField *field)
{
    if (!in_range(w, node, path, field, (int64_t)node->text.len) || !checked(w, node, path, field))
        return NULL;
    return json_stringn(node->text.at, node->text.len);
}

static bool is_name(Text text)
{
    for (size_t i = 0; i < text.len; i++) {
        char c = text.at[i];
        bool sign = c == '.' || c == '_' || c == '-';
        bool word = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
        if (!word && (i == 0 || !sign))
            return false;
    }
    return text.len != 0 && text.len <= NAME_MOST;
}

static bool check_name(Walk *w, const YamlNode *node, const char *path)
{
    if (is_name(node->text))
        return true;
    bad(w, node, path, "bad-name", NULL,
        "must be a name: letters, digits, '.', '_' and '-', at most 63, a letter or digit first");
    return false;
}

static json_t *take_amount(Walk *w, const YamlNode *node, const char *path, const YamlField *field)
{
    Err err = {0};
    int64_t ms = 0;
    uint64_t bytes = 0;
    double share = 0;
    bool good = field->type == YAML_DURATION ? units_duration_ms(node->text, &ms, &err)
                : field->type == YAML_SIZE   ? units_size(node->text, &bytes, &err)
                : field->type == YAML_RATE   ? units_rate(node->text, &bytes, &err)
                                             : units_percent(node->text, &share, &err);
    if (!good) {
        yaml_problem(w->problems, w->doc, node, false, "bad-amount", NULL, "%s: %s", path,
                     err.text);
        return NULL;
    }
    if (field->type == YAML_SHARE)
        return json_real(share);
    int64_t value = field->type == YAML_DURATION ? ms : (int64_t)bytes;
    return in_range(w, node, path, field, value) ? json_integer(value) : NULL;
}

/* Cuts "a|b|c" into names; returns how many. `copy` owns the letters. */
static size_t split_choices(char *copy, const char **names, size_t most)
{
    size_t count = 0;
    for (char *at = copy; at != NULL && count < most;) {
        char *bar = strchr(at, '|');
        if (bar != NULL)
            *bar++ = 0;
        names[count++] = at;
        at = bar;
    }
    return count;
}

static void suggest(char *out, size_t room, const char *nearest)
{
    if (nearest != NULL)
        snprintf(out, room, "did you mean '%s'?", nearest);
}

static bool among(const char *choices, Text word)
{
    for (const char *at = choices;; at++) {
        size_t len = strcspn(at, "|");
        if (text_equal((Text){at, len}, word))
            return true;
        at += len;
        if (*at == 0)
            return false;
    }
}

static json_t *take_choice(Walk *w, const YamlNode *node, const char *path, const YamlField *field)
{
    const char *names[KEYS_MOST];
    char hint[96] = "";
    scoped(mem_release) char *copy = mem_string(field->choices);
    size_t count = split_choices(copy, names, KEYS_MOST);
    if (among(field->choices, node->text))
        return json_stringn(node->text.at, node->text.len);
    suggest(hint, sizeof hint, suggest_nearest(node->text, names, count));
    yaml_problem(w->problems, w->doc, node, false, "unknown-value", *hint == 0 ? NULL : hint,
                 "%s is '%.*s'; it can be %s", path, TEXT_ARG(node->text), field->choices);
    return NULL;
}

static json_t *take_scalar(Walk *w, const YamlNode *node, const char *path, const YamlField *field)
{
    switch (field->type) {
    case YAML_TEXT:
        return take_text(w, node, path, field);
    case YAML_NAME:
        return check_name(w, node, path) ? json_stringn(node->text.at, node->text.len) : NULL;
    case YAML_U64:
        return take_whole(w, node, path, field);
    case YAML_REAL:
        return take_real(w, node, path);
    case YAML_BOOL:
        return take_bool(w, node, path);
    case YAML_ENUM:
        return take_choice(w, node, path, field);
    default:
        return take_amount(w, node, path, field);
    }
}

static json_t *take_secret(Walk *w, const YamlNode *node, const char *path)
{
    static const char *const kinds[] = {"credential", "file", "env"};
    const YamlNode *value = node->count == 1 ? node->pairs[0].value : NULL;
    bool known = false;
    for (size_t i = 0; value != NULL && i < sizeof kinds / sizeof *kinds; i++)
        known = known || text_equal(node->pairs[0].key->text, text_of(kinds[i]));
    if (!known || value->kind != YAML_SCALAR || value->text.len == 0) {
        yaml_problems_hide(w->problems, w->doc, node);
        bad(w, node, path, "bad-secret", NULL,
            "must be {credential: NAME}, {file: PATH} or {env: VARIABLE}");
        return NULL;
    }
    if (text_equal(node->pairs[0].key->text, TEXT("credential")) && !is_name(value->text)) {
        yaml_problems_hide(w->problems, w->doc, value);
        (void)check_name(w, value, path);
        return NULL;
    }
    return json_pack("{s%:s%}", node->pairs[0].key->text.at, node->pairs[0].key->text.len,
                     value->text.at, value->text.len);
}

static const YamlField *field_named(const YamlField *record, Text name)
{
    for (size_t i = 0; i < record->field_count; i++)
        if (text_equal(name, text_of(record->fields[i].name)))
            return &record->fields[i];
    return NULL;
}

/* The type that a record says it is of; an empty text where it has none, or a wrong one. */
static Text type_of(const YamlNode *node, const YamlField *record)
{
    const YamlField *field = field_named(record, TEXT("type"));
    const YamlNode *type = yaml_get(node, "type");
    bool told = field != NULL && field->type == YAML_ENUM && type != NULL &&
                type->kind == YAML_SCALAR && among(field->choices, type->text);
    return told ? type->text : (Text){0};
}

/* May a member stand in a record of this type? While the type is unknown, every one may. */
static bool is_for(const YamlField *member, Text type)
{
    return member->only == NULL || type.len == 0 || among(member->only, type);
}

static void unknown_key(Walk *w, const YamlNode *key, const char *path, const YamlField *record,
                        Text type)
{
    const char *names[KEYS_MOST];
    char hint[96] = "";
    size_t count = record->field_count < KEYS_MOST ? record->field_count : KEYS_MOST;
    for (size_t i = 0; i < count; i++)
        names[i] = is_for(&record->fields[i], type) ? record->fields[i].name : NULL;
    const char *nearest = suggest_nearest(key->text, names, count);
    suggest(hint, sizeof hint, nearest);
    const YamlField *meant = nearest == NULL ? NULL : field_named(record, text_of(nearest));
    if (meant != NULL && meant->type == YAML_SECRET)
        yaml_problems_hide(w->problems, w->doc, key);
    yaml_problem(w->problems, w->doc, key, false, "unknown-key", *hint == 0 ? NULL : hint,
                 "'%.*s' is not known in %s", TEXT_ARG(key->text), *path == 0 ? "the file" : path);
}

static void path_of(Buf *out, const char *path, Text key)
{
    buf_clear(out);
    buf_printf(out, "%s%s%.*s", path, *path == 0 ? "" : ".", TEXT_ARG(key));
}

/* Defaults are written as YAML and go through the same walk; a bad one is our own bug. */
static json_t *fallback_of(const YamlField *field)
{
    YamlProblems problems = {0};
    YamlDoc *doc = NULL;
    json_t *value = NULL;
    if (!yaml_parse("default", text_of(field->fallback), &doc, &problems) ||
        !yaml_walk(doc, yaml_root(doc), field->name, field, &value, &problems))
        abort();
    yaml_doc_free(doc);
    yaml_problems_free(&problems);
    return value;
}

/* Members that this record lacks: an error where one is required, else its default. */
static void fill(Walk *w, const YamlNode *node, const char *path, const YamlField *field, Text type,
                 json_t *object)
{
    for (size_t i = 0; i < field->field_count; i++) {
        const YamlField *each = &field->fields[i];
        bool certain = each->only == NULL || type.len != 0;
        if (yaml_get(node, each->name) != NULL || !is_for(each, type))
            continue;
        if (each->required && certain)
            yaml_problem(w->problems, w->doc, node, false, "missing-key", NULL, "%s needs '%s'",
                         *path == 0 ? "the file" : path, each->name);
        else if (each->fallback != NULL)
            json_object_set_new(object, each->name, fallback_of(each));
    }
}

static json_t *take_record(Walk *w, const YamlNode *node, const char *path, const YamlField *field)
{
    json_t *object = json_object();
    Text type = type_of(node, field);
    scoped(buf_free) Buf below = {0};
    for (size_t i = 0; i < node->count; i++) {
        const YamlPair *pair = &node->pairs[i];
        const YamlField *known = field_named(field, pair->key->text);
        if (known == NULL) {
            unknown_key(w, pair->key, path, field, type);
            continue;
        }
        path_of(&below, path, pair->key->text);
        if (!is_for(known, type)) {
            yaml_problem(w->problems, w->doc, pair->key, false, "wrong-key", NULL,
                         "'%s' is not for type %.*s, in %s", known->name, TEXT_ARG(type), path);
            continue;
        }
        json_t *value = walk(w, pair->value, buf_cstr(&below), known);
        if (value != NULL)
            json_object_set_new(object, known->name, value);
    }
    fill(w, node, path, field, type, object);
    return object;
}

static bool short_enough(Walk *w, const YamlNode *key, const char *path, const YamlField *field)
{
    if (field->most == 0 || (int64_t)key->text.len <= field->most)
        return true;
    yaml_problem(w->problems, w->doc, key, false, "bad-name", NULL,
                 "%s: the name has %zu letters; %lld is the most", path, key->text.len,
                 (long long)field->most);
    return false;
}

static json_t *take_map_of(Walk *w, const YamlNode *node, const char *path, const YamlField *field)
{
    json_t *object = json_object();
    scoped(buf_free) Buf below = {0};
    for (size_t i = 0; i < node->count; i++) {
        const YamlPair *pair = &node->pairs[i];
        path_of(&below, path, pair->key->text);
        if (!check_name(w, pair->key, buf_cstr(&below)) ||
            !short_enough(w, pair->key, buf_cstr(&below), field) ||
            !checked(w, pair->key, buf_cstr(&below), field))
            continue;
        json_t *value = walk(w, pair->value, buf_cstr(&below), field->fields);
        if (value != NULL)
            json_object_setn_new(object, pair->key->text.at, pair->key->text.len, value);
    }
    return object;
}

static json_t *take_list_of(Walk *w, const YamlNode *node, const char *path, const YamlField *field)
{
    json_t *list = json_array();
    scoped(buf_free) Buf below = {0};
    bool fits = node->count >= (size_t)field->least &&
                (field->most == 0 || node->count <= (size_t)field->most);
    if (!fits)
        yaml_problem(w->problems, w->doc, node, false, "out-of-range", NULL,
                     "%s has %zu items; %lld is the %s", path, node->count,
                     (long long)(node->count < (size_t)field->least ? field->least : field->most),
                     node->count < (size_t)field->least ? "least" : "most");
    for (size_t i = 0; i < node->count; i++) {
        buf_clear(&below);
        buf_printf(&below, "%s[%zu]", path, i);
        json_t *value = walk(w, node->items[i], buf_cstr(&below), field->fields);
        if (value != NULL)
            json_array_append_new(list, value);
    }
    return list;
}

static void wrong_shape(Walk *w, const YamlNode *node, const char *path, const YamlField *field)
{
    static const char *const shapes[] = {"must be one value", "must be a list", "must be a map"};
    char hint[200];
    if (field->type == YAML_SECRET && node->kind == YAML_SCALAR) {
        snprintf(hint, sizeof hint,
                 "put it in /etc/holdfast/credentials/NAME and write  %s: {credential: NAME}   "
                 "then change it: it was seen",
                 field->name == NULL ? "key" : field->name);
        yaml_problem(w->problems, w->doc, node, false, "literal-secret", hint,
                     "%s is written in the file", path);
        return;
    }
    bad(w, node, path, "wrong-shape", NULL, shapes[kind_of(field->type)]);
}

static json_t *walk(Walk *w, const YamlNode *node, const char *path, const YamlField *field)
{
    for (; field->type != YAML_ANY && field->other != NULL; field = field->other)
        if (kind_of(field->type) == node->kind)
            break;
    if (field->type == YAML_ANY)
        return yaml_to_json(node);
    bool empty = node->kind == YAML_SCALAR && node->plain && node->text.len == 0;
    if (empty) {
        bad(w, node, path, "no-value", NULL, "has no value; take the key away or give it one");
        return NULL;
    }
    if (kind_of(field->type) != node->kind) {
        wrong_shape(w, node, path, field);
        return NULL;
    }
    switch (field->type) {
    case YAML_SECRET:
        return take_secret(w, node, path);
    case YAML_RECORD:
        return take_record(w, node, path, field);
    case YAML_MAP_OF:
        return take_map_of(w, node, path, field);
    case YAML_LIST_OF:
        return take_list_of(w, node, path, field);
    default:
        return take_scalar(w, node, path, field);
    }
}

bool yaml_walk(const YamlDoc *doc, const YamlNode *node, const char *path, const YamlField *field,
               json_t **out, YamlProblems *problems)
{
    Walk w = {doc, problems};
    size_t before = problems->errors;
    json_t *value = walk(&w, node, path, field);
    if (out != NULL)
        *out = value;
    else
        json_decref(value);
    return problems->errors == before;
}
