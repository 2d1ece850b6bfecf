/* SPDX-License-Identifier: Apache-2.0 */
#include "scheduler/plan/fleet_diff.h"

#include "common/base/buf.h"
#include "common/base/mem.h"

#include <stdlib.h>
#include <string.h>

static int by_name(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Every key of both, once, in order; *names is the caller's, the words are the objects'. */
static size_t names_of(const json_t *from, const json_t *to, const char ***names)
{
    size_t count = 0;
    const char *name;
    json_t *value;
    *names = mem_array(const char *, json_object_size(from) + json_object_size(to) + 1);
    json_object_foreach((json_t *)(uintptr_t)from, name, value)
    {
        (*names)[count++] = name;
    }
    json_object_foreach((json_t *)(uintptr_t)to, name, value)
    {
        if (json_object_get(from, name) == NULL)
            (*names)[count++] = name;
    }
    qsort(*names, count, sizeof **names, by_name);
    return count;
}

static void add_field(json_t *fields, const Buf *path, const json_t *from, const json_t *to)
{
    json_t *row = json_pack("{s:s%}", "path", (const char *)path->at, path->len);
    json_object_set_new(row, "from", from == NULL ? json_null() : json_deep_copy(from));
    json_object_set_new(row, "to", to == NULL ? json_null() : json_deep_copy(to));
    json_array_append_new(fields, row);
}

static bool holds_records(const json_t *list)
{
    bool records = json_is_array(list) && json_array_size(list) != 0;
    for (size_t i = 0; records && i < json_array_size(list); i++)
        records = json_is_object(json_array_get(list, i));
    return records;
}

static void compare(const json_t *from, const json_t *to, Buf *path, json_t *fields);

static void compare_members(const json_t *from, const json_t *to, Buf *path, json_t *fields)
{
    const char **names;
    size_t count = names_of(from, to, &names);
    size_t len = path->len;
    for (size_t i = 0; i < count; i++) {
        buf_printf(path, "%s%s", len == 0 ? "" : ".", names[i]);
        compare(json_object_get(from, names[i]), json_object_get(to, names[i]), path, fields);
        path->len = len;
    }
    mem_free(names);
}

/* A record that comes or goes as a whole is told member by member too: what it says is the news. */
static void compare(const json_t *from, const json_t *to, Buf *path, json_t *fields)
{
    size_t len = path->len;
    bool first = json_is_object(from) && (to != NULL || json_object_size(from) != 0);
    bool second = json_is_object(to) && (from != NULL || json_object_size(to) != 0);
    if (json_equal(from, to))
        return;
    if ((first && second) || (first && to == NULL) || (second && from == NULL)) {
        compare_members(from, to, path, fields);
        return;
    }
    if (holds_records(from) && holds_records(to) && json_array_size(from) == json_array_size(to)) {
        for (size_t i = 0; i < json_array_size(from); i++) {
            buf_printf(path, "[%zu]", i);
            compare(json_array_get(from, i), json_array_get(to, i), path, fields);
            path->len = len;
        }
        return;
    }
    add_field(fields, path, from, to);
}

static void diff_sources(const json_t *from, const json_t *to, json_t *out)
{
    json_t *added = json_array();
    json_t *retired = json_array();
    json_t *changed = json_array();
    json_int_t same = 0;
    const char **names;
    size_t count = names_of(from, to, &names);
    for (size_t i = 0; i < count; i++) {
        const json_t *was = json_object_get(from, names[i]);
        const json_t *is = json_object_get(to, names[i]);
        scoped(buf_free) Buf path = {0};
        if (was == NULL) {
            json_array_append_new(added, json_string(names[i]));
        } else if (is == NULL) {
            json_array_append_new(retired, json_string(names[i]));
        } else if (json_equal(was, is)) {
            same++;
        } else {
            json_t *fields = json_array();
            compare(was, is, &path, fields);
            json_array_append_new(changed,
                                  json_pack("{s:s, s:o}", "name", names[i], "fields", fields));
        }
    }
    mem_free(names);
    json_object_set_new(out, "added", added);
    json_object_set_new(out, "retired", retired);
    json_object_set_new(out, "changed", changed);
    json_object_set_new(out, "unchanged", json_integer(same));
}

/* Members of the document that are told elsewhere: sources have everything of their policies merged
 * in, and files are what people wrote. */
static bool told_elsewhere(const char *name)
{
    return strcmp(name, "sources") == 0 || strcmp(name, "policies") == 0 ||
           strcmp(name, "files") == 0;
}

static json_t *diff_settings(const json_t *from, const json_t *to)
{
    json_t *fields = json_array();
    const char **names;
    size_t count = names_of(from, to, &names);
    for (size_t i = 0; i < count; i++) {
        scoped(buf_free) Buf path = {0};
        if (told_elsewhere(names[i]))
            continue;
        buf_printf(&path, "%s", names[i]);
        compare(json_object_get(from, names[i]), json_object_get(to, names[i]), &path, fields);
    }
    mem_free(names);
    return fields;
}

/* Files by name: a list of rows becomes a map of texts. */
static json_t *texts_of(const json_t *document)
{
    size_t i;
    json_t *row;
    json_t *texts = json_object();
    json_array_foreach(json_object_get(document, "files"), i, row)
    {
        const char *name = json_string_value(json_object_get(row, "name"));
        if (name != NULL)
            json_object_set(texts, name, json_object_get(row, "text"));
    }
    return texts;
}

static json_t *diff_files(const json_t *from, const json_t *to)
{
    json_t *rows = json_array();
    json_t *was = texts_of(from);
    json_t *is = texts_of(to);
    const char **names;
    size_t count = names_of(was, is, &names);
    for (size_t i = 0; i < count; i++) {
        const json_t *before = json_object_get(was, names[i]);
        const json_t *after = json_object_get(is, names[i]);
        const char *change = before == NULL              ? "added"
                             : after == NULL             ? "removed"
                             : json_equal(before, after) ? NULL
                                                         : "changed";
        if (change != NULL)
            json_array_append_new(rows,
                                  json_pack("{s:s, s:s}", "name", names[i], "change", change));
    }
    mem_free(names);
    json_decref(was);
    json_decref(is);
    return rows;
}

json_t *fleet_diff(const json_t *from, const json_t *to)
{
    json_t *out = json_object();
    diff_sources(json_object_get(from, "sources"), json_object_get(to, "sources"), out);
    json_object_set_new(out, "settings", diff_settings(from, to));
    json_object_set_new(out, "files", diff_files(from, to));
    return out;
}

bool fleet_diff_empty(const json_t *diff)
{
    static const char *const lists[] = {"added", "retired", "changed", "settings", "files"};
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++)
        if (json_array_size(json_object_get(diff, lists[i])) != 0)
            return false;
    return true;
}
