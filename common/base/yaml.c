/* SPDX-License-Identifier: Apache-2.0 */
#include "common/base/yaml.h"

#include "common/base/mem.h"
#include "common/base/yaml_doc.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

/* A text without aliases spells fewer nodes than half its bytes: only aliases meet NODES_MOST. */
enum { BYTES_MOST = 8 << 20, DEPTH_MOST = 32, NODES_MOST = 100000 };

void *yaml_doc_keep(YamlDoc *doc, size_t count, size_t size)
{
    if (doc->owned_count == doc->owned_room) {
        doc->owned_room = doc->owned_room == 0 ? 64 : doc->owned_room * 2;
        doc->owned = mem_resize(doc->owned, doc->owned_room * sizeof *doc->owned);
    }
    void *at = mem_zeroed(count, size);
    doc->owned[doc->owned_count++] = at;
    return at;
}

static void place(YamlNode *node, const yaml_node_t *from)
{
    size_t width = from->end_mark.line == from->start_mark.line
                       ? from->end_mark.column - from->start_mark.column
                       : 1;
    node->line = (uint32_t)from->start_mark.line + 1;
    node->column = (uint32_t)from->start_mark.column + 1;
    node->width = width == 0 ? 1 : (uint32_t)width;
}

static bool refuse(YamlDoc *doc, const YamlNode *node, YamlProblems *problems, const char *code,
                   const char *why)
{
    yaml_problem(problems, doc, node, false, code, NULL, "%s", why);
    return false;
}

static bool standard_tag(const yaml_node_t *from)
{
    const char *tag = (const char *)from->tag;
    return tag == NULL || strcmp(tag, YAML_STR_TAG) == 0 || strcmp(tag, YAML_SEQ_TAG) == 0 ||
           strcmp(tag, YAML_MAP_TAG) == 0;
}

static bool build(YamlDoc *doc, int index, const YamlNode *parent, unsigned depth,
                  const YamlNode **out, YamlProblems *problems);

static bool build_list(YamlDoc *doc, const yaml_node_t *from, unsigned depth, YamlNode *node,
                       YamlProblems *problems)
{
    size_t count = (size_t)(from->data.sequence.items.top - from->data.sequence.items.start);
    const YamlNode **items = yaml_doc_keep(doc, count, sizeof *items);
    node->kind = YAML_LIST;
    node->items = items;
    for (size_t i = 0; i < count; i++)
        if (!build(doc, from->data.sequence.items.start[i], node, depth + 1, &items[i], problems))
            return false;
    node->count = count;
    return true;
}

static bool build_pairs(YamlDoc *doc, const yaml_node_t *from, unsigned depth, YamlNode *node,
                        YamlNames *names, YamlProblems *problems)
{
    size_t count = (size_t)(from->data.mapping.pairs.top - from->data.mapping.pairs.start);
    YamlPair *pairs = yaml_doc_keep(doc, count, sizeof *pairs);
    node->kind = YAML_MAP;
    node->pairs = pairs;
    for (size_t i = 0; i < count; i++) {
        const yaml_node_pair_t *pair = &from->data.mapping.pairs.start[i];
        if (!build(doc, pair->key, node, depth + 1, &pairs[node->count].key, problems) ||
            !build(doc, pair->value, node, depth + 1, &pairs[node->count].value, problems))
            return false;
        const YamlNode *key = pairs[node->count].key;
        if (key->kind != YAML_SCALAR)
            return refuse(doc, key, problems, "bad-key", "a key is a word, not a list or a map");
        const YamlNode *first = yaml_names_add(names, key);
        if (first != NULL)
            yaml_problem(problems, doc, key, false, "duplicate-key", NULL,
                         "'%.*s' stands twice in this map; first in line %u", TEXT_ARG(key->text),
                         first->line);
        node->count += first == NULL;
    }
    return true;
}

static bool build_map(YamlDoc *doc, const yaml_node_t *from, unsigned depth, YamlNode *node,
                      YamlProblems *problems)
{
    size_t count = (size_t)(from->data.mapping.pairs.top - from->data.mapping.pairs.start);
    YamlNames *names = yaml_names_new(count);
    bool done = build_pairs(doc, from, depth, node, names, problems);
    yaml_names_free(names);
    return done;
}

static bool build(YamlDoc *doc, int index, const YamlNode *parent, unsigned depth,
                  const YamlNode **out, YamlProblems *problems)
{
    const yaml_node_t *from = yaml_document_get_node(&doc->document, index);
    YamlNode *node = yaml_doc_keep(doc, 1, sizeof *node);
    *out = node;
    node->doc = doc;
    node->parent = parent;
    place(node, from);
    if (depth > DEPTH_MOST)
        return refuse(doc, node, problems, "too-deep", "nested more than 32 deep");
    if (++doc->node_count > NODES_MOST + doc->bytes / 2)
        return refuse(doc, node, problems, "too-large", "aliases make it too large");
    if (!standard_tag(from))
        return refuse(doc, node, problems, "tag", "tags are not used here");
    switch (from->type) {
    case YAML_SCALAR_NODE:
        node->kind = YAML_SCALAR;
        node->plain = from->data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
        node->text = (Text){(const char *)from->data.scalar.value, from->data.scalar.length};
        return true;
    case YAML_SEQUENCE_NODE:
        return build_list(doc, from, depth, node, problems);
    case YAML_MAPPING_NODE:
        return build_map(doc, from, depth, node, problems);
    default:
        return refuse(doc, node, problems, "syntax", "a value of no known kind");
    }
}

static bool syntax(YamlDoc *doc, const yaml_parser_t *parser, YamlProblems *problems)
{
    YamlNode place_of = {.line = (uint32_t)parser->problem_mark.line + 1,
                         .column = (uint32_t)parser->problem_mark.column + 1,
                         .width = 1};
    yaml_problem(problems, doc, &place_of, false, "syntax", NULL, "%s%s%s",
                 parser->context == NULL ? "" : parser->context,
                 parser->context == NULL ? "" : ": ",
                 parser->problem == NULL ? "not YAML" : parser->problem);
    return false;
}

/* Loads the one document of the text into doc. */
static bool load_document(YamlDoc *doc, yaml_parser_t *parser, YamlProblems *problems)
{
    yaml_document_t second;
    if (yaml_parser_load(parser, &doc->document) == 0)
        return syntax(doc, parser, problems);
    doc->loaded = true;
    if (yaml_document_get_root_node(&doc->document) == NULL)
        return true;
    if (yaml_parser_load(parser, &second) == 0)
        return syntax(doc, parser, problems);
    const yaml_node_t *more = yaml_document_get_root_node(&second);
    bool single = more == NULL;
    YamlNode place_of = {0};
    if (!single)
        place(&place_of, more);
    yaml_document_delete(&second);
    return single || refuse(doc, &place_of, problems, "syntax", "a second document begins here");
}

static const YamlNode *empty_map(YamlDoc *doc)
{
    YamlNode *empty = yaml_doc_keep(doc, 1, sizeof *empty);
    *empty = (YamlNode){.kind = YAML_MAP, .doc = doc, .line = 1, .column = 1, .width = 1};
    return empty;
}

bool yaml_parse(const char *file, Text text, YamlDoc **out, YamlProblems *problems)
{
    YamlDoc *doc = mem_new(YamlDoc);
    yaml_parser_t parser;
    *out = doc;
    doc->file = mem_string(file);
    doc->text = mem_text(text);
    doc->bytes = text.len;
    doc->root = empty_map(doc); /* of what cannot be read too: a tree is always there */
    if (text.len > BYTES_MOST)
        return refuse(doc, NULL, problems, "too-large", "larger than 8 MiB");
    if (memchr(text.at == NULL ? "" : text.at, 0, text.len) != NULL)
        return refuse(doc, NULL, problems, "syntax", "there is a NUL byte in it");
    if (yaml_parser_initialize(&parser) == 0)
        abort(); /* only for want of memory, see mem.h */
    yaml_parser_set_encoding(&parser, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(&parser, (const unsigned char *)doc->text, text.len);
    bool done = load_document(doc, &parser, problems);
    yaml_parser_delete(&parser);
    size_t before = problems->errors;
    if (done && yaml_document_get_root_node(&doc->document) != NULL)
        done = build(doc, 1, NULL, 0, &doc->root, problems) && problems->errors == before;
    if (doc->root == NULL)
        doc->root = empty_map(doc);
    return done;
}

bool yaml_load(const char *path, YamlDoc **out, YamlProblems *problems, Err *err)
{
    scoped(buf_free) Buf text = {0};
    *out = NULL;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return err_set_sys(err, err_code_of_errno(errno), "file.open", "reading %s", path);
    ssize_t got;
    do {
        buf_reserve(&text, 1 << 16);
        got = read(fd, text.at + text.len, 1 << 16);
        if (got > 0)
            text.len += (size_t)got;
    } while ((got > 0 && text.len <= BYTES_MOST) || (got < 0 && errno == EINTR));
    int sys = errno;
    close(fd);
    errno = sys;
    if (got < 0)
        return err_set_sys(err, err_code_of_errno(sys), "file.read", "reading %s", path);
    if (!yaml_parse(path, buf_text(&text), out, problems))
        return err_set(err, ERR_INVALID, "yaml.invalid", "%s is not valid", path);
    return true;
}

void yaml_doc_free(YamlDoc *doc)
{
    if (doc == NULL)
        return;
    for (size_t i = 0; i < doc->owned_count; i++)
        mem_free(doc->owned[i]);
    mem_free(doc->owned);
    if (doc->loaded)
        yaml_document_delete(&doc->document);
    mem_free(doc->file);
    mem_free(doc->text);
    mem_free(doc);
}

void yaml_doc_release(YamlDoc **doc)
{
    yaml_doc_free(*doc);
    *doc = NULL;
}

const YamlNode *yaml_root(const YamlDoc *doc)
{
    return doc->root;
}

static const YamlNode *get(const YamlNode *node, Text key)
{
    if (node == NULL || node->kind != YAML_MAP)
        return NULL;
    for (size_t i = 0; i < node->count; i++)
        if (text_equal(node->pairs[i].key->text, key))
            return node->pairs[i].value;
    return NULL;
}

const YamlNode *yaml_get(const YamlNode *node, const char *key)
{
    return get(node, text_of(key));
}

const YamlNode *yaml_find(const YamlDoc *doc, const char *path)
{
    const YamlNode *node = doc->root;
    while (*path != 0 && node != NULL) {
        if (*path == '[') {
            char *end;
            unsigned long index = strtoul(path + 1, &end, 10);
            bool there = node->kind == YAML_LIST && *end == ']' && index < node->count;
            node = there ? node->items[index] : NULL;
            path = *end == ']' ? end + 1 : end;
        } else {
            size_t len = strcspn(path, ".[");
            node = get(node, (Text){path, len});
            path += len;
        }
        path += *path == '.';
    }
    return node;
}

/* YAML's core schema, without its octal, hexadecimal, infinite and not-a-number forms. */
static json_t *plain_value(Text text)
{
    char number[64];
    char *end;
    if (text.len == 0 || text_equal(text, TEXT("null")) || text_equal(text, TEXT("~")))
        return json_null();
    if (text_equal(text, TEXT("true")) || text_equal(text, TEXT("false")))
        return json_boolean(text.at[0] == 't');
    size_t digits = 0;
    for (size_t i = 0; i < text.len; i++) {
        bool digit = text.at[i] >= '0' && text.at[i] <= '9';
        digits += digit;
        if (!digit && strchr("+-.eE", text.at[i]) == NULL)
            return NULL;
    }
    if (digits == 0 || text.len >= sizeof number || text.at[0] == '+' || text.at[0] == '.')
        return NULL;
    snprintf(number, sizeof number, "%.*s", TEXT_ARG(text));
    errno = 0;
    long long whole = strtoll(number, &end, 10);
    if (*end == 0 && errno == 0)
        return json_integer(whole);
    double real = strtod(number, &end);
    return *end == 0 && isfinite(real) ? json_real(real) : NULL;
}

json_t *yaml_to_json(const YamlNode *node)
{
    json_t *value = NULL;
    switch (node->kind) {
    case YAML_SCALAR:
        value = node->plain ? plain_value(node->text) : NULL;
        return value != NULL ? value : json_stringn(node->text.at, node->text.len);
    case YAML_LIST:
        value = json_array();
        for (size_t i = 0; i < node->count; i++)
            json_array_append_new(value, yaml_to_json(node->items[i]));
        return value;
    default:
        value = json_object();
        for (size_t i = 0; i < node->count; i++)
            json_object_setn_new(value, node->pairs[i].key->text.at, node->pairs[i].key->text.len,
                                 yaml_to_json(node->pairs[i].value));
        return value;
    }
}
