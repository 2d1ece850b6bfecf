/* SPDX-License-Identifier: Apache-2.0 */
#include "scheduler/plan/fleet_tree.h"

#include "common/base/mem.h"
#include "scheduler/plan/fleet_table.h"
#include "scheduler/plan/fleet_text.h"

#include <fnmatch.h>
#include <stdarg.h>
#include <stdio.h>

typedef enum Seen { NOT_SEEN, OPEN, DONE } Seen;

typedef struct Reading {
    const FleetFile *files;
    FleetTree *tree;
    YamlProblems *problems;
    Seen *seen;
    const YamlNode **by; /* the item that included a file */
    bool broken;         /* a file is no YAML: what it defines is not known */
} Reading;

static void read_file(Reading *r, size_t file);

static void refuse(Reading *r, const YamlNode *item, size_t file)
{
    const char *name = r->files[file].name;
    if (r->seen[file] == OPEN)
        yaml_problem(r->problems, NULL, item, false, "include-cycle",
                     "take one of the two includes out", "%s includes itself in a circle", name);
    else
        yaml_problem(r->problems, NULL, item, false, "include-twice", NULL,
                     "%s is included in line %u already", name, r->by[file]->line);
}

/* The files that one item of `include` names, below the directory of the file it stands in. */
static void include(Reading *r, size_t file, const YamlNode *item)
{
    const char *slash = strrchr(r->files[file].name, '/');
    int below = slash == NULL ? 0 : (int)(slash + 1 - r->files[file].name);
    scoped(buf_free) Buf pattern = {0};
    Text text = item->text;
    size_t found = 0;
    Err ignored = {0};
    scoped(buf_free) Buf hint = {0};
    if (!fleet_text_include(text, &hint, &ignored))
        return; /* the walk says so */
    while (text.len > 2 && memcmp(text.at, "./", 2) == 0)
        text = (Text){text.at + 2, text.len - 2};
    buf_printf(&pattern, "%.*s%.*s", below, r->files[file].name, TEXT_ARG(text));
    for (size_t i = 0; i < r->tree->count; i++) {
        if (fnmatch(buf_cstr(&pattern), r->files[i].name, FNM_PATHNAME | FNM_PERIOD) != 0)
            continue;
        found++;
        if (r->seen[i] != NOT_SEEN) {
            refuse(r, item, i);
            continue;
        }
        r->by[i] = item;
        read_file(r, i);
    }
    /* An error for a pattern, too: whoever sends one file alone would retire all that the others
     * define. */
    bool wild = strpbrk(buf_cstr(&pattern), "*?[") != NULL;
    if (found == 0)
        yaml_problem(r->problems, NULL, item, false, wild ? "include-empty" : "include-missing",
                     NULL, "%s names no file that is there", buf_cstr(&pattern));
}

/* What is said once stands in the first file. */
static void only_first(Reading *r, const YamlNode *root)
{
    static const char *const names[] = {"fleet", "defaults"};
    for (size_t i = 0; root->kind == YAML_MAP && i < root->count; i++)
        for (size_t n = 0; n < FLEET_COUNT(names); n++)
            if (text_equal(root->pairs[i].key->text, text_of(names[n])))
                yaml_problem(r->problems, NULL, root->pairs[i].key, false, "not-in-include", NULL,
                             "'%s' stands in the first file only, which is %s", names[n],
                             r->files[0].name);
}

static const YamlField *row_of(const char *name)
{
    for (size_t i = 0; i < fleet_table.field_count; i++)
        if (strcmp(fleet_table.fields[i].name, name) == 0)
            return &fleet_table.fields[i];
    return NULL;
}

static void read_file(Reading *r, size_t file)
{
    YamlDoc **doc = &r->tree->docs[file];
    size_t before = r->problems->count;
    r->seen[file] = OPEN;
    bool good = yaml_parse(r->files[file].name, r->files[file].text, doc, r->problems);
    for (size_t i = before; !good && i < r->problems->count;
         i++) /* a key twice hides nothing else */
        r->broken |= strcmp(r->problems->rows[i].code, "duplicate-key") != 0;
    const YamlNode *root = yaml_root(*doc);
    const YamlNode *list = yaml_get(root, "include");
    if (file != 0) {
        json_t *ignored = NULL;
        const YamlNode *version = yaml_get(root, "version");
        only_first(r, root);
        if (list != NULL)
            yaml_walk(*doc, list, "include", row_of("include"), NULL, r->problems);
        if (version != NULL)
            yaml_walk(*doc, version, "version", row_of("version"), &ignored, r->problems);
        json_decref(ignored);
        if (root->kind != YAML_MAP)
            yaml_problem(r->problems, *doc, root, false, "wrong-shape", NULL,
                         "the file must be a map");
    }
    for (size_t i = 0; list != NULL && list->kind == YAML_LIST && i < list->count; i++)
        if (list->items[i]->kind == YAML_SCALAR && list->items[i]->text.len != 0)
            include(r, file, list->items[i]);
    r->seen[file] = DONE;
}

/* One section of every file, joined. Of a record (notify), each member is joined. */
static const YamlNode *join(Reading *r, const YamlField *field, const YamlNode *const *nodes,
                            size_t count)
{
    YamlDoc *owner = r->tree->docs[0];
    const YamlNode **parts = mem_array(const YamlNode *, count);
    const YamlNode *first = NULL;
    YamlPair pairs[8];
    size_t members = 0;
    for (size_t i = 0; i < count; i++)
        first = first == NULL ? nodes[i] : first;
    if (field->type != YAML_RECORD || first == NULL || first->kind != YAML_MAP) {
        first = yaml_join(owner, nodes, count, field->name, r->problems);
    } else {
        for (size_t f = 0; f < field->field_count && members < FLEET_COUNT(pairs); f++) {
            pairs[members].key = NULL;
            for (size_t i = 0; i < count; i++) {
                parts[i] = yaml_get(nodes[i], field->fields[f].name);
                for (size_t p = 0;
                     parts[i] != NULL && pairs[members].key == NULL && p < nodes[i]->count; p++)
                    if (nodes[i]->pairs[p].value == parts[i])
                        pairs[members].key = nodes[i]->pairs[p].key;
            }
            pairs[members].value =
                yaml_join(owner, parts, count, field->fields[f].name, r->problems);
            members += pairs[members].value != NULL;
        }
        first = yaml_map(owner, first, pairs, members);
    }
    mem_free(parts);
    return first;
}

/* Is this member said once, and looked at already? */
static bool single(Text key)
{
    return text_equal(key, TEXT("version")) || text_equal(key, TEXT("fleet")) ||
           text_equal(key, TEXT("defaults")) || text_equal(key, TEXT("include"));
}

static const YamlNode *of_file(const FleetTree *tree, size_t file, Text key)
{
    const YamlNode *root = tree->docs[file] == NULL ? NULL : yaml_root(tree->docs[file]);
    for (size_t i = 0; root != NULL && root->kind == YAML_MAP && i < root->count; i++)
        if (text_equal(root->pairs[i].key->text, key))
            return root->pairs[i].value;
    return NULL;
}

/* Every member of every file's root, each name once, joined where several files have it. */
static void join_all(Reading *r)
{
    FleetTree *tree = r->tree;
    const YamlNode **nodes = mem_array(const YamlNode *, tree->count);
    YamlPair *pairs = NULL;
    size_t count = 0;
    for (size_t file = 0; file < tree->count; file++) {
        const YamlNode *root = tree->docs[file] == NULL ? NULL : yaml_root(tree->docs[file]);
        for (size_t i = 0; root != NULL && root->kind == YAML_MAP && i < root->count; i++) {
            const YamlNode *key = root->pairs[i].key;
            bool known = file != 0 && single(key->text);
            for (size_t p = 0; p < count && !known; p++)
                known = text_equal(pairs[p].key->text, key->text);
            if (known)
                continue;
            scoped(mem_release) char *name = mem_text(key->text);
            const YamlField *field = row_of(name);
            for (size_t f = 0; f < tree->count; f++)
                nodes[f] = f < file ? NULL : of_file(tree, f, key->text);
            pairs = mem_resize(pairs, (count + 1) * sizeof *pairs);
            pairs[count].key = key;
            pairs[count++].value = field == NULL || single(key->text)
                                       ? root->pairs[i].value
                                       : join(r, field, nodes, tree->count);
        }
    }
    tree->root = yaml_map(tree->docs[0], yaml_root(tree->docs[0]), pairs, count);
    mem_free(pairs);
    mem_free(nodes);
}

bool fleet_tree_read(const FleetFile *files, size_t count, FleetTree *out, YamlProblems *problems)
{
    Reading r = {.files = files, .tree = out, .problems = problems};
    *out = (FleetTree){.docs = mem_array(YamlDoc *, count), .count = count};
    r.seen = mem_array(Seen, count);
    r.by = mem_array(const YamlNode *, count);
    read_file(&r, 0);
    out->root = yaml_root(out->docs[0]);
    if (!r.broken && out->root->kind == YAML_MAP)
        join_all(&r);
    mem_free(r.seen);
    mem_free(r.by);
    return !r.broken;
}

void fleet_tree_free(FleetTree *tree)
{
    for (size_t i = 0; i < tree->count; i++)
        yaml_doc_free(tree->docs[i]);
    mem_free(tree->docs);
    *tree = (FleetTree){0};
}

const YamlNode *fleet_tree_at(const YamlNode *node, ...)
{
    va_list args;
    va_start(args, node);
    for (const char *name = va_arg(args, const char *); name != NULL;
         name = va_arg(args, const char *))
        node = yaml_get(node, name);
    va_end(args);
    return node;
}
