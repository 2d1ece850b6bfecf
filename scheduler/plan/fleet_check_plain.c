/* SPDX-License-Identifier: Apache-2.0
 * Plain copies of two sources in one store must not have one name, and above all not one latest:
 * it would name now this one's newest, now the other's. A name is compared as it will be for its
 * source, with what changes from backup to backup left as it is written. */
#include "common/base/mem.h"
#include "scheduler/plan/fleet_check.h"

#include <stdlib.h>

static const char USUAL[] = "{source}_{time:%Y%m%d_%H%M%S}";

typedef struct Named {
    Buf key; /* store, NUL, the name */
    const YamlPair *source;
    const YamlNode *at; /* what is to be changed */
    bool latest;        /* what the newest is called; else what each is */
} Named;

typedef struct Names {
    Named *rows;
    size_t count, room;
} Names;

static bool is(const YamlNode *node, const char *text)
{
    return node != NULL && node->kind == YAML_SCALAR && text_equal(node->text, text_of(text));
}

static Text text_or(const YamlNode *node, const char *otherwise)
{
    return node != NULL && node->kind == YAML_SCALAR ? node->text : text_of(otherwise);
}

static bool begins(Text text, const char *with)
{
    size_t len = strlen(with);
    return text.len >= len && memcmp(text.at, with, len) == 0;
}

/* What a word in braces is for one source; what changes stays, or is latest once and nothing then.
 */
static void add_word(Buf *out, Text word, const YamlPair *source, bool latest, bool *changes)
{
    if (begins(word, "{source}"))
        buf_add_text(out, source->key->text);
    else if (begins(word, "{policy}"))
        buf_add_text(out, text_or(yaml_get(source->value, "policy"), ""));
    else if (begins(word, "{type}"))
        buf_add_text(out, text_or(yaml_get(source->value, "type"), ""));
    else if (!begins(word, "{time") && !begins(word, "{backup}"))
        buf_add_text(out, word);
    else if (!latest)
        buf_add_text(out, word);
    else if (!*changes)
        buf_add_text(out, TEXT("latest"));
    *changes |= begins(word, "{time") || begins(word, "{backup}");
}

static bool fill(Buf *out, Text form, const YamlPair *source, bool latest)
{
    bool changes = false;
    for (size_t at = 0; at < form.len;) {
        const char *end = form.at[at] == '{' ? memchr(form.at + at, '}', form.len - at) : NULL;
        if (end == NULL) {
            buf_add_byte(out, (uint8_t)form.at[at++]);
            continue;
        }
        Text word = {form.at + at, (size_t)(end + 1 - form.at) - at};
        add_word(out, word, source, latest, &changes);
        at += word.len;
    }
    return changes;
}

/* The extension that every plain copy of such a source has, whether its template says so or not. */
static void end_name(Buf *out, const YamlPair *source, const YamlNode *copy)
{
    static const struct {
        const char *type, *extension;
    } forms[] = {{"postgresql", ".sql.gz"},
                 {"mysql", ".sql.gz"},
                 {"sqlite", ".db.gz"},
                 {"redis", ".rdb.gz"}};
    const char *extension = ".tar.gz";
    for (size_t i = 0; yaml_get(copy, "holds") == NULL && i < sizeof forms / sizeof forms[0]; i++)
        if (is(yaml_get(source->value, "type"), forms[i].type))
            extension = forms[i].extension;
    size_t len = strlen(extension);
    if (out->len <= len || memcmp(out->at + out->len - len, extension, len) != 0)
        buf_add_text(out, text_of(extension));
}

static void add_name(Names *names, const YamlPair *source, const YamlNode *copy, bool latest)
{
    const YamlNode *store = yaml_get(copy, "store"), *own = yaml_get(copy, "latest");
    const YamlNode *name = yaml_get(copy, "name");
    Named row = {.source = source, .latest = latest};
    buf_add_text(&row.key, text_or(store, ""));
    buf_add_byte(&row.key, 0);
    bool given = latest && own != NULL;
    bool changes = fill(&row.key, given ? text_or(own, "") : text_or(name, USUAL), source, latest);
    if (latest && !given && !changes) {
        buf_free(&row.key); /* nothing is called so: there is one file, and it is the newest */
        return;
    }
    end_name(&row.key, source, copy);
    row.at = given ? own : name != NULL ? name : store;
    if (names->count == names->room) {
        names->room = names->room == 0 ? 64 : 2 * names->room;
        names->rows = mem_resize(names->rows, names->room * sizeof names->rows[0]);
    }
    names->rows[names->count++] = row;
}

static void add_names(FleetCheck *check, Names *names, const YamlPair *source,
                      const YamlNode *policy)
{
    const YamlNode *copies = yaml_get(policy, "copies");
    bool files = is(yaml_get(source->value, "type"), "files");
    for (size_t i = 0; copies != NULL && copies->kind == YAML_LIST && i < copies->count; i++) {
        if (!is(yaml_get(copies->items[i], "layout"), "plain"))
            continue;
        if (files && yaml_get(copies->items[i], "holds") != NULL)
            FLEET_PROBLEM(check, fleet_check_key(copies->items[i], "holds"), "holds-files",
                          "give databases and files policies of their own",
                          "sources.%.*s is of type files, and its plain copies hold its files: "
                          "holds is for databases",
                          TEXT_ARG(source->key->text));
        add_name(names, source, copies->items[i], false);
        add_name(names, source, copies->items[i], true);
    }
}

static int by_key(const void *a, const void *b)
{
    const Named *one = a, *other = b;
    int order = text_compare(buf_text(&one->key), buf_text(&other->key));
    if (order == 0)
        order = text_compare(one->source->key->text, other->source->key->text);
    return order != 0 ? order : (int)one->latest - (int)other->latest;
}

/* One problem for all that meet in one name. */
static void tell(FleetCheck *check, const Named *rows, size_t count)
{
    const Named *a = &rows[0], *b = NULL;
    size_t others = 0;
    for (size_t i = 1; i < count; i++)
        if (!text_equal(rows[i].source->key->text, rows[i - 1].source->key->text) && others++ == 0)
            b = &rows[i];
    if (b == NULL)
        return;
    char more[40] = "";
    const char *store = (const char *)a->key.at, *name = store + strlen(store) + 1;
    if (others > 1)
        snprintf(more, sizeof more, " and %zu more", others - 1);
    FLEET_PROBLEM(check, b->at, "plain-meet", "put {source} into it",
                  "the plain copies of sources.%.*s and sources.%.*s%s in the store '%s' %s '%.*s'",
                  TEXT_ARG(a->source->key->text), TEXT_ARG(b->source->key->text), more, store,
                  a->latest && b->latest   ? "would have one latest,"
                  : a->latest || b->latest ? "would meet: one is called as the other's latest is,"
                                           : "would have one name,",
                  (int)(a->key.len - strlen(store) - 1), name);
}

void fleet_check_plain(FleetCheck *check)
{
    const YamlNode *sources = yaml_get(check->root, "sources");
    const YamlNode *policies = yaml_get(check->root, "policies");
    Names names = {0};
    for (size_t i = 0; sources != NULL && sources->kind == YAML_MAP && i < sources->count; i++) {
        const YamlNode *policy = yaml_get(sources->pairs[i].value, "policy");
        scoped(buf_free) Buf name = {0};
        if (policy == NULL || policy->kind != YAML_SCALAR)
            continue;
        buf_add_text(&name, policy->text);
        add_names(check, &names, &sources->pairs[i], yaml_get(policies, buf_cstr(&name)));
    }
    if (names.count > 0)
        qsort(names.rows, names.count, sizeof names.rows[0], by_key);
    for (size_t i = 0, end; i < names.count; i = end) {
        for (end = i + 1; end < names.count &&
                          text_equal(buf_text(&names.rows[end].key), buf_text(&names.rows[i].key));)
            end++;
        tell(check, &names.rows[i], end - i);
    }
    for (size_t i = 0; i < names.count; i++)
        buf_free(&names.rows[i].key);
    mem_free(names.rows);
}
