/* SPDX-License-Identifier: Apache-2.0 */
#include "common/base/yaml.h"

#include <stdio.h>

static const char NAME_PATTERN[] = "^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$";
static const char NUMBER_PATTERN[] = "^[0-9]+(\\.[0-9]+)?";

static json_t *of_type(const char *type)
{
    return json_pack("{s:s}", "type", type);
}

/* YAML gives editors a number where a person wrote digits; the walk takes the text of it. */
static json_t *scalar(void)
{
    return json_pack("{s:[s,s,s]}", "type", "string", "number", "boolean");
}

static void bound(json_t *schema, const YamlField *field, const char *least, const char *most)
{
    if (field->least != 0)
        json_object_set_new(schema, least, json_integer(field->least));
    if (field->most != 0)
        json_object_set_new(schema, most, json_integer(field->most));
}

static json_t *amount(const char *units)
{
    char pattern[96];
    snprintf(pattern, sizeof pattern, "%s%s$", NUMBER_PATTERN, units);
    return json_pack("{s:s, s:s}", "type", "string", "pattern", pattern);
}

/* Is a word one of "a|b|c"? */
static bool among(const char *list, const char *word, size_t len)
{
    for (const char *at = list; at != NULL && *at != 0; at += *at == '|') {
        size_t have = strcspn(at, "|");
        if (have == len && memcmp(at, word, len) == 0)
            return true;
        at += have;
    }
    return false;
}

static json_t *choices(const YamlField *field)
{
    json_t *words = json_array();
    for (const char *at = field->choices;;) {
        size_t len = strcspn(at, "|");
        if (!among(field->later_choices, at, len))
            json_array_append_new(words, json_stringn(at, len));
        at += len;
        if (*at++ == 0)
            return json_pack("{s:o}", "enum", words);
    }
}

static json_t *secret(void)
{
    json_t *forms = json_array();
    static const char *const kinds[] = {"credential", "file", "env"};
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        json_array_append_new(forms, json_pack("{s:s, s:{s:{s:s}}, s:[s], s:b}", "type", "object",
                                               "properties", kinds[i], "type", "string", "required",
                                               kinds[i], "additionalProperties", 0));
    return json_pack("{s:o}", "oneOf", forms);
}

/* "if type is one of these, these members are required" and "…, these are not allowed". */
static json_t *by_type(const YamlField *field, const char *type)
{
    json_t *required = json_array();
    json_t *refused = json_object();
    for (size_t i = 0; i < field->field_count; i++) {
        const YamlField *member = &field->fields[i];
        if (member->only == NULL || member->later)
            continue;
        if (!among(member->only, type, strlen(type)))
            json_object_set_new(refused, member->name, json_false());
        else if (member->required)
            json_array_append_new(required, json_string(member->name));
    }
    return json_pack("{s:{s:{s:{s:s}}, s:[s]}, s:{s:o, s:o}}", "if", "properties", "type", "const",
                     type, "required", "type", "then", "required", required, "properties", refused);
}

static json_t *record(const YamlField *field)
{
    json_t *members = json_object();
    json_t *required = json_array();
    json_t *rules = json_array();
    bool typed = false;
    for (size_t i = 0; i < field->field_count; i++) {
        const YamlField *member = &field->fields[i];
        if (member->later)
            continue;
        json_object_set_new(members, member->name, yaml_schema(member));
        if (member->required && member->only == NULL)
            json_array_append_new(required, json_string(member->name));
        typed = typed || member->only != NULL;
    }
    json_t *types = json_object_get(json_object_get(members, "type"), "enum");
    for (size_t i = 0; typed && i < json_array_size(types); i++)
        json_array_append_new(rules, by_type(field, json_string_value(json_array_get(types, i))));
    json_t *schema = json_pack("{s:s, s:o, s:o, s:b}", "type", "object", "properties", members,
                               "required", required, "additionalProperties", 0);
    if (json_array_size(rules) != 0)
        json_object_set(schema, "allOf", rules);
    json_decref(rules);
    return schema;
}

static json_t *list_of(const YamlField *field)
{
    json_t *schema = json_pack("{s:s, s:o}", "type", "array", "items", yaml_schema(field->fields));
    bound(schema, field, "minItems", "maxItems");
    return schema;
}

static json_t *map_of(const YamlField *field)
{
    json_t *names = json_pack("{s:s}", "pattern", NAME_PATTERN);
    if (field->most != 0)
        json_object_set_new(names, "maxLength", json_integer(field->most));
    return json_pack("{s:s, s:o, s:o}", "type", "object", "propertyNames", names,
                     "additionalProperties", yaml_schema(field->fields));
}

static json_t *name(void)
{
    json_t *schema = json_pack("{s:[s,s]}", "type", "string", "number");
    json_object_set_new(schema, "pattern", json_string(NAME_PATTERN));
    return schema;
}

static json_t *text(const YamlField *field)
{
    json_t *schema = scalar();
    bound(schema, field, "minLength", "maxLength");
    return schema;
}

static json_t *whole(const YamlField *field)
{
    json_t *schema = of_type("integer");
    json_object_set_new(schema, "minimum", json_integer(field->least));
    if (field->most != 0)
        json_object_set_new(schema, "maximum", json_integer(field->most));
    return schema;
}

static json_t *one(const YamlField *field)
{
    switch (field->type) {
    case YAML_TEXT:
        return text(field);
    case YAML_NAME:
        return name();
    case YAML_U64:
        return whole(field);
    case YAML_REAL:
        return of_type("number");
    case YAML_BOOL:
        return of_type("boolean");
    case YAML_DURATION:
        return amount("(ms|s|m|h|d|w)");
    case YAML_SIZE:
        return amount("(B|KiB|MiB|GiB|TiB|kB|MB|GB|TB)");
    case YAML_RATE:
        return amount("(B|KiB|MiB|GiB|TiB|kB|MB|GB|TB)/s");
    case YAML_SHARE:
        return amount("%");
    case YAML_ENUM:
        return choices(field);
    case YAML_SECRET:
        return secret();
    case YAML_RECORD:
        return record(field);
    case YAML_MAP_OF:
        return map_of(field);
    case YAML_LIST_OF:
        return list_of(field);
    default:
        return json_object();
    }
}

json_t *yaml_schema(const YamlField *field)
{
    json_t *schema = one(field);
    if (field->doc != NULL)
        json_object_set_new(schema, "description", json_string(field->doc));
    if (field->other != NULL)
        schema = json_pack("{s:[o,o]}", "anyOf", schema, yaml_schema(field->other));
    return schema;
}
