/* SPDX-License-Identifier: Apache-2.0 */
#include "common/base/mem.h"
#include "common/base/yaml_doc.h"

struct YamlNames {
    size_t room; /* a power of two, at least twice the keys */
    const YamlNode *keys[];
};

/* FNV-1a: the keys are a person's, and a slow map of theirs harms nobody else. */
static size_t hash_of(Text text)
{
    uint64_t hash = UINT64_C(14695981039346656037);
    for (size_t i = 0; i < text.len; i++)
        hash = (hash ^ (uint8_t)text.at[i]) * UINT64_C(1099511628211);
    return (size_t)(hash ^ hash >> 32);
}

YamlNames *yaml_names_new(size_t most)
{
    size_t room = 8;
    while (room < 2 * most)
        room *= 2;
    YamlNames *names = mem_zeroed(1, sizeof *names + room * sizeof *names->keys);
    names->room = room;
    return names;
}

const YamlNode *yaml_names_add(YamlNames *names, const YamlNode *key)
{
    size_t at = hash_of(key->text) & (names->room - 1);
    for (; names->keys[at] != NULL; at = (at + 1) & (names->room - 1))
        if (text_equal(names->keys[at]->text, key->text))
            return names->keys[at];
    names->keys[at] = key;
    return NULL;
}

void yaml_names_free(YamlNames *names)
{
    mem_free(names);
}

static YamlNode *copy_of(YamlDoc *owner, const YamlNode *place)
{
    YamlNode *node = yaml_doc_keep(owner, 1, sizeof *node);
    *node = *place;
    return node;
}

const YamlNode *yaml_map(YamlDoc *owner, const YamlNode *place, const YamlPair *pairs, size_t count)
{
    YamlNode *node = copy_of(owner, place);
    YamlPair *own = yaml_doc_keep(owner, count, sizeof *own);
    for (size_t i = 0; i < count; i++)
        own[i] = pairs[i];
    node->kind = YAML_MAP;
    node->pairs = own;
    node->count = count;
    return node;
}

static const YamlNode *join_lists(YamlDoc *owner, const YamlNode *const *nodes, size_t count,
                                  YamlNode *out, size_t total)
{
    const YamlNode **items = yaml_doc_keep(owner, total, sizeof *items);
    out->count = 0;
    out->items = items;
    for (size_t i = 0; i < count; i++)
        if (nodes[i] != NULL && nodes[i]->kind == YAML_LIST)
            for (size_t j = 0; j < nodes[i]->count; j++)
                items[out->count++] = nodes[i]->items[j];
    return out;
}

static const YamlNode *join_maps(YamlDoc *owner, const YamlNode *const *nodes, size_t count,
                                 YamlNode *out, size_t total, const char *what,
                                 YamlProblems *problems)
{
    YamlPair *pairs = yaml_doc_keep(owner, total, sizeof *pairs);
    YamlNames *names = yaml_names_new(total);
    out->count = 0;
    out->pairs = pairs;
    for (size_t i = 0; i < count; i++)
        for (size_t j = 0; nodes[i] != NULL && nodes[i]->kind == YAML_MAP && j < nodes[i]->count;
             j++) {
            const YamlPair *pair = &nodes[i]->pairs[j];
            const YamlNode *first = yaml_names_add(names, pair->key);
            if (first == NULL)
                pairs[out->count++] = *pair;
            else
                yaml_problem(problems, NULL, pair->key, false, "defined-twice", NULL,
                             "%s '%.*s' is defined in %s:%u already", what,
                             TEXT_ARG(pair->key->text), first->doc->file, first->line);
        }
    yaml_names_free(names);
    return out;
}

const YamlNode *yaml_join(YamlDoc *owner, const YamlNode *const *nodes, size_t count,
                          const char *what, YamlProblems *problems)
{
    const YamlNode *first = NULL;
    size_t total = 0;
    for (size_t i = 0; i < count; i++) {
        if (first == NULL)
            first = nodes[i];
        total += nodes[i] == NULL ? 0 : nodes[i]->count;
    }
    if (first == NULL || first->kind == YAML_SCALAR)
        return first;
    for (size_t i = 0; i < count; i++)
        if (nodes[i] != NULL && nodes[i]->kind != first->kind)
            yaml_problem(problems, NULL, nodes[i], false, "wrong-shape", NULL,
                         "%s must be a %s, as in %s:%u", what,
                         first->kind == YAML_MAP ? "map" : "list", first->doc->file, first->line);
    YamlNode *out = copy_of(owner, first);
    if (first->kind == YAML_LIST)
        return join_lists(owner, nodes, count, out, total);
    return join_maps(owner, nodes, count, out, total, what, problems);
}
