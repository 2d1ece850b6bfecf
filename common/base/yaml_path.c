/* SPDX-License-Identifier: Apache-2.0 */
#include "common/base/yaml_doc.h"

enum { STEPS_MOST = 40 }; /* deeper than a document may be */

/* The steps from the root to a node, the outermost first; a key is the step of its value. */
static size_t steps_to(const YamlNode *node, const YamlNode *steps[STEPS_MOST])
{
    size_t count = 0;
    for (; node != NULL && node->parent != NULL && count < STEPS_MOST; node = node->parent)
        steps[count++] = node;
    for (size_t i = 0; i < count / 2; i++) {
        const YamlNode *swap = steps[i];
        steps[i] = steps[count - 1 - i];
        steps[count - 1 - i] = swap;
    }
    return count;
}

/* The key under which a node stands in its map; an empty text in a list. */
static Text key_of(const YamlNode *node, size_t *index)
{
    const YamlNode *around = node->parent;
    for (*index = 0; *index < around->count; ++*index) {
        if (around->kind == YAML_LIST && around->items[*index] == node)
            return (Text){0};
        if (around->kind == YAML_MAP &&
            (around->pairs[*index].key == node || around->pairs[*index].value == node))
            return around->pairs[*index].key->text;
    }
    return (Text){0};
}

void yaml_path(const YamlNode *node, Buf *out)
{
    const YamlNode *steps[STEPS_MOST];
    size_t count = steps_to(node, steps);
    for (size_t i = 0; i < count; i++) {
        size_t index;
        Text key = key_of(steps[i], &index);
        if (steps[i]->parent->kind == YAML_LIST)
            buf_printf(out, "[%zu]", index);
        else
            buf_printf(out, "%s%.*s", i == 0 ? "" : ".", TEXT_ARG(key));
    }
}

void yaml_pointer(const YamlNode *node, Buf *out)
{
    const YamlNode *steps[STEPS_MOST];
    size_t count = steps_to(node, steps);
    for (size_t i = 0; i < count; i++) {
        size_t index;
        Text key = key_of(steps[i], &index);
        buf_add_byte(out, '/');
        if (steps[i]->parent->kind == YAML_LIST)
            buf_printf(out, "%zu", index);
        for (size_t c = 0; c < key.len; c++)
            if (key.at[c] == '~' || key.at[c] == '/')
                buf_printf(out, "~%c", key.at[c] == '~' ? '0' : '1');
            else
                buf_add_byte(out, (uint8_t)key.at[c]);
    }
}
